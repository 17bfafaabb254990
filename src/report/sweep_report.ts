/**
 * What came of a sweep, as plain values.
 *
 * @module
 */

import type { Evaluation } from "../evaluate/metrics.ts";
import type { Allocation } from "../plan/allocation.ts";

/** One budget, and what came of it. */
export interface SweepPoint {
  /** How bits were spread; `uniform` is one width for all. */
  readonly strategy: Allocation["strategy"];
  /** Bits of a weight that were asked for, on average over the free layers. */
  readonly asked: number;
  /** Bits of a weight that came of it. */
  readonly averageBits: number;
  /** Bytes of the file, as predicted. */
  readonly bytes: number;
  /** Its first output against the float model's, on samples that it was not calibrated on. */
  readonly evaluation: Evaluation;
  /** Whether no other point is smaller, or as small, with less error. */
  readonly best: boolean;
  /** The width of each layer by its name. */
  readonly widths: Readonly<Record<string, number>>;
}

/** What came of a sweep. */
export interface SweepReport {
  /** The version of attune. */
  readonly version: string;
  /** The model's file name. */
  readonly model: string;
  /** Bytes of the float weights and constants. */
  readonly bytes: number;
  /** The seed. */
  readonly seed: number;
  /** Samples used for calibration and kept out of it; unreadable ones, where somebody counted. */
  readonly samples: {
    readonly calibration: number;
    readonly heldOut: number;
    readonly skipped?: number;
  };
  /** All points, strategy by strategy. */
  readonly points: readonly SweepPoint[];
  /** Seconds by kind of work. */
  readonly stages: readonly { readonly name: string; readonly seconds: number }[];
}
