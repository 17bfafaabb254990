/**
 * The kernel's rounding to codes that are read in several ways at once; see kernel/codes.ts.
 *
 * @module
 */

import type { Buffer } from "./arena.ts";
import { ElementKernel } from "./elements.ts";
import { at } from "./instance.ts";

/**
 * The weights of groups × rows rows and the codes that stand for them. Arrays of all readings lie one
 * after another.
 */
export interface Codes {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly d: number;
  /** In how many ways a code is read. */
  readonly readings: number;
  /** What each code stands for, as multiples of the scale: readings × codes, a multiple of 4 of them. */
  readonly values: Buffer;
  /** What a row adds to the values of all codes: groups·rows. */
  readonly offset: Buffer;
  /** Wanted weights: readings × (groups·rows) × d. */
  readonly target: Buffer;
  /** Scales: readings × (groups·rows) × ⌈d / block⌉, positive. */
  readonly scale: Buffer;
  /** Weights that share a scale along a row. */
  readonly block: number;
  /** What a reading's loss counts, by row: readings × (groups·rows). */
  readonly price: Buffer;
  /** Codes as whole float32 numbers: (groups·rows) × d. */
  readonly code: Buffer;
}

/** The part of {@linkcode Kernel} that finds codes. */
export class CodeKernel extends ElementKernel {
  /**
   * Sequential rounding of one candidate: from the last input to the first, each weight gets the code
   * of least Σ price · loss, around what the errors so far make of its targets; the lowest of equal ones.
   */
  codesSequential(
    args: Codes & {
      /** Factors of H: readings × groups × d × d. */
      readonly u: Buffer;
      /** How far draws spread, in steps of the grid: readings × groups × d. */
      readonly spread: Buffer;
      /** What the spread is multiplied by; 0 draws nothing. */
      readonly tau: number;
      /** Which draws: those of this candidate. */
      readonly candidate: number;
      /** 32 bits. */
      readonly seed: number;
      /** The stream of the first row; row r draws from stream + r. */
      readonly stream: number;
    },
  ): void {
    const { u, spread, tau, candidate, seed, stream, readings, groups, rows, d } = args;
    const width = readings * groups * d;
    this.arena.borrow(this.call("codesBytes", d, readings), (work) =>
      this.call(
        "codesSequential",
        ...pointers(args),
        at(u, width * d),
        at(spread, width),
        tau,
        candidate,
        seed,
        stream,
        rows,
        groups,
        d,
        at(args.code, groups * rows * d),
        work,
      ));
  }

  /** Coordinate descent from the codes in `code`; never raises a row's Σ price · loss. */
  codesPolish(
    args: Codes & {
      /** H: readings × groups × d × d, symmetric. */
      readonly h: Buffer;
      /** Sweeps over the weights, at most. */
      readonly sweeps: number;
    },
  ): void {
    const { h, sweeps, readings, groups, rows, d } = args;
    const metric = at(h, readings * groups * d * d), codes = at(args.code, groups * rows * d);
    this.arena.borrow(
      this.call("codesBytes", d, readings),
      (work) =>
        this.call("codesPolish", ...pointers(args), metric, rows, groups, d, sweeps, codes, work),
    );
  }
}

function pointers(args: Codes): number[] {
  const { groups, rows, d, readings, values, offset, target, scale, block, price } = args;
  const all = readings * groups * rows;
  return [
    at(target, all * d),
    at(scale, all * Math.ceil(d / block)),
    block,
    at(values, 4 * readings),
    values.length / readings,
    readings,
    at(offset, groups * rows),
    at(price, all),
  ];
}
