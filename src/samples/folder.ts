/**
 * A folder of images as samples, for Deno and Node.
 *
 * @module
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { loadRegular } from "../files/regular.ts";
import { type FileEntry, isHidden, openImages } from "./images.ts";
import type { ReadOptions } from "./options.ts";
import type { SampleSet } from "./sample.ts";

/** How to read a folder of images. */
export interface FolderOptions extends ReadOptions {
  /** Path of a CSV file with the header `file,label`. Default: `labels.csv` in the folder. */
  readonly labels?: string;
}

/**
 * Opens a folder of JPEG, PNG and WebP files, and of those in folders below it, as
 * {@linkcode openImages} says. Folders at its top level are classes even if they are empty.
 *
 * Throws `AttuneError` `bad-data` if the folder holds no image.
 */
export async function openFolder(folder: string, options: FolderOptions): Promise<SampleSet> {
  const entries = await readdir(folder, { recursive: true });
  const files = entries.map((entry) => entryOf(folder, entry.replaceAll("\\", "/")));
  const top = await readdir(folder, { withFileTypes: true });
  const classes = top.filter((entry) => entry.isDirectory() && !isHidden(entry.name));
  const labels = options.labels === undefined
    ? files.find(({ path }) => path === "labels.csv")
    : { path: options.labels, read: () => loadRegular(options.labels!) };
  return openImages({
    name: `"${folder}"`,
    files,
    labels,
    classes: classes.map(({ name }) => name),
    decoder: async () => (await import("./sharp_decoder.ts")).sharpDecoder(),
  }, options);
}

function entryOf(folder: string, path: string): FileEntry {
  return { path, read: () => loadRegular(join(folder, path)) };
}
