/**
 * What a calibration is asked for, and what it gives.
 *
 * @module
 */

import type { BlockSettings } from "../blocks/options.ts";
import type { Layout } from "../blocks/samples.ts";
import type { Parts, Rounding } from "../emit/build.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { LayerPlan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import type { BlockReport } from "../report/report.ts";
import type { RoundingOptions } from "../round/problem.ts";
import type { TensorInfo } from "../forward/batches.ts";
import type { Batching } from "../forward/batching.ts";
import type { JobState, RangedGrid } from "./checkpoint.ts";
import type { RoundedLayer } from "../layer/round_layer.ts";

/** How layers are calibrated and rounded. */
export interface CalibrateOptions extends RoundingOptions {
  /** How ranges of activations are found. */
  readonly range: RangeMethod;
  /** Decides every random choice. */
  readonly seed: number;
  /** How blocks are learned; undefined leaves what was rounded layer by layer. */
  readonly blocks?: BlockSettings;
  /** Rounded embedding tables, by the initializer's name. */
  readonly tables: ReadonlyMap<string, Rounding>;
  /** Samples that the result is checked on, at most. */
  readonly heldOut: number;
  /** When the job began, by `performance.now()`. */
  readonly started: number;
  /** What an interrupted job had found. */
  readonly state?: JobState;
  /** Hears of what has been found, after each segment; the next begins once it is done. */
  readonly onState?: (state: JobState) => void | Promise<void>;
  /** Stops the job. */
  readonly signal?: AbortSignal;
  /** Hears of progress. */
  readonly onProgress?: OnProgress;
}

/** What is known of a layer after it was rounded. */
export interface LayerResult {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Its levels, scales and bias. */
  readonly rounding: Rounding;
  /** Squared output error over calibration data, relative to the output's power. */
  readonly error: RoundedLayer["error"];
}

/** A calibrated model, ready to be built. */
export interface Calibrated {
  /** Weights and grids. */
  readonly parts: Parts;
  /** Every layer, in the order in which they were rounded. */
  readonly layers: readonly LayerResult[];
  /** Every block that was learned. */
  readonly blocks: readonly BlockReport[];
  /** Ranges of activations, by tensor. */
  readonly ranges: ReadonlyMap<string, RangedGrid>;
  /** Seconds spent by kind of work. */
  readonly seconds: ReadonlyMap<string, number>;
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** Batches that were loaded into the engines of a pool. */
export interface LoadedBatches extends Layout {
  /** Shape and type of every tensor of the float model. */
  readonly shapes: ReadonlyMap<string, TensorInfo>;
  /** How samples became batches. */
  readonly batching: Batching;
  /** Whether all samples have one shape. */
  readonly uniform: boolean;
  /** The tensors that have samples along their first axis; found only where that was asked for. */
  readonly bySample?: ReadonlySet<string>;
}
