/**
 * Solves a rounding problem with the kernel. Every method ends in the same place: levels and scales
 * whose loss is compared row by row with those of nearest rounding, and never worse.
 *
 * @module
 */

import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { scalesPerRow } from "../kernel/arguments.ts";
import type { LevelWindows } from "../weights/levels.ts";
import type { Problem } from "./problem.ts";
import { type GridSolver, gridSolver } from "./grids.ts";
import { type AnyMethod, methodOf } from "./methods.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import type { Work } from "./work.ts";
import { damped, factorsOf, shiftTarget } from "./shift.ts";

/** A solved problem. */
export interface Solution {
  /** Levels, (groups·rows) × depth. */
  readonly levels: Int8Array;
  /** Scales: one, or (groups·rows) × scales of a row. */
  readonly scales: Float32Array;
  /** Smallest level of each row's window: groups·rows. */
  readonly lows: Int8Array;
  /** Squared output errors, summed over rows. */
  readonly error: {
    /** Of nearest rounding. */ readonly nearest: number; /** Of the result. */
    readonly final: number;
  };
  /** The output's power w′Hw′ᵀ, summed over rows: what errors are relative to. */
  readonly power: number;
  /** Of the narrower widths, where the grid is nested. */
  readonly cuts?: readonly (Pick<Solution, "error" | "power"> & { readonly bits: number })[];
}

/** Levels are found for the scales of least error, then for the best so far times these. */
const STRETCHES = [1, 0.94, 1.06, 0.88, 1.12];

/** Levels, scales and losses of all rows, in kernel memory. */
interface Candidate {
  readonly q: Buffer;
  readonly scale: Buffer;
  /** Smallest level of each row. */
  readonly lo: Buffer;
  readonly loss: Buffer;
}

/** Rounds the rows of `problem`; yields the iterations that were done, 0 where there are none. */
export function* solveLayer(kernel: Kernel, problem: Problem): Work<Solution> {
  const mark = kernel.mark();
  try {
    return yield* new LayerSolver(kernel, problem).solve();
  } finally {
    kernel.reset(mark);
  }
}

class LayerSolver {
  readonly #kernel: Kernel;
  readonly #problem: Problem;
  readonly #method: AnyMethod;
  readonly #grid: GridSolver;
  /** Rows of all groups. */
  readonly #rows: number;
  readonly #perRow: number;
  readonly #weight: Buffer;
  /** H + μI. */
  readonly #h: Buffer;
  /** Its Cholesky factors. */
  readonly #u: Buffer;
  /** w′. */
  readonly #target: Buffer;
  /** The diagonals of H + μI: what a scale search weighs squared errors with. */
  readonly #importance: Buffer;

  constructor(kernel: Kernel, problem: Problem) {
    this.#kernel = kernel;
    this.#problem = problem;
    this.#method = methodOf(problem.method);
    this.#grid = gridSolver(problem.grid);
    const { groups, rows, depth, weight, gram, groupSize, shift, damping } = problem;
    this.#rows = groups * rows;
    this.#perRow = scalesPerRow(depth, groupSize);
    this.#weight = kernel.f32(weight);
    this.#target = shift
      ? shiftTarget(
        kernel,
        { groups, rows, depth, weight, gram, cross: shift.cross },
        shift.strength,
      )
      : this.#weight;
    this.#h = damped(kernel, { groups, depth, gram }, damping).h;
    this.#u = factorsOf(kernel, this.#h, groups, depth);
    this.#importance = diagonalOf(kernel, this.#h, depth);
  }

