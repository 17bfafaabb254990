/**
 * Rounding to nested grids: one level per weight, whose high bits are the level of each narrower
 * width.
 *
 * Every width b has its own inputs, hence its own H_b and wanted weights w′_b, and one level is
 * chosen for all by least Σ_b L_b / √L*_b, L*_b being the loss of a row that is rounded for b
 * alone. That lies between Σ L_b, in which the widest width counts for nothing and ends far from
 * float, and Σ L_b / L*_b, in which narrow ones pay with three times their loss for what the widest
 * has no use for. (ResNet20, output error in percent at 8, 6, 4, 3 bits: 0.026, 0.038, 0.29, 1.22
 * with the fourth root; 0.012, 0.028, 0.30, 1.37 with the root; 0.003, 0.033, 0.63, 3.45 without;
 * each alone 0.001, 0.017, 0.23, 1.03.)
 *
 * Scales are tied: that of width b is 2^(widest − b) times the widest one's. What suits one width
 * clips or wastes levels of another, so a few scales between the extremes are tried.
 *
 * @module
 */

import { scalesPerRow } from "../kernel/arguments.ts";
import type { Codes } from "../kernel/codebooks.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { cutLevel } from "../weights/grid.ts";
import { levelWindows } from "../weights/levels.ts";
import type { Problem } from "./problem.ts";
import { damped, factorsOf, shiftTarget } from "./shift.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import type { Solution } from "./solve.ts";
import type { Work } from "./work.ts";

/** Scales that are tried, from the one that suits the narrowest width to that of the widest. */
const SCALES = 5;
/** Sweeps of coordinate descent. */
const SWEEPS = 10;

/** Levels for the scales of all widths, and what they lose. */
interface Rounded {
  /** Codes: level − lo, (groups·rows) × depth. */
  readonly code: Float32Array;
  /** By width: (groups·rows) × scales of a row. */
  readonly scales: readonly Float32Array[];
  /** By width, per row. */
  readonly losses: readonly Float32Array[];
}

/** A width rounded for itself alone. */
interface Alone {
  /** (groups·rows) × scales of a row. */
  readonly scale: Float32Array;
  /** Of its levels, per row; of nearest rounding; and of levels of zero. */
  readonly loss: Float32Array;
  readonly nearest: Float32Array;
  readonly power: Float32Array;
}

/** Rounds the rows of `problem`, which has `cuts`. */
export function* solveNested(kernel: Kernel, problem: Problem): Work<Solution> {
  const mark = kernel.mark();
  try {
    return yield* new NestedSolver(kernel, problem).solve();
  } finally {
    kernel.reset(mark);
  }
}

class NestedSolver {
  readonly #kernel: Kernel;
  readonly #problem: Problem;
  /** Bits of the widths, the layer's own first. */
  readonly #widths: readonly number[];
  /** Rows of all groups. */
  readonly #rows: number;
  /** Of all widths, one after another: w′, H + μI, and its factors. */
  readonly #target: Buffer;
  readonly #h: Buffer;
  readonly #u: Buffer;

  constructor(kernel: Kernel, problem: Problem) {
    this.#kernel = kernel;
    this.#problem = problem;
    const { groups, rows, depth, windows, weight, damping, cuts = [] } = problem;
    const views = [{ ...problem, bits: Math.log2(windows.span + 1) }, ...cuts];
    this.#widths = views.map(({ bits }) => bits);
    this.#rows = groups * rows;
    const count = views.length, size = this.#rows * depth, square = groups * depth * depth;
    this.#target = kernel.f32(count * size);
    this.#h = kernel.f32(count * square);
    this.#u = kernel.f32(count * square);
    views.forEach(({ gram, shift }, v) => {
      const mark = kernel.mark();
      const system = { groups, rows, depth, weight, gram };
      const target = shift
        ? shiftTarget(kernel, { ...system, cross: shift.cross }, shift.strength)
        : kernel.f32(weight);
      const { h } = damped(kernel, system, damping), u = factorsOf(kernel, h, groups, depth);
      this.#target.view.set(target.view, v * size);
      this.#h.view.set(h.view, v * square);
      this.#u.view.set(u.view, v * square);
      kernel.reset(mark);
    });
  }

