/**
 * Files that hold many samples, by their names.
 *
 * @module
 */

import { type ArrayOptions, openNpy, openNpz } from "./arrays.ts";
import { openJsonLines } from "./json_lines.ts";
import type { SampleSet } from "./sample.ts";

/** How each kind of file is opened, by the end of its name. */
const READERS: Readonly<Record<string, typeof openNpy>> = {
  npy: openNpy,
  npz: openNpz,
  jsonl: openJsonLines,
};

function readerOf(name: string): typeof openNpy | undefined {
  return READERS[/\.(npy|npz|jsonl)$/i.exec(name)?.[1].toLowerCase() ?? ""];
}

/** Whether a file called `name` holds samples. */
export function isDataFile(name: string): boolean {
  return readerOf(name) !== undefined;
}

/**
 * Opens a file for which {@linkcode isDataFile} holds; `name` is what messages call it.
 *
 * Throws `AttuneError` `bad-data` if it cannot be read or does not fit the model.
 */
export function openDataFile(
  file: Blob,
  name: string,
  options: ArrayOptions,
): Promise<SampleSet> {
  return readerOf(name)!(file, name, options);
}