  *solve(): Work<Solution> {
    const nearest = this.#nearest(this.#weight);
    const best = this.#candidate();
    copy(best, nearest);
    if (this.#method.round) yield* this.#improve(best);
    const { depth } = this.#problem;
    const zero = this.#candidate();
    zero.scale.view.fill(1);
    this.#losses(zero);
    return {
      levels: Int8Array.from(best.q.view.subarray(0, this.#rows * depth)),
      scales: this.#problem.oneScale ? best.scale.view.slice(0, 1) : best.scale.view.slice(),
      lows: Int8Array.from(best.lo.view),
      error: { nearest: sum(nearest.loss.view), final: sum(best.loss.view) },
      power: sum(zero.loss.view),
    };
  }

  /**
   * Finds levels by the method and fits the scales to them; then again from the best scales,
   * stretched a little: which scale suits the levels best is known only once they are found.
   */
  *#improve(best: Candidate): Work<void> {
    const { refit } = this.#problem;
    // Learning again for slightly other scales gains nothing that is worth its time.
    const stretches = !refit || this.#method.learned ? [1] : STRETCHES;
    const current = this.#candidate();
    this.#search(this.#target, current, "suited");
    for (const stretch of stretches) {
      if (stretch !== 1) {
        current.lo.view.set(best.lo.view);
        current.scale.view.set(best.scale.view.map((scale) => scale * stretch));
      }
      yield* this.#round(current);
      yield 0;
      this.#losses(current);
      this.#keepBetter(best, current);
      if (!refit) break;
      this.#refit(current);
      this.#losses(current);
      this.#keepBetter(best, current);
    }
  }

  #candidate(): Candidate {
    const kernel = this.#kernel;
    return {
      q: kernel.f32(this.#rows * this.#problem.depth),
      scale: kernel.f32(this.#rows * this.#perRow),
      lo: kernel.f32(this.#rows),
      loss: kernel.f32(this.#rows),
    };
  }

  /**
   * Nearest levels of `weight`, as others round: from the usual window, with the scales of least
   * weighted squared error.
   */
  #nearest(weight: Buffer): Candidate {
    const { groups, rows, windows: { span }, groupSize: groupSize, depth: d } = this.#problem;
    const candidate = this.#candidate();
    this.#search(weight, candidate, "usual");
    this.#grid.snap(this.#kernel, {
      ...candidate,
      target: weight,
      groupSize,
      span,
      rows,
      groups,
      d,
    });
    this.#losses(candidate);
    return candidate;
  }

  /**
   * Writes the grids of least weighted squared error of `target` into `candidate`; given ones stay.
   */
  #search(target: Buffer, { scale, lo }: Candidate, place: "usual" | "suited"): void {
    const problem = this.#problem, { given } = problem;
    if (given) {
      scale.view.set(given.scales);
      lo.view.set(given.lows);
      return;
    }
    const windows = place === "usual" ? usualOf(problem.windows) : problem.windows;
    const grids = { target, importance: this.#importance, scale, lo };
    searchGrids(this.#kernel, { ...problem, windows }, grids);
  }

  #losses(candidate: Candidate): void {
    const { groups, rows, depth: d, groupSize: groupSize, windows: { span } } = this.#problem;
    const h = this.#h, target = this.#target;
    this.#kernel.loss({ ...candidate, target, groupSize, span, h, rows, groups, d });
  }

  /** Takes over the rows of `other` that are better; all or none where rows share one scale. */
  #keepBetter(best: Candidate, other: Candidate): void {
    if (this.#problem.oneScale) {
      if (sum(other.loss.view) < sum(best.loss.view)) copy(best, other);
      return;
    }
    const { depth } = this.#problem;
    for (let row = 0; row < this.#rows; row++) {
      if (!(other.loss.view[row] < best.loss.view[row])) continue;
      copyRow(best.q, other.q, row, depth);
      copyRow(best.scale, other.scale, row, this.#perRow);
      copyRow(best.lo, other.lo, row, 1);
      copyRow(best.loss, other.loss, row, 1);
    }
  }

  /** Least-squares scales for fixed levels; blocked scales stay as they are. */
  #refit({ q, scale }: Candidate): void {
    const { groups, rows, depth: d, oneScale } = this.#problem;
    if (this.#perRow > 1) return;
    const h = this.#h, target = this.#target;
    this.#kernel.refit({ q, target, h, rows, groups, d, scale, oneScale });
  }

  /** Levels for the scales of `candidate`, by the problem's method. */
  *#round(candidate: Candidate): Work<void> {
    const { groups, rows, depth: d, groupSize: groupSize, method, seed, stream } = this.#problem;
    const { span } = this.#problem.windows, kernel = this.#kernel, mark = kernel.mark();
    const sizes = { groupSize, span, rows, groups, d };
    const context = {
      kernel,
      rows: { ...candidate, ...sizes, target: this.#target, h: this.#h, seed, stream },
      u: this.#u,
      grid: this.#grid,
    };
    yield* this.#method.round!(context, method);
    kernel.reset(mark);
  }
}

/** The usual one of `windows`, which other tools round in. */
function usualOf({ span, lows }: LevelWindows): LevelWindows {
  return { span, lows: lows.slice(0, 1) };
}

function copy(to: Candidate, from: Candidate): void {
  to.q.view.set(from.q.view);
  to.scale.view.set(from.scale.view);
  to.lo.view.set(from.lo.view);
  to.loss.view.set(from.loss.view);
}

function copyRow(to: Buffer, from: Buffer, row: number, width: number): void {
  to.view.set(from.view.subarray(row * width, (row + 1) * width), row * width);
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
