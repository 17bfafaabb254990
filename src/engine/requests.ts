/**
 * What is asked of a lane about a block that is learned, and what it answers.
 *
 * @module
 */

import type { Batch, SampleAt } from "./spool.ts";

/** A gradient, or a loss, of a block on some samples of a lane. */
export interface BlockRequest {
  /** The model to run. */
  readonly key: string;
  /** The samples. */
  readonly samples: readonly SampleAt[];
  /** Tensors of the quantized model that are fed. */
  readonly inputs: readonly string[];
  /** Tensors of the float model that the block should give, and the inputs that they are fed to. */
  readonly targets: readonly (readonly [output: string, input: string])[];
  /** What else is fed: weights, biases, steps. */
  readonly values: Batch;
  /** Decides which values of the inputs are the float model's: about half. Without it, none is. */
  readonly drop?: number;
}

/** Squared errors of a block's outputs, and the squares of what they should be. */
export interface BlockError {
  /** Σ (y − target)². */
  readonly error: number;
  /** Σ target². */
  readonly power: number;
}
