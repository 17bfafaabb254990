/**
 * What searches for scales, windows and levels are given, and where their results go.
 *
 * @module
 */

import type { Buffer } from "../kernel/arena.ts";
import type { Draws, Grid, Metric, Result, Sizes } from "../kernel/arguments.ts";

/** Weights, and the scales that some of them share. */
export interface ScaleSearch extends Sizes {
  /** Weights: (groups·rows) × d. */
  readonly target: Buffer;
  /** What their squared errors are weighted by: groups × d. */
  readonly importance: Buffer;
  /** Weights that share a scale along a row. */
  readonly groupSize: number;
  /** Where the scales go: (groups·rows) × ⌈d / groupSize⌉. */
  readonly scale: Buffer;
}

/** A search for windows of levels, too. */
export interface GridSearch extends ScaleSearch {
  /** Where the smallest level of each row goes: groups·rows. */
  readonly lo: Buffer;
}

/** Rows that get their levels one after another, by draws. */
export type SequentialRounding = Grid & Sizes & Result & Metric & Draws & {
  /** Cholesky factors of H: groups × d × d. */
  readonly u: Buffer;
  /** Relative spread of draws: groups × d. */
  readonly spread: Buffer;
  /** Spread per candidate; the first is 0. */
  readonly taus: Float32Array;
  /** Sweeps of coordinate descent, at most. */
  readonly sweeps: number;
};
