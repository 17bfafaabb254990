/**
 * Solves a rounding problem with the kernel. Every method ends in the same place: levels and scales
 * whose loss is compared row by row with those of nearest rounding, and never worse.
 *
 * @module
 */

import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { blocksOf, GRADIENT_STATE } from "../kernel/arguments.ts";
import type { LevelWindows } from "../weights/levels.ts";
import type { Problem } from "./problem.ts";
import { nearestOf, roundToCodebook } from "./codebook.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import type { Work } from "./work.ts";
import { damped, factorsOf, shiftTarget } from "./shift.ts";

/** A solved problem. */
export interface Solution {
  /** Levels, (groups·rows) × depth. */
  readonly levels: Int8Array;
  /** Scales: one, or (groups·rows) × blocks. */
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

/** Sweeps of coordinate descent; it stops sooner where nothing moves. */
const POLISH_SWEEPS = 20;
/** Levels are found for the scales of least error, then for the best so far times these. */
const STRETCHES = [1, 0.94, 1.06, 0.88, 1.12];
/** Spread of the widest candidate, in steps of the grid, where an error costs least. */
const DEFAULT_TAU = 0.8;
/** Gradient steps of the learned methods. */
const DEFAULT_STEPS = 1000;
/** Gradient steps between two progress messages. */
const STEPS_AT_ONCE = 50;

/** Levels, scales and losses of all rows, in kernel memory. */
interface Candidate {
  readonly q: Buffer;
  readonly scale: Buffer;
  /** Smallest level of each row. */
  readonly lo: Buffer;
  readonly loss: Buffer;
}

/** Rounds the rows of `problem`; yields the gradient steps that were taken, 0 where there are none. */
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
  /** Rows of all groups. */
  readonly #rows: number;
  readonly #blocks: number;
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
    const { groups, rows, depth, weight, gram, blockSize, shift, damping } = problem;
    this.#rows = groups * rows;
    this.#blocks = blocksOf(depth, blockSize);
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
    if (this.#problem.method.kind !== "nearest") yield* this.#improve(best);
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
   * Finds levels by the method and fits the scales to them; then again from the best scales, stretched a
   * little: which scale suits the levels best is known only once they are found.
   */
  *#improve(best: Candidate): Work<void> {
    const { method, refit } = this.#problem;
    const learned = method.kind === "adaround" || method.kind === "attention:gradient";
    // Learning again for slightly other scales gains nothing that is worth its time.
    const stretches = !refit || learned ? [1] : STRETCHES;
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
      scale: kernel.f32(this.#rows * this.#blocks),
      lo: kernel.f32(this.#rows),
      loss: kernel.f32(this.#rows),
    };
  }

  /**
   * Nearest levels of `weight`, as others round: from the usual window, with the scales of least
   * weighted squared error.
   */
  #nearest(weight: Buffer): Candidate {
    const { groups, rows, windows: { span }, blockSize: block, depth: d } = this.#problem;
    const candidate = this.#candidate();
    this.#search(weight, candidate, "usual");
    this.#snap({ ...candidate, target: weight, block, span, rows, groups, d });
    this.#losses(candidate);
    return candidate;
  }

  /** The nearest level of every weight. */
  #snap(args: Parameters<Kernel["nearest"]>[0]): void {
    const { codebook } = this.#problem;
    if (codebook) nearestOf(codebook, args);
    else this.#kernel.nearest(args);
  }

  /** Writes the grids of least weighted squared error of `target` into `candidate`; given ones stay. */
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
    const { groups, rows, depth: d, blockSize: block, windows: { span } } = this.#problem;
    const h = this.#h, target = this.#target;
    this.#kernel.loss({ ...candidate, target, block, span, h, rows, groups, d });
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
      copyRow(best.scale, other.scale, row, this.#blocks);
      copyRow(best.lo, other.lo, row, 1);
      copyRow(best.loss, other.loss, row, 1);
    }
  }

  /** Least-squares scales for fixed levels; blocked scales stay as they are. */
  #refit({ q, scale }: Candidate): void {
    const { groups, rows, depth: d, oneScale } = this.#problem;
    if (this.#blocks > 1) return;
    const h = this.#h, target = this.#target;
    this.#kernel.refit({ q, target, h, rows, groups, d, scale, oneScale });
  }

  /** Levels for the scales of `candidate`, by the problem's method. */
  *#round(candidate: Candidate): Work<void> {
    const { groups, rows, depth: d, blockSize: block, method, seed, stream } = this.#problem;
    const { span } = this.#problem.windows;
    const kernel = this.#kernel;
    const mark = kernel.mark();
    const h = this.#h, target = this.#target;
    const common = { ...candidate, target, block, span, h, rows, groups, d, seed, stream };
    if (method.kind === "nearest") this.#snap(common);
    else if (method.kind === "stochastic") kernel.stochastic(common);
    else if (method.kind === "attention") {
      const count = method.candidates ?? 16, tau = method.tau ?? DEFAULT_TAU;
      // Candidate 0 is the nearest plane; the others draw wider and wider.
      const taus = Float32Array.from({ length: count }, (_, k) => tau * k / count);
      const draws = { ...common, u: this.#u, spread: this.#spread(), sweeps: POLISH_SWEEPS };
      const { codebook } = this.#problem;
      if (codebook) roundToCodebook(kernel, codebook, { ...draws, taus });
      else {
        kernel.sequential({ ...draws, taus: kernel.f32(taus) });
        kernel.polish(draws);
      }
    } else {
      // The best levels seen are kept in place, so there must be some to start from.
      kernel.nearest(common);
      kernel.loss(common);
      const state = kernel.f32(GRADIENT_STATE * this.#rows * d);
      const totalSteps = method.steps ?? DEFAULT_STEPS;
      for (let startStep = 0; startStep < totalSteps; startStep += STEPS_AT_ONCE) {
        const steps = Math.min(STEPS_AT_ONCE, totalSteps - startStep);
        const run = { ...common, state, steps, startStep };
        if (method.kind === "adaround") {
          const learningRate = 0.02, regularisation = 0.01;
          kernel.adaroundLoop({ ...run, learningRate, totalSteps, regularisation });
        } else {
          const tau = method.tau ?? 0.5, learningRate = 0.01;
          kernel.attentionLoop({ ...run, learningRate, tau });
        }
        yield steps;
      }
    }
    kernel.reset(mark);
  }

  /** How far draws spread per input: sharper where an error costs more, U_jj² being its price. */
  #spread(): Buffer {
    const { groups, depth } = this.#problem;
    const spread = this.#kernel.f32(groups * depth);
    const u = this.#u.view, out = spread.view;
    for (let g = 0; g < groups; g++) {
      let least = Infinity;
      for (let j = 0; j < depth; j++) least = Math.min(least, u[(g * depth + j) * depth + j]);
      for (let j = 0; j < depth; j++) {
        out[g * depth + j] = least / u[(g * depth + j) * depth + j];
      }
    }
    return spread;
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
