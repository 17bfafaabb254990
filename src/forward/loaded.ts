/**
 * Samples as the engines of a pool hold them.
 *
 * @module
 */

import type { TensorInfo } from "./batches.ts";
import type { Batching } from "./batching.ts";

/** Batches that were loaded into the engines of a pool. */
export interface LoadedBatches {
  /** Number of batches; batch i lies in lane i mod LANES. */
  readonly batches: number;
  /** Samples of a batch, at most. */
  readonly batchSize: number;
  /** Samples of each batch. */
  readonly sizes: readonly number[];
  /** Number of samples. */
  readonly samples: number;
  /** Shape and type of every tensor of the float model. */
  readonly shapes: ReadonlyMap<string, TensorInfo>;
  /** How samples became batches. */
  readonly batching: Batching;
  /** Whether all samples have one shape. */
  readonly uniform: boolean;
  /** The tensors that have samples along their first axis; found only where that was asked for. */
  readonly bySample?: ReadonlySet<string>;
}
