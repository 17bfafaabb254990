/**
 * What all readers of samples are told, wherever the files come from.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import { type BatchAxis, withBatchAxis } from "./batch_axis.ts";
import type { ImageDecoder } from "./decoder.ts";
import type { PreprocessOptions } from "./preprocess.ts";
import type { SampleWarning } from "./sample.ts";

/** How to read samples, wherever they come from. */
export interface ReadOptions {
  /** The model's inputs. */
  readonly inputs: readonly InputSpec[];
  /**
   * The axis of the inputs that counts samples. Default: the one that fits, the first if it does.
   */
  readonly batchAxis?: BatchAxis;
  /** From images to the model's input. Default: `imagenet`, cropped to that input. */
  readonly preprocess?: PreprocessOptions;
  /** Take at most this many samples, spread evenly over the whole. Default: all. */
  readonly limit?: number;
  /** Seed of that choice, a whole number. Default: 0. */
  readonly seed?: number;
  /** Turns image files into pixels. Default: sharp in Deno and Node, in pages the browser's own. */
  readonly decoder?: ImageDecoder;
  /** Called for each file that is left out, once. Default: none. */
  readonly onWarning?: (warning: SampleWarning) => void;
  /** Stops the reading. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * The inputs as `options` describe them.
 *
 * @throws {AttuneError} `bad-option` if an option has a value that is not allowed.
 */
export function checkReading(
  { inputs, batchAxis, limit, seed = 0 }: ReadOptions,
): readonly InputSpec[] {
  const described = withBatchAxis(inputs, batchAxis);
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
    throw new AttuneError("bad-option", `Cannot read ${limit} samples: give a whole number from 1`);
  }
  if (!Number.isSafeInteger(seed)) {
    throw new AttuneError("bad-option", `Cannot use seed ${seed}: give a whole number`);
  }
  return described;
}
