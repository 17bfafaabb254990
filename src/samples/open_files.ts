/**
 * Opens files that a page was given as samples: chosen, dropped, or fetched.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { isDataFile, openDataFile } from "./data_file.ts";
import { type FileEntry, isHidden, isImage, openImages } from "./images.ts";
import { checkReading, type ReadOptions } from "./options.ts";
import type { SampleSet } from "./sample.ts";

/**
 * A file of samples. A `Blob` has no name: its type says what it is, its position where it comes.
 * What was dropped as part of a folder can be given with its path in it.
 */
export type SampleFile = Blob | {
  /** Its path with slashes, without the folder that all are in. */
  readonly path: string;
  /** What is in it. */
  readonly file: Blob;
};

/** How to read files. */
export interface OpenFilesOptions extends ReadOptions {
  /**
   * The labels: for images a CSV file with the header `file,label`, for arrays a .npy file.
   * Default: `labels.csv` or `labels.npy` among the files, else the folders that images are in.
   */
  readonly labels?: Blob;
}

/** A file by its path. */
interface NamedFile {
  readonly path: string;
  readonly file: Blob;
}

/** What blobs are, by their types. */
const ENDINGS: Readonly<Record<string, string>> = {
  "image/jpeg": ".jpg",
  "image/png": ".png",
  "image/webp": ".webp",
};

/**
 * Opens files as samples for a model: images, or one .npy, .npz or .jsonl file. What a page was
 * given as a folder is read as {@linkcode openSamples} reads that folder, and PNG files give the
 * same bytes. Nothing but names, headers and the ends of lines is read until `samples()` is
 * iterated. Images are decoded by the browser; elsewhere a `decoder` is wanted.
 *
 * Throws `AttuneError` `bad-data` if there is nothing to read or it does not fit the model, and
 * `bad-option` if an option has a value that is not allowed.
 *
 * @example
 * ```ts
 * import { openFiles } from "./open_files.ts";
 *
 * const inputs = [{ name: "ids", dims: ["N", 2], type: "int64" }] as const;
 * const lines = new File(['{"ids": [1, 2], "label": 0}\n{"ids": [3, 4]}\n'], "lines.jsonl");
 * const set = await openFiles([lines], { inputs });
 * for await (const { inputs } of set.samples()) {
 *   if (inputs.ids.data.length !== 2) throw new Error("not read");
 * }
 * ```
 */
export async function openFiles(
  files: Iterable<SampleFile> | ArrayLike<SampleFile>,
  options: OpenFilesOptions,
): Promise<SampleSet> {
  const inputs = checkReading(options), given = { ...options, inputs };
  const all = Array.from(files, nameOf).filter(({ path }) => !isHidden(path));
  const labels = (name: string) => options.labels ?? all.find(({ path }) => path === name)?.file;
  const data = all.filter(({ path }) => isDataFile(path) && path !== "labels.npy");
  const isMixed = data.length > 0 && all.some(({ path }) => isImage(path));
  if (data.length > 1 || isMixed) {
    const other = isMixed ? "images" : `"${data[1].path}"`;
    throw new AttuneError(
      "bad-data",
      `Cannot read samples from "${
        data[0].path
      }" and ${other} at once: give images, or one .npy, ` +
        `.npz or .jsonl file`,
    );
  }
  const [only] = data;
  if (only !== undefined) {
    return await openDataFile(only.file, only.path, { ...given, labels: labels("labels.npy") });
  }
  const csv = labels("labels.csv");
  return await openImages({
    name: "the files",
    files: all.map(entryOf),
    labels: csv && entryOf({ path: "labels.csv", file: csv }),
    classes: [...new Set(all.flatMap(({ path }) => /^([^/]+)\//.exec(path)?.[1] ?? []))],
    decoder: async () => (await import("./browser_decoder.ts")).browserDecoder(),
  }, given);
}

/** The path of a file; of one in a folder that was chosen, without the name of that folder. */
function nameOf(given: SampleFile, index: number): NamedFile {
  if (!(given instanceof Blob)) return given;
  const { webkitRelativePath, name } = given as Partial<File>;
  const path = webkitRelativePath?.slice(webkitRelativePath.indexOf("/") + 1) || name;
  // Sorted by their paths, they keep their order.
  const number = String(index).padStart(9, "0");
  return { path: path || number + (ENDINGS[given.type] ?? ""), file: given };
}

function entryOf({ path, file }: NamedFile): FileEntry {
  return { path, read: async () => new Uint8Array(await file.arrayBuffer()) };
}
