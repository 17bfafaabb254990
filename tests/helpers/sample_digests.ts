/** What is in samples, in few words, so that Deno and a page can be compared. */

import { type InputSpec, openFiles, type ReadOptions, type SampleSet } from "../../src/browser.ts";

/** Files, and how they are read. */
export interface FilesCase {
  /** The paths of files that the page is served. */
  readonly paths: readonly string[];
  /** The model's inputs. */
  readonly inputs: readonly InputSpec[];
  /** Other options of those who read them. */
  readonly options?: Omit<ReadOptions, "inputs">;
}

/**
 * Each sample's source, label, and for each input its type, its shape, and a digest of its bytes.
 */
export async function digestsOf(set: SampleSet): Promise<string[]> {
  const lines: string[] = [`${set.count} samples`];
  for await (const { source, label, inputs } of set.samples()) {
    const tensors: string[] = [];
    for (const [name, { dims, data }] of Object.entries(inputs)) {
      const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      const short = [...digest.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0"));
      tensors.push(`${name} ${data.constructor.name} ${dims.join("×")} ${short.join("")}`);
    }
    lines.push([source, label, ...tensors].join(" "));
  }
  return [...lines, ...set.warnings.map(({ source }) => `without ${source}`)];
}

/** The files of a case as a page is given a folder that was chosen. */
export async function fetchFiles(paths: readonly string[]): Promise<File[]> {
  return await Promise.all(paths.map(async (path) => {
    const blob = await (await fetch(`/${path}`)).blob();
    const file = new File([blob], path.split("/").pop()!);
    return Object.defineProperty(file, "webkitRelativePath", { value: `chosen/${path}` });
  }));
}

/** What openFiles makes of each case in a page. */
export async function readCases(cases: readonly FilesCase[]): Promise<string[][]> {
  const results: string[][] = [];
  for (const { paths, inputs, options } of cases) {
    results.push(
      await digestsOf(await openFiles(await fetchFiles(paths), { ...options, inputs })),
    );
  }
  return results;
}
