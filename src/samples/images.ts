/**
 * Image files as samples, wherever they come from: a folder on disk, or files that a page was
 * given.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import type { ImageDecoder } from "./decoder.ts";
import { parseLabels } from "./labels.ts";
import type { ReadOptions } from "./options.ts";
import { fitPixels, type Preprocess, preprocessPixels, resolvePreprocess } from "./preprocess.ts";
import {
  checkShapes,
  formatDims,
  type Sample,
  type SampleSet,
  type SampleWarning,
} from "./sample.ts";
import { chooseSpread } from "./sampling.ts";

/** A file that can be read. */
export interface FileEntry {
  /** Its path, with slashes, within the folder that all samples are in. */
  readonly path: string;
  /** Its bytes. */
  read(): Promise<Uint8Array>;
}

/** Image files, and what their classes are. */
export interface ImageFiles {
  /** What they are called in messages, as in `the folder`. */
  readonly name: string;
  /** The files in any order; those that are no images are passed over. */
  readonly files: readonly FileEntry[];
  /** The labels: a CSV file with the header `file,label`. Default: none. */
  readonly labels?: FileEntry;
  /** The names of the folders that stand for classes where there are no labels. */
  readonly classes: readonly string[];
  /** Turns files into pixels where the caller brings no decoder. */
  readonly decoder: () => Promise<ImageDecoder>;
}

/** Images decoded at the same time. */
const AHEAD = 4;

/** Whether the file at `path` is called as an image is; hidden files are none. */
export function isImage(path: string): boolean {
  return /\.(jpe?g|png|webp)$/i.test(path) && !isHidden(path);
}

/** Whether a file or a folder on its way is hidden. */
export function isHidden(path: string): boolean {
  return /(^|\/)\./.test(path);
}

/**
 * Opens JPEG, PNG and WebP files. They are sorted by their paths (by code unit, so the same
 * everywhere). Without labels, and with no image at the top level, the folders are the classes:
 * their sorted names are 0, 1, 2, ….
 *
 * A file that cannot be decoded is left out with a warning. Throws `AttuneError` `bad-data` if
 * there is no image, or the model has not one input for images.
 */
export async function openImages(from: ImageFiles, options: ReadOptions): Promise<SampleSet> {
  const { name, decoder } = from, { limit = Infinity, seed = 0, onWarning, signal } = options;
  const input = inputOf(options.inputs, name);
  const preprocess = resolvePreprocess(options.preprocess ?? {}, input);
  const files = from.files.filter(({ path }) => isImage(path)).sort(byPath);
  if (files.length === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find images in ${name}: give .jpg, .png or .webp files`,
    );
  }
  const labels = await labelsOf(from, files);
  const chosen = chooseSpread(files.length, limit, seed).map((position) => files[position]);
  const warnings = new Map<string, SampleWarning>();
  const warn = (source: string, message: string) => {
    if (warnings.has(source)) return;
    warnings.set(source, { source, message });
    onWarning?.({ source, message });
  };
  const unlabelled = chosen.filter(({ path }) => !labels.has(path));
  if (labels.size > 0 && unlabelled.length > 0) {
    warn(
      "labels",
      `${unlabelled.length} of ${chosen.length} images without a label, the first is ` +
        `"${unlabelled[0].path}"`,
    );
  }
  const recipe = { input, preprocess, decoder: options.decoder ?? await decoder() };
  const read = async (file: FileEntry): Promise<Sample | Error> => {
    try {
      checkAborted(signal);
      return await readImage(file, labels.get(file.path), recipe);
    } catch (error) {
      return error as Error;
    }
  };
  return {
    count: chosen.length,
    get warnings() {
      return [...warnings.values()];
    },
    samples: () => readable(name, mapAhead(chosen, AHEAD, read), warn),
  };
}

/** The input for images, if it is the only one. */
function inputOf(inputs: readonly InputSpec[], name: string): InputSpec {
  if (inputs.length === 1) return inputs[0];
  const wants = inputs.map(({ name, dims }) => `"${name}" ${formatDims(dims)}`).join(", ");
  throw new AttuneError(
    "bad-data",
    `Cannot feed images from ${name}: the model has ${inputs.length} inputs (${wants}), images ` +
      `are one; give the samples as .npz with an array for each input, or as .jsonl`,
  );
}

function byPath(a: FileEntry, b: FileEntry): number {
  return a.path < b.path ? -1 : Number(a.path > b.path);
}

/** Labels by path: from the labels file if there is one, else from the folders. */
async function labelsOf(
  { labels, classes }: ImageFiles,
  files: readonly FileEntry[],
): Promise<Map<string, number>> {
  if (labels !== undefined) {
    const bytes = await labels.read().catch((cause) => {
      const message = `Cannot read labels from "${labels.path}": ${cause.message}`;
      throw new AttuneError("bad-data", message, { cause });
    });
    return parseLabels(new TextDecoder().decode(bytes), labels.path.split("/").pop()!);
  }
  if (files.some(({ path }) => !path.includes("/"))) return new Map();
  const sorted = [...classes].sort();
  return new Map(files.map(({ path }) => [path, sorted.indexOf(path.slice(0, path.indexOf("/")))]));
}

/** The samples among `results`, what was read of the files in `name`; of others it warns. */
async function* readable(
  name: string,
  results: AsyncIterable<[file: FileEntry, result: Sample | Error]>,
  warn: (file: string, message: string) => void,
): AsyncGenerator<Sample> {
  let files = 0, usable = 0, reason = "none was chosen";
  for await (const [{ path }, result] of results) {
    files++;
    if (!(result instanceof Error)) {
      usable++;
      yield result;
    } else if (result instanceof AttuneError && result.code !== "bad-data") {
      throw result;
    } else {
      if (files === 1) reason = result.message;
      warn(path, result.message);
    }
  }
  if (usable > 0) return;
  throw new AttuneError("bad-data", `Cannot use any of the ${files} images in ${name}: ${reason}`);
}

/** What files become samples by. */
interface Recipe {
  readonly input: InputSpec;
  readonly preprocess: Preprocess;
  readonly decoder: ImageDecoder;
}

async function readImage(
  file: FileEntry,
  label: number | undefined,
  { input, preprocess, decoder }: Recipe,
): Promise<Sample> {
  const pixels = fitPixels(await decoder.decode(await file.read()), preprocess);
  const inputs = { [input.name]: preprocessPixels(pixels, preprocess) };
  // Values are finite, as they come from a table of 256: nothing to look through.
  return checkShapes({ inputs, label, source: file.path }, [input]);
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
