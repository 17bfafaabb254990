/**
 * Grids with dense levels in the middle and sparse ones in the tails: many weights are small, and a few
 * are large. A codebook is 2^bits whole numbers, so the levels of a file stay integers.
 *
 * The set of shapes is small: a share of the levels at either end is spread out by a factor. Which one a
 * layer gets, or none, is decided by the squared error of its nearest levels, weighted by the diagonal of
 * H, once each has the scales that suit it (`codebookErrors` in scales.ts).
 *
 * @module
 */

import type { Buffer, Kernel, Sizes } from "../kernel/kernel.ts";
import type { Problem } from "./problem.ts";
import type { ScaleSearch } from "./scales.ts";

/** Steps between levels of a tail, in steps of the middle. */
const TAIL_STEPS = [2, 3, 4];
/** Levels in a tail: this share of all. */
const TAIL_SHARES = [1 / 16, 1 / 8, 1 / 4];
/** Scales that are tried per row and shape, down from the one that clips nothing. */
const SCALES = 40, SHRINK_FROM = 0.2;
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

/** What a rounding problem is told of `codebook`: its levels, which all rows have. */
export function codebookProblem(codebook: Int8Array): Pick<Problem, "codebook" | "windows"> {
  const [lo] = codebook;
  return { codebook, windows: { span: codebook[codebook.length - 1] - lo, lows: [lo] } };
}

/** Looks up the level nearest to a number; between two, one of them. */
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

  /** The level nearest to `value`. */
  nearest(value: number): number {
    if (!(value > this.#lo)) return this.#lo;
    return value >= this.#hi ? this.#hi : this.#nearest[Math.floor(2 * (value - this.#lo))];
  }

  /** The smallest scale with which none of `weights` is clipped. */
  fullScale(weights: Float32Array): number {
    let full = 0;
    for (const w of weights) full = Math.max(full, w < 0 ? w / this.#lo : w / this.#hi);
    return full;
  }

  /** Σ h (s·q − w)² with the nearest levels. */
  error(weights: Float32Array, importance: Float32Array, scale: number): number {
    let error = 0;
    for (let j = 0; j < weights.length; j++) {
      error += importance[j] * (scale * this.nearest(weights[j] / scale) - weights[j]) ** 2;
    }
    return error;
  }

  /** The scale of least error, and that error; a scale of 1 where all weights are 0. */
  scaleOf(weights: Float32Array, importance: Float32Array): { scale: number; error: number } {
    const full = this.fullScale(weights);
    let best = { scale: 1, error: 0 };
    if (!(full > 1e-30)) return best;
    best = { scale: full, error: Infinity };
    for (let i = 1; i <= SCALES; i++) {
      const scale = Math.fround(full * (SHRINK_FROM + (1 - SHRINK_FROM) * i / SCALES));
      const error = this.error(weights, importance, scale);
      if (error <= best.error) best = { scale, error };
    }
    return best;
  }
}

/** What gives the one of `levels` that is nearest to a number. */
export function nearestLevel(levels: Int8Array): (value: number) => number {
  const lookup = new Lookup(levels);
  return (value) => lookup.nearest(value);
}

/** Visits the weights that share a scale, in the order of scales. */
function forEachScale(
  { target, importance, groups, rows, d, block }: Omit<ScaleSearch, "scale">,
  visit: (weights: Float32Array, importance: Float32Array, index: number) => void,
): void {
  const weights = target.view, weighting = importance.view;
  for (let row = 0, index = 0; row < groups * rows; row++) {
    const group = Math.floor(row / rows) * d;
    for (let from = 0; from < d; from += block, index++) {
      const to = Math.min(d, from + block);
      visit(
        weights.subarray(row * d + from, row * d + to),
        weighting.subarray(group + from, group + to),
        index,
      );
    }
  }
}

/** Writes the scales of least weighted squared error on `levels` into `scale`. */
export function codebookScales(levels: Int8Array, args: ScaleSearch): void {
  const lookup = new Lookup(levels), scales = args.scale.view;
  forEachScale(args, (weights, importance, index) => {
    scales[index] = lookup.scaleOf(weights, importance).scale;
  });
}

/** What {@linkcode codebookScales} leaves: the weighted squared error of all weights on `levels`. */
export function codebookError(levels: Int8Array, args: Omit<ScaleSearch, "scale">): number {
  const lookup = new Lookup(levels);
  let sum = 0;
  forEachScale(args, (weights, importance) => sum += lookup.scaleOf(weights, importance).error);
  return sum;
}

/** The nearest of `levels` for every weight, into `q`. */
export function nearestOf(
  levels: Int8Array,
  { target, scale, block, d, q }: Omit<ScaleSearch, "importance" | "groups" | "rows"> & {
    /** Where levels go: (groups·rows) × d. */
    readonly q: Buffer;
  },
): void {
  const lookup = new Lookup(levels), blocks = Math.ceil(d / block);
  const weights = target.view, scales = scale.view, out = q.view;
  for (let i = 0; i < out.length; i++) {
    const s = scales[Math.floor(i / d) * blocks + Math.floor(i % d / block)];
    out[i] = lookup.nearest(weights[i] / s);
  }
}

/** How a row is rounded to a codebook. */
export interface CodebookRounding extends Sizes {
  readonly target: Buffer;
  readonly scale: Buffer;
  readonly block: number;
  readonly h: Buffer;
  readonly u: Buffer;
  /** Relative spread of draws: groups × d. */
  readonly spread: Buffer;
  /** Spread per candidate; the first is 0. */
  readonly taus: Float32Array;
  readonly seed: number;
  readonly stream: number;
  readonly sweeps: number;
  /** Where levels and losses go. */
  readonly q: Buffer;
  readonly loss: Buffer;
}

/** Attention Round's sequential form on `levels`: the best of a few candidates, polished. */
export function roundToCodebook(kernel: Kernel, levels: Int8Array, args: CodebookRounding): void {
  const { groups, rows, d, q, loss, taus } = args, all = groups * rows;
  const price = kernel.f32(all);
  price.view.fill(1);
  const codes = {
    ...args,
    readings: 1,
    values: kernel.f32(Float32Array.from(levels)),
    price,
    code: kernel.f32(all * d),
  };
  const trial = {
    ...args,
    lo: price,
    span: 0,
    q: kernel.f32(all * d),
    loss: kernel.f32(all),
  };
  const best = { code: new Float32Array(all * d), loss: new Float32Array(all).fill(Infinity) };
  const count = Math.min(taus.length, MOST_CANDIDATES);
  for (let candidate = 0; candidate < count; candidate++) {
    // As wide as the widest that was asked for, in fewer steps.
    const tau = taus[Math.floor(candidate * taus.length / count)];
    kernel.codesSequential({ ...codes, tau, candidate });
    const found = codes.code.view;
    trial.q.view.set(found.map((code) => levels[code]));
    kernel.loss(trial);
    const losses = trial.loss.view;
    for (let row = 0; row < all; row++) {
      if (!(losses[row] < best.loss[row])) continue;
      best.loss[row] = losses[row];
      best.code.set(found.subarray(row * d, (row + 1) * d), row * d);
    }
  }
  codes.code.view.set(best.code);
  kernel.codesPolish(codes);
  q.view.set(codes.code.view.map((code) => levels[code]));
  kernel.loss({ ...trial, q, loss });
}
