/**
 * Opens whatever the user calls the samples: a folder of images, a .npy, a .npz or a .jsonl file.
 * For Deno and Node.
 *
 * @module
 */

import { openAsBlob } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { AttuneError } from "../errors.ts";
import { checkRegular } from "../files/regular.ts";
import { isDataFile, openDataFile } from "./data_file.ts";
import { openFolder } from "./folder.ts";
import { checkReading, type ReadOptions } from "./options.ts";
import type { SampleSet } from "./sample.ts";

/** How to read samples. */
export interface OpenSamplesOptions extends ReadOptions {
  /**
   * Path of the labels: for images a CSV file with the header `file,label`, for arrays a .npy file.
   * Default: `labels.csv` in the folder, else its subfolders; the array `labels` of a .npz file.
   */
  readonly labels?: string;
}

/**
 * Opens a folder of images, a .npy, a .npz or a .jsonl file as samples for a model. Nothing but
 * names, headers and the ends of lines is read until `samples()` is iterated (a .npz file is
 * unpacked at once).
 *
 * Throws `AttuneError` `bad-data` if there is nothing to read or it does not fit the model, and
 * `bad-option` if an option has a value that is not allowed.
 *
 * @example
 * ```ts
 * import { openSamples } from "./open.ts";
 *
 * const inputs = [{ name: "image", dims: ["N", 3, 32, 32], type: "float32" }] as const;
 * const folder = new URL("../../examples/shapes/calib", import.meta.url).pathname;
 * const set = await openSamples(folder, { inputs, preprocess: { preset: "unit" }, limit: 8 });
 * for await (const { inputs, label } of set.samples()) {
 *   const { length } = inputs.image.data;
 *   if (length !== 3 * 32 * 32 || label === undefined) throw new Error("not read");
 * }
 * ```
 */
export async function openSamples(path: string, options: OpenSamplesOptions): Promise<SampleSet> {
  const inputs = checkReading(options), { labels } = options;
  if (await isFolder(path)) return openFolder(path, { ...options, inputs });
  if (!isDataFile(path)) {
    throw new AttuneError(
      "bad-data",
      `Cannot read samples from "${path}": give a folder of images, a .npy, a .npz or a .jsonl file`,
    );
  }
  if (labels !== undefined && (!/\.npy$/i.test(labels) || await isFolder(labels))) {
    throw new AttuneError(
      "bad-option",
      `Cannot read the labels of arrays from "${labels}": give a .npy file`,
    );
  }
  return openDataFile(await openAsBlob(path), basename(path), {
    ...options,
    inputs,
    labels: labels === undefined ? undefined : await openAsBlob(labels),
  });
}

/** Whether `path` is a folder; it must be that or a regular file. */
async function isFolder(path: string): Promise<boolean> {
  try {
    const entry = await stat(path);
    if (!entry.isDirectory()) checkRegular(entry);
    return entry.isDirectory();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "it does not exist" : message;
    throw new AttuneError("bad-data", `Cannot open "${path}": ${reason}; check the path`, {
      cause,
    });
  }
}
