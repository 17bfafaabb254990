/**
 * What the kernel's methods are given: buffers, sizes and settings by name.
 *
 * @module
 */

import type { Buffer } from "./arena.ts";

/** The weights of groups × rows rows, and the grid that they are rounded to. */
export interface Grid {
  /** w′, the wanted weights: (groups·rows) × d. */
  readonly target: Buffer;
  /** Scales: (groups·rows) × ⌈d / groupSize⌉, positive. */
  readonly scale: Buffer;
  /** Weights that share a scale along a row. */
  readonly groupSize: number;
  /** Smallest level of each row: groups·rows. */
  readonly lo: Buffer;
  /** Largest level of a row less its smallest. */
  readonly span: number;
}

/** Scales of a row of d weights, of which `groupSize` share one; the last group may be shorter. */
export function scalesPerRow(d: number, groupSize: number): number {
  return Math.ceil(d / groupSize);
}

/** Sizes of a problem. */
export interface Sizes {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly d: number;
}

/** Levels of a problem. */
export interface Levels {
  /** Levels as whole float32 numbers: (groups·rows) × d. */
  readonly q: Buffer;
}

/** Where levels and losses go. */
export interface Result extends Levels {
  /** (ŵ − w′) H (ŵ − w′)ᵀ per row. */
  readonly loss: Buffer;
}

/** What a loss is measured by. */
export interface Metric {
  /** H: groups × d × d, symmetric. */
  readonly h: Buffer;
}

/** What random draws depend on. */
export interface Draws {
  /** 32 bits. */
  readonly seed: number;
  /** The stream of the first row; row r draws from stream + r. */
  readonly stream: number;
}

/** Elements of gradient state per weight. */
export const GRADIENT_STATE = 5;

/** A run of gradient steps. */
export interface GradientSteps extends Metric {
  /** Adam's step size, in steps of the grid. */
  readonly learningRate: number;
  /** How many steps. */
  readonly steps: number;
  /** Steps done before; at 0 the state is set up. */
  readonly startStep: number;
  /** Kept between runs: {@linkcode GRADIENT_STATE} × (groups·rows·d) elements. */
  readonly state: Buffer;
}
