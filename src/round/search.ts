/**
 * What a search for scales is given, and where its result goes.
 *
 * @module
 */

import type { Buffer } from "../kernel/arena.ts";
import type { Sizes } from "../kernel/arguments.ts";

/** Weights, and the scales that some of them share. */
export interface ScaleSearch extends Sizes {
  /** Weights: (groups·rows) × d. */
  readonly target: Buffer;
  /** What their squared errors are weighted by: groups × d. */
  readonly importance: Buffer;
  /** Weights that share a scale along a row. */
  readonly block: number;
  /** Where the scales go: (groups·rows) × ⌈d / block⌉. */
  readonly scale: Buffer;
}

/** A search for windows of levels, too. */
export interface GridSearch extends ScaleSearch {
  /** Where the smallest level of each row goes: groups·rows. */
  readonly lo: Buffer;
}
