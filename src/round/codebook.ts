/**
 * Grids with dense levels in the middle and sparse ones in the tails: many weights are small, and a
 * few are large. A codebook is 2^bits whole numbers, so the levels of a file stay integers.
 *
 * The set of shapes is small: a share of the levels at either end is spread out by a factor. Which
 * one a layer gets, or none, is decided by the squared error of its nearest levels, weighted by the
 * diagonal of H, once each has the scales that suit it (`codebookErrors` in scales.ts).
 *
 * @module
 */

import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { type Result, scalesPerRow } from "../kernel/arguments.ts";
import type { LevelWindows } from "../weights/levels.ts";
import type { GridSearch, SequentialRounding } from "./search.ts";

/** Steps between levels of a tail, in steps of the middle. */
const TAIL_STEPS = [2, 3];
/** Levels in a tail: this share of all. */
const TAIL_SHARES = [1 / 8, 1 / 4];
/**
 * Scales that are tried, down from the one that clips nothing; a COARSE-th of them where windows
 * are judged.
 */
const SCALES = 40, COARSE = 4, SHRINK_FROM = 0.2;
/** Candidates per row, at most. */
const MOST_CANDIDATES = 8;

/**
 * The shapes that are tried for `bits`, up to 7; levels rise.
 *
 * @example
 * ```ts
 * import { codebooksOf } from "./codebook.ts";
 *
 * const [first] = codebooksOf(3);
 * if (first.join() !== "-5,-3,-2,-1,0,1,2,4") throw new Error("unexpected");
 * ```
 */
export function codebooksOf(bits: number): Int8Array[] {
  const half = 2 ** (bits - 1);
  const even = Array.from({ length: 2 * half }, (_, code) => code - half);
  const books: Int8Array[] = [];
  const tails = new Set(TAIL_SHARES.map((share) => Math.ceil(share * 2 * half)));
  for (const tail of tails) {
    for (const step of TAIL_STEPS) {
      const middle = half - tail;
      const levels = even.map((level) => {
        if (level < -middle) return -middle + step * (level + middle);
        return level < middle ? level : middle - 1 + step * (level - middle + 1);
      });
      if (levels[0] >= -128 && tail < half) books.push(Int8Array.from(levels));
    }
  }
  return books;
}

/**
 * What a rounding problem is told of `codebook`: its levels, and where they may begin. A row's
 * levels are those of the codebook, moved as far as they still are dense around zero; not at all
 * where levels shall be `symmetric`.
 */
export function codebookProblem(
  codebook: Int8Array,
  symmetric: boolean,
): {
  readonly grid: { readonly kind: "piecewise"; readonly codebook: Int8Array };
  readonly windows: LevelWindows;
} {
  const usual = codebook[0], span = codebook[codebook.length - 1] - usual;
  // The middle is −dense … dense − 1.
  const dense = (codebook.filter((level, i) => codebook[i + 1] === level + 1).length + 1) / 2;
  const lows = [usual];
  for (let away = 1; away < dense && !symmetric; away++) {
    lows.push(...[usual + away, usual - away].filter((lo) => lo >= -128 && lo + span <= 127));
  }
  return { grid: { kind: "piecewise", codebook }, windows: { span, lows } };
}

/** Looks up levels of a codebook that is moved by an offset. */
class Lookup {
  readonly #levels: Int8Array;
  readonly #lo: number;
  readonly #hi: number;
  readonly #nearest: Int8Array;

  constructor(levels: Int8Array) {
    this.#levels = levels;
    this.#lo = levels[0];
    this.#hi = levels[levels.length - 1];
    // Two levels meet at a multiple of one half, so between those the nearest one is the same.
    this.#nearest = Int8Array.from(
      { length: 2 * (this.#hi - this.#lo) },
      (_, i) => this.#search(this.#lo + i / 2 + 0.25),
    );
  }

  #search(value: number): number {
    return this.#levels.reduce((best, level) =>
      Math.abs(level - value) < Math.abs(best - value) ? level : best
    );
  }

  /** The level nearest to `value`; between two, one of them. */
  nearest(value: number, offset: number): number {
    const place = value - offset;
    if (!(place > this.#lo)) return this.#lo + offset;
    if (place >= this.#hi) return this.#hi + offset;
    return this.#nearest[Math.floor(2 * (place - this.#lo))] + offset;
  }

  /** The smallest scale with which none of `weights` is clipped. */
  #fullScale(weights: Float32Array, offset: number): number {
    const lo = this.#lo + offset, hi = this.#hi + offset;
    let full = 0;
    for (const w of weights) full = Math.max(full, w < 0 ? w / lo : w / hi);
    return full;
  }

  /** Σ h (s·q − w)² with the nearest levels. */
  #error(weights: Float32Array, importance: Float32Array, scale: number, offset: number): number {
    let error = 0;
    for (let j = 0; j < weights.length; j++) {
      const value = scale * this.nearest(weights[j] / scale, offset);
      error += importance[j] * (value - weights[j]) ** 2;
    }
    return error;
  }

  /** The best of `count` scales, and its error; a scale of 1 where all weights are 0. */
  scaleOf(
    weights: Float32Array,
    importance: Float32Array,
    offset: number,
    count: number,
  ): { readonly scale: number; readonly error: number } {
    const full = this.#fullScale(weights, offset);
    if (!(full > 1e-30)) return { scale: 1, error: 0 };
    let best = { scale: full, error: Infinity };
    for (let i = 1; i <= count; i++) {
      const scale = Math.fround(full * (SHRINK_FROM + (1 - SHRINK_FROM) * i / count));
      const error = this.#error(weights, importance, scale, offset);
      if (error <= best.error) best = { scale, error };
    }
    return best;
  }
}

