/**
 * Opens whatever the user calls the samples: a folder of images, a .npy or a .npz file. For Deno
 * and Node.
 *
 * @module
 */

import { openAsBlob } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { AttuneError } from "../errors.ts";
import { checkRegular } from "../files/regular.ts";
import { openNpy, openNpz } from "./arrays.ts";
import { type BatchAxis, withBatchAxis } from "./batch_axis.ts";
import type { ImageDecoder } from "./decoder.ts";
import { openFolder } from "./folder.ts";
import { type PreprocessOptions, resolvePreprocess } from "./preprocess.ts";
import { formatDims, type SampleSet, type SampleWarning } from "./sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";

/** How to read samples. */
export interface OpenSamplesOptions {
  /** The model's inputs. */
  readonly inputs: readonly InputSpec[];
  /**
   * The axis of the inputs that counts samples. Default: the one that fits, the first if it does.
   */
  readonly batchAxis?: BatchAxis;
  /** From images to the model's input. Default: `imagenet`, cropped to that input. */
  readonly preprocess?: PreprocessOptions;
  /**
   * Path of the labels: for images a CSV file with the header `file,label`, for arrays a .npy file.
   * Default: `labels.csv` in the folder, else its subfolders; the array `labels` of a .npz file.
   */
  readonly labels?: string;
  /** Take at most this many samples, spread evenly over the whole. Default: all. */
  readonly limit?: number;
  /** Seed of that choice, a whole number. Default: 0. */
  readonly seed?: number;
  /** Turns image files into pixels. Default: sharp. */
  readonly decoder?: ImageDecoder;
  /** Called for each file that is left out, once. Default: none. */
  readonly onWarning?: (warning: SampleWarning) => void;
  /** Stops the reading. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a folder of images, a .npy or a .npz file as samples for a model. Nothing but names and
 * headers is read until `samples()` is iterated (a .npz file is unpacked at once).
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
  const { limit, seed = 0 } = options;
  const inputs = withBatchAxis(options.inputs, options.batchAxis);
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
    throw new AttuneError("bad-option", `Cannot read ${limit} samples: give a whole number from 1`);
  }
  if (!Number.isSafeInteger(seed)) {
    throw new AttuneError("bad-option", `Cannot use seed ${seed}: give a whole number`);
  }
  if (await isFolder(path)) {
    if (inputs.length !== 1) {
      const wants = inputs.map(({ name, dims }) => `"${name}" ${formatDims(dims)}`).join(", ");
      throw new AttuneError(
        "bad-data",
        `Cannot feed images from "${path}": the model has ${inputs.length} inputs (${wants}), a ` +
          `folder gives one; give the samples as .npz with an array for each input`,
      );
    }
    const preprocess = resolvePreprocess(options.preprocess ?? {}, inputs[0]);
    const decoder = options.decoder ?? (await import("./sharp_decoder.ts")).sharpDecoder();
    return openFolder(path, { ...options, input: inputs[0], preprocess, decoder });
  }
  const open = /\.npy$/i.test(path) ? openNpy : /\.npz$/i.test(path) ? openNpz : undefined;
  if (open === undefined) {
    throw new AttuneError(
      "bad-data",
      `Cannot read samples from "${path}": give a folder of images, a .npy or a .npz file`,
    );
  }
  const labels = options.labels;
  if (labels !== undefined && (!/\.npy$/i.test(labels) || await isFolder(labels))) {
    throw new AttuneError(
      "bad-option",
      `Cannot read the labels of arrays from "${labels}": give a .npy file`,
    );
  }
  return open(await openAsBlob(path), basename(path), {
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
