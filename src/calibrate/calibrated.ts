/**
 * What a calibration is asked for, and what it gives.
 *
 * @module
 */

import type { Parts, Rounding } from "../emit/build.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { BlockReport } from "../report/report.ts";
import type { RoundingOptions } from "../round/problem.ts";
import type { JobState, RangedGrid } from "./checkpoint.ts";
import type { SegmentLearner } from "./learner.ts";
import type { RoundedLayer } from "../layer/round_layer.ts";

/** How layers are calibrated and rounded. */
export interface CalibrateOptions extends RoundingOptions {
  /** How ranges of activations are found. */
  readonly range: RangeMethod;
  /** Learns segments further once their layers are rounded. Default: nobody does. */
  readonly learner?: SegmentLearner;
  /** Rounded embedding tables, by the initializer's name. */
  readonly tables: ReadonlyMap<string, Rounding>;
  /** What an interrupted job had found. */
  readonly state?: JobState;
  /** Hears of what has been found, after each segment; the next begins once it is done. */
  readonly onState?: (state: JobState) => void | Promise<void>;
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
