/**
 * A folder of images as samples, for Deno and Node.
 *
 * @module
 */

import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { AttuneError, checkAborted } from "../errors.ts";
import { loadRegular } from "../files/regular.ts";
import type { ImageDecoder } from "./decoder.ts";
import { parseLabels } from "./labels.ts";
import { type Preprocess, preprocessPixels } from "./preprocess.ts";
import type { Sample, SampleSet, SampleWarning } from "./sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import { checkSample } from "./sample.ts";
import { chooseSpread } from "./sampling.ts";

/** How to read a folder of images. */
export interface FolderOptions {
  /** The model's image input. */
  readonly input: InputSpec;
  /** From pixels to that input. */
  readonly preprocess: Preprocess;
  /** Turns files into pixels. */
  readonly decoder: ImageDecoder;
  /** Path of a CSV file with the header `file,label`. Default: `labels.csv` in the folder. */
  readonly labels?: string;
  /** Take at most this many files, spread evenly over the sorted names. Default: all. */
  readonly limit?: number;
  /** Seed of that choice. Default: 0. */
  readonly seed?: number;
  /** Number of images decoded at the same time. Default: 4. */
  readonly ahead?: number;
  /** Called for each file that is left out, once. Default: none. */
  readonly onWarning?: (warning: SampleWarning) => void;
  /** Stops the reading. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a folder of JPEG, PNG and WebP files. Files are sorted by their path within the folder (by
 * code unit, so the same everywhere). Without a labels file, and with no image at the top level,
 * the subfolders are the classes: their sorted names are 0, 1, 2, ….
 *
 * A file that cannot be decoded is left out with a warning. Throws `AttuneError` `bad-data` if the
 * folder holds no image.
 */
export async function openFolder(path: string, options: FolderOptions): Promise<SampleSet> {
  const { limit = Infinity, seed = 0, ahead = 4, onWarning, signal } = options;
  const files = await listImages(path);
  if (files.length === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find images in "${path}": give a folder with .jpg, .png or .webp files`,
    );
  }
  const labels = await readLabels(path, files, options.labels);
  const chosen = chooseSpread(files.length, limit, seed).map((position) => files[position]);
  const warnings = new Map<string, SampleWarning>();
  const warn = (source: string, message: string) => {
    if (warnings.has(source)) return;
    warnings.set(source, { source, message });
    onWarning?.({ source, message });
  };
  const unlabelled = chosen.filter((file) => !labels.has(file));
  if (labels.size > 0 && unlabelled.length > 0) {
    warn(
      "labels",
      `${unlabelled.length} of ${chosen.length} images without a label, the first is ` +
        `"${unlabelled[0]}"`,
    );
  }
  const read = async (file: string): Promise<Sample | Error> => {
    try {
      checkAborted(signal);
      return await readImage(join(path, file), file, labels.get(file), options);
    } catch (error) {
      return error as Error;
    }
  };
  return {
    count: chosen.length,
    get warnings() {
      return [...warnings.values()];
    },
    samples: () => readable(path, mapAhead(chosen, ahead, read), warn),
  };
}

/**
 * The samples among `results`, what was read of the files in the folder `path`; of others it warns.
 */
async function* readable(
  path: string,
  results: AsyncIterable<[file: string, result: Sample | Error]>,
  warn: (file: string, message: string) => void,
): AsyncGenerator<Sample> {
  let files = 0, usable = 0, reason = "none was chosen";
  for await (const [file, result] of results) {
    files++;
    if (!(result instanceof Error)) {
      usable++;
      yield result;
    } else if (result instanceof AttuneError && result.code !== "bad-data") {
      throw result;
    } else {
      if (files === 1) reason = result.message;
      warn(file, result.message);
    }
  }
  if (usable > 0) return;
  throw new AttuneError(
    "bad-data",
    `Cannot use any of the ${files} images in "${path}": ${reason}`,
  );
}

async function readImage(
  path: string,
  source: string,
  label: number | undefined,
  { input, preprocess, decoder }: FolderOptions,
): Promise<Sample> {
  const { resize, resizeAlways, filter, crop, channels } = preprocess;
  const pixels = await decoder.decode(await loadRegular(path), {
    resize: resize === "none" ? undefined : resize,
    unlessSize: resizeAlways ? undefined : crop,
    crop,
    filter,
    channels,
  });
  const inputs = { [input.name]: preprocessPixels(pixels, preprocess) };
  return checkSample({ inputs, label, source }, [input]);
}

/** The image files below `folder`, as sorted paths with slashes; hidden ones are passed over. */
async function listImages(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true });
  return entries
    .map((entry) => entry.replaceAll("\\", "/"))
    .filter((entry) => /\.(jpe?g|png|webp)$/i.test(entry) && !/(^|\/)\./.test(entry))
    .sort();
}

/** Labels by file: from the labels file if there is one, else from the subfolders. */
async function readLabels(
  folder: string,
  files: readonly string[],
  path: string | undefined,
): Promise<Map<string, number>> {
  const source = path ?? join(folder, "labels.csv");
  const bytes = await loadRegular(source).catch((cause) => {
    if (path === undefined && cause.code === "ENOENT") return undefined;
    throw new AttuneError("bad-data", `Cannot read labels from "${source}": ${cause.message}`, {
      cause,
    });
  });
  if (bytes !== undefined) return parseLabels(new TextDecoder().decode(bytes), basename(source));
  if (files.some((file) => !file.includes("/"))) return new Map();
  const entries = await readdir(folder, { withFileTypes: true });
  const isClass = (entry: Dirent) => entry.isDirectory() && !entry.name.startsWith(".");
  const classes = entries.filter(isClass).map((entry) => entry.name).sort();
  return new Map(files.map((file) => [file, classes.indexOf(file.slice(0, file.indexOf("/")))]));
}

/** Maps `items` with up to `ahead` calls of `map` in flight, and gives the results in order. */
async function* mapAhead<T, R>(
  items: readonly T[],
  ahead: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<[T, R]> {
  const pending: Promise<R>[] = [];
  for (const [index, item] of items.entries()) {
    while (pending.length < ahead && index + pending.length < items.length) {
      pending.push(map(items[index + pending.length]));
    }
    yield [item, await pending.shift()!];
  }
}