/** What gives the one of `levels`, moved to begin at `lo`, that is nearest to a number. */
export function nearestLevel(levels: Int8Array, lo: number): (value: number) => number {
  const lookup = new Lookup(levels), offset = lo - levels[0];
  return (value) => lookup.nearest(value, offset);
}

/**
 * Writes the windows and scales of least weighted squared error on the levels of `codebook` into
 * `lo` and `scale`; returns that error of each row.
 */
export function codebookGrids(
  codebook: Int8Array,
  { lows }: LevelWindows,
  { target, importance, groups, rows, d, groupSize, scale, lo }: GridSearch,
): Float64Array {
  const lookup = new Lookup(codebook), perRow = scalesPerRow(d, groupSize);
  const weights = target.view, weighting = importance.view, scales = scale.view, places = lo.view;
  const errors = new Float64Array(groups * rows);
  for (let row = 0; row < groups * rows; row++) {
    const group = Math.floor(row / rows) * d;
    /** The error of a place; its scales are kept. */
    const errorAt = (low: number, count: number) => {
      let error = 0;
      for (let from = 0, b = 0; from < d; from += groupSize, b++) {
        const to = Math.min(d, from + groupSize);
        const fit = lookup.scaleOf(
          weights.subarray(row * d + from, row * d + to),
          weighting.subarray(group + from, group + to),
          low - codebook[0],
          count,
        );
        scales[row * perRow + b] = fit.scale;
        error += fit.error;
      }
      return error;
    };
    let best = lows[0], least = Infinity;
    for (const low of lows.length > 1 ? lows : []) {
      const error = errorAt(low, SCALES / COARSE);
      if (error < least) [best, least] = [low, error];
    }
    places[row] = best;
    errors[row] = errorAt(best, SCALES);
  }
  return errors;
}

/** The nearest of `levels` for every weight, into `q`. */
export function nearestOf(
  levels: Int8Array,
  { target, scale, lo, groupSize, d, q }: Omit<GridSearch, "importance" | "groups" | "rows"> & {
    /** Where levels go: (groups·rows) × d. */
    readonly q: Buffer;
  },
): void {
  const lookup = new Lookup(levels), perRow = scalesPerRow(d, groupSize);
  const weights = target.view, scales = scale.view, lows = lo.view, out = q.view;
  for (let i = 0; i < out.length; i++) {
    const row = Math.floor(i / d), s = scales[row * perRow + Math.floor(i % d / groupSize)];
    out[i] = lookup.nearest(weights[i] / s, lows[row] - levels[0]);
  }
}

/** Attention Round's sequential form on `levels`: the best of a few candidates, polished. */
export function roundToCodebook(kernel: Kernel, levels: Int8Array, args: SequentialRounding): void {
  const { groups, rows, d, lo, taus } = args, all = groups * rows;
  const price = kernel.f32(new Float32Array(all).fill(1));
  const offset = kernel.f32(lo.view.map((low) => low - levels[0]));
  const values = kernel.f32(Float32Array.from(levels));
  const codes = { ...args, widths: 1, values, offset, price, code: kernel.f32(all * d) };
  /** Writes the levels of the codes, and their losses. */
  const evaluate = (result: Result) => {
    const moved = offset.view, { view } = result.q;
    codes.code.view.forEach((code, i) => view[i] = levels[code] + moved[Math.floor(i / d)]);
    kernel.loss({ ...args, ...result });
  };
  const trial = { q: kernel.f32(all * d), loss: kernel.f32(all) };
  const best = new Float32Array(all * d), least = new Float32Array(all).fill(Infinity);
  const count = Math.min(taus.length, MOST_CANDIDATES);
  for (let candidate = 0; candidate < count; candidate++) {
    // As wide as the widest that was asked for, in fewer steps.
    const tau = taus[Math.floor(candidate * taus.length / count)];
    kernel.codesSequential({ ...codes, tau, candidate });
    evaluate(trial);
    const code = codes.code.view, losses = trial.loss.view;
    for (let row = 0; row < all; row++) {
      if (!(losses[row] < least[row])) continue;
      least[row] = losses[row];
      best.set(code.subarray(row * d, (row + 1) * d), row * d);
    }
  }
  codes.code.view.set(best);
  kernel.codesPolish(codes);
  evaluate(args);
}