  /** The smallest level of the widest width. */
  get #lo(): number {
    return this.#problem.windows.lows[0];
  }

  *solve(): Work<Solution> {
    const alone: Alone[] = [];
    for (const v of this.#widths.keys()) {
      alone.push(this.#alone(v));
      yield 0;
    }
    const price = alone.map(({ loss }) =>
      loss.map((value) => 1 / Math.sqrt(Math.max(value, 1e-30)))
    );
    const scales = alone.map(({ scale }, v) =>
      scale.map((value) => value / 2 ** (this.#widths[0] - this.#widths[v]))
    );
    let best = this.#round(scales, price, 0);
    for (let i = 1; i < SCALES; i++) {
      yield 0;
      this.#keepBetter(best, this.#round(scales, price, i / (SCALES - 1)), price);
    }
    best = this.#polish(best, price);
    const { oneScale } = this.#problem, lo = this.#lo, [scale] = best.scales;
    const [{ error, power }, ...cuts] = this.#widths.map((bits, v) => ({
      bits,
      error: { nearest: sum(alone[v].nearest), final: sum(best.losses[v]) },
      power: sum(alone[v].power),
    }));
    return {
      levels: Int8Array.from(best.code, (code) => code + lo),
      scales: oneScale ? scale.slice(0, 1) : scale,
      lows: new Int8Array(this.#rows).fill(lo),
      error,
      power,
      cuts,
    };
  }

  /**
   * Width v rounded for itself: its scales, and its losses beside those of nearest and of nothing.
   */
  #alone(v: number): Alone {
    const kernel = this.#kernel, mark = kernel.mark();
    const { groups, rows, depth: d, groupSize: groupSize, seed, stream } = this.#problem;
    const windows = levelWindows(this.#widths[v], true), { span } = windows;
    const [target, h, u] = [this.#target, this.#h, this.#u].map((all) => this.#part(all, v));
    const q = kernel.f32(this.#rows * d), loss = kernel.f32(this.#rows);
    const scale = kernel.f32(this.#rows * scalesPerRow(d, groupSize)), lo = kernel.f32(this.#rows);
    const importance = diagonalOf(kernel, h, d);
    searchGrids(kernel, { ...this.#problem, windows }, { target, importance, scale, lo });
    const args = {
      target,
      scale,
      groupSize,
      lo,
      span,
      h,
      u,
      q,
      loss,
      groups,
      rows,
      d,
      seed,
      stream,
    };
    kernel.loss(args);
    const power = loss.view.slice();
    kernel.nearest(args);
    kernel.loss(args);
    const nearest = loss.view.slice();
    kernel.sequential({ ...args, spread: importance, taus: kernel.f32(1) });
    kernel.polish({ ...args, sweeps: SWEEPS });
    const result = { scale: scale.view.slice(), loss: loss.view.slice(), nearest, power };
    kernel.reset(mark);
    return result;
  }

  /**
   * Levels for scales between those that suit the widths (in steps of the widest): `share` from the
   * least.
   */
  #round(suited: readonly Float32Array[], price: readonly Float32Array[], share: number): Rounded {
    const tied = suited[0].map((_, i) => {
      const values = suited.map((scale) => scale[i]);
      const least = Math.min(...values);
      return least + share * (Math.max(...values) - least);
    });
    const scales = this.#widths.map((bits) => tied.map((s) => s * 2 ** (this.#widths[0] - bits)));
    const { groups, depth: d, seed, stream } = this.#problem;
    return this.#find({ scales, price }, (codes) => {
      const spread = this.#kernel.f32(codes.widths * groups * d);
      const draws = { spread, tau: 0, candidate: 0, seed, stream };
      this.#kernel.codesSequential({ ...codes, ...draws, u: this.#u });
    });
  }

  /** `rounded` after coordinate descent. */
  #polish({ code, scales }: Rounded, price: readonly Float32Array[]): Rounded {
    return this.#find({ scales, price, code }, (codes) => {
      this.#kernel.codesPolish({ ...codes, h: this.#h, sweeps: SWEEPS });
    });
  }

  /** What `find` makes of the codes at these scales. */
  #find(
    { scales, price, code: start }: {
      readonly scales: readonly Float32Array[];
      readonly price: readonly Float32Array[];
      /** Codes to start from. */
      readonly code?: Float32Array;
    },
    find: (codes: Codes) => void,
  ): Rounded {
    const kernel = this.#kernel, mark = kernel.mark();
    const { groups, rows, depth: d, groupSize: groupSize, windows: { span } } = this.#problem;
    const [widest] = this.#widths, lo = this.#lo;
    const books = this.#widths.map((bits) =>
      Float32Array.from({ length: span + 1 }, (_, code) => cutLevel(code + lo, widest, bits))
    );
    const codes: Codes = {
      groups,
      rows,
      d,
      groupSize,
      widths: this.#widths.length,
      values: kernel.f32(joined(books)),
      price: kernel.f32(joined(price)),
      offset: kernel.f32(this.#rows),
      scale: kernel.f32(joined(scales)),
      code: kernel.f32(start ?? this.#rows * d),
      target: this.#target,
    };
    find(codes);
    const code = codes.code.view.slice();
    const losses = this.#widths.map((_, v) => {
      const inner = kernel.mark();
      const [target, h] = [this.#target, this.#h].map((all) => this.#part(all, v));
      const q = kernel.f32(code.map((c) => books[v][c])), scale = kernel.f32(scales[v]);
      const loss = kernel.f32(this.#rows), lo = kernel.f32(this.#rows);
      kernel.loss({ q, loss, target, scale, groupSize, lo, span, h, groups, rows, d });
      const result = loss.view.slice();
      kernel.reset(inner);
      return result;
    });
    kernel.reset(mark);
    return { code, scales, losses };
  }

  /**
   * Takes over the rows of `other` that are better for all widths together; all or none with one
   * scale.
   */
  #keepBetter(best: Rounded, other: Rounded, price: readonly Float32Array[]): void {
    const { oneScale } = this.#problem;
    const total = ({ losses }: Rounded, row: number) =>
      losses.reduce((sum, loss, v) => sum + price[v][row] * loss[row], 0);
    const rows = Array.from({ length: this.#rows }, (_, row) => row);
    const all = (rounded: Rounded) => rows.reduce((sum, row) => sum + total(rounded, row), 0);
    const better = oneScale
      ? all(other) < all(best) ? rows : []
      : rows.filter((row) => total(other, row) < total(best, row));
    const take = (into: Float32Array, from: Float32Array) => {
      const width = into.length / this.#rows;
      for (const row of better) {
        into.set(from.subarray(row * width, (row + 1) * width), row * width);
      }
    };
    take(best.code, other.code);
    this.#widths.forEach((_, v) => {
      take(best.scales[v], other.scales[v]);
      take(best.losses[v], other.losses[v]);
    });
  }

  /** Width v's part of an array of all widths, in a new buffer. */
  #part(all: Buffer, v: number): Buffer {
    const size = all.length / this.#widths.length;
    return this.#kernel.f32(all.view.slice(v * size, (v + 1) * size));
  }
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function sum(values: Float32Array): number {
  return values.reduce((a, b) => a + b, 0);
}
