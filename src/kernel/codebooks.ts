/**
 * The kernel's rounding to codes that are read at several widths at once; see kernel/codebooks.ts.
 *
 * @module
 */

import type { Buffer } from "./arena.ts";
import { scalesPerRow } from "./arguments.ts";
import { ElementKernel } from "./elements.ts";
import { at } from "./instance.ts";

/**
 * The weights of groups × rows rows and the codes that stand for them. Arrays of all widths lie one
 * after another.
 */
export interface Codes {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly d: number;
  /** At how many widths a code is read. */
  readonly widths: number;
  /**
   * What each code stands for, as multiples of the scale: widths × codes, a multiple of 4 of them.
   */
  readonly values: Buffer;
  /** What a row adds to the values of all codes: groups·rows. */
  readonly offset: Buffer;
  /** Wanted weights: widths × (groups·rows) × d. */
  readonly target: Buffer;
  /** Scales: widths × (groups·rows) × ⌈d / groupSize⌉, positive. */
  readonly scale: Buffer;
  /** Weights that share a scale along a row. */
  readonly groupSize: number;
  /** What a width's loss counts, by row: widths × (groups·rows). */
  readonly price: Buffer;
  /** Codes as whole float32 numbers: (groups·rows) × d. */
  readonly code: Buffer;
}

/** The part of {@linkcode Kernel} that finds codes. */
export class CodebookKernel extends ElementKernel {
  /**
   * Sequential rounding of one candidate: from the last input to the first, each weight gets the
   * code of least Σ price · loss, around what the errors so far make of its targets; the lowest of
   * equal ones.
   */
  codesSequential(
    args: Codes & {
      /** Factors of H: widths × groups × d × d. */
      readonly u: Buffer;
      /** How far draws spread, in steps of the grid: widths × groups × d. */
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
    const { u, spread, tau, candidate, seed, stream, widths, groups, rows, d } = args;
    const inputs = widths * groups * d;
    this.arena.borrow(this.exports.codesBytes(d, widths), (work) =>
      this.exports.codesSequential(
        ...pointers(args),
        at(u, inputs * d),
        at(spread, inputs),
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
      /** H: widths × groups × d × d, symmetric. */
      readonly h: Buffer;
      /** Sweeps over the weights, at most. */
      readonly sweeps: number;
    },
  ): void {
    const { h, sweeps, widths, groups, rows, d } = args;
    const metric = at(h, widths * groups * d * d), codes = at(args.code, groups * rows * d);
    this.arena.borrow(
      this.exports.codesBytes(d, widths),
      (work) =>
        this.exports.codesPolish(...pointers(args), metric, rows, groups, d, sweeps, codes, work),
    );
  }
}

type Pointers = [
  target: number,
  scale: number,
  groupSize: number,
  values: number,
  codes: number,
  widths: number,
  offset: number,
  price: number,
];

function pointers(args: Codes): Pointers {
  const { groups, rows, d, widths, values, offset, target, scale, groupSize, price } = args;
  const all = widths * groups * rows;
  return [
    at(target, all * d),
    at(scale, all * scalesPerRow(d, groupSize)),
    groupSize,
    at(values, 4 * widths),
    values.length / widths,
    widths,
    at(offset, groups * rows),
    at(price, all),
  ];
}
