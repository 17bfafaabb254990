/**
 * What an engine measures of a layer: the spectrum of W H Wᵀ, and what rounding to each width costs.
 *
 * @module
 */

import { blocksOf } from "../kernel/arguments.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { solveBlocked } from "./blocked.ts";
import type { Problem } from "./problem.ts";
import { damped, factorsOf } from "./shift.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import type { Solution } from "./solve.ts";
import type { Work } from "./work.ts";
import { eigenvaluesOf } from "./spectrum.ts";

/** Rows of a matrix whose spectrum is found, at most: evenly spread ones tell the same of a larger one. */
export const MOST_ROWS = 1024;

/** A layer whose spectrum is wanted. A plain value: it is sent to a worker. */
export interface SpectrumProblem {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly depth: number;
  /** W: (groups·rows) × depth. */
  readonly weight: Float32Array;
  /** H: groups × depth × depth, or its diagonal blocks; undefined is the identity. */
  readonly gram?: Float32Array;
  /** Inputs of a block of H; the depth where all of H is there. */
  readonly gramBlock: number;
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
}

/** The eigenvalues of W H Wᵀ: min(rows, depth) of each group, groups one after another. */
export function spectrumOf(kernel: Kernel, problem: SpectrumProblem): Float64Array {
  const { groups, rows, depth } = problem;
  const n = Math.min(rows, depth), eigenvalues = new Float64Array(groups * n);
  const mark = kernel.mark();
  try {
    const square = rootOf(kernel, problem);
    for (let g = 0; g < groups; g++) {
      const inner = kernel.mark();
      const w = kernel.f32(square.view.subarray(g * rows * depth, (g + 1) * rows * depth));
      const { diagonal, offDiagonal } = kernel.tridiagonal({ w, rows, d: depth });
      eigenvalues.set(eigenvaluesOf(diagonal, offDiagonal), g * n);
      kernel.reset(inner);
    }
    return eigenvalues;
  } finally {
    kernel.reset(mark);
  }
}

/** W Uᵀ with H = UᵀU, a root of W H Wᵀ: (groups·rows) × depth. */
function rootOf(kernel: Kernel, problem: SpectrumProblem): ReturnType<Kernel["f32"]> {
  const { groups, rows, depth, weight, gram, gramBlock: size, damping } = problem;
  if (gram === undefined) return kernel.f32(weight);
  const parts = depth / size, result = kernel.f32(weight.length);
  for (let g = 0; g < groups; g++) {
    for (let part = 0; part < parts; part++) {
      const mark = kernel.mark();
      const from = (g * parts + part) * size * size;
      const own = { groups: 1, depth: size, gram: gram.subarray(from, from + size * size) };
      const u = factorsOf(kernel, damped(kernel, own, damping).h, 1, size);
      const block = new Float32Array(rows * size);
      for (let r = 0; r < rows; r++) {
        const start = (g * rows + r) * depth + part * size;
        block.set(weight.subarray(start, start + size), r * size);
      }
      const y = kernel.f32(block), product = kernel.f32(rows * size);
      kernel.cross({ y, x: u, r: product, groups: 1, o: rows, d: size, p: size });
      const values = product.view, all = result.view;
      for (let r = 0; r < rows; r++) {
        const start = (g * rows + r) * depth + part * size;
        all.set(values.subarray(r * size, (r + 1) * size), start);
      }
      kernel.reset(mark);
    }
  }
  return result;
}

/** What rounding some rows costs, by width. */
export interface WidthErrors {
  /** Squared output error of the widths, summed over rows. */
  readonly output: Float64Array;
  /** Squared error of the weights themselves. */
  readonly weight: Float64Array;
  /** The output's power w H wᵀ, summed over rows. */
  readonly power: number;
  /** Levels and grids of the width that was to be kept. */
  readonly kept?: Pick<Solution, "levels" | "scales" | "lows">;
}

/**
 * What rounding some rows costs at several widths: `problems` are alike but for their levels. Weights are
 * rounded to the nearest level, and outputs come of the nearest plane, what the errors of all methods
 * that know H come close to; its levels are kept of problem `keep`. Without a Gram matrix (of length 0)
 * outputs are the weights themselves.
 */
export function* widthErrors(
  kernel: Kernel,
  problems: readonly Problem[],
  keep?: number,
): Work<WidthErrors> {
  const [{ groups, rows, depth: d, blockSize: block, weight, gram, damping, gramBlock }] = problems;
  const output = new Float64Array(problems.length), squares = new Float64Array(problems.length);
  let kept: WidthErrors["kept"];
  if (gram.length > 0 && gramBlock < d) {
    let power = 0;
    for (const [i, problem] of problems.entries()) {
      const solution = yield* solveBlocked(kernel, { ...problem, method: { kind: "nearest" } });
      squares[i] = squaredError(weight, d, block, solution);
      output[i] = solution.error.final;
      power = solution.power;
      if (i === keep) kept = solution;
    }
    return { output, weight: squares, power, kept };
  }
  const mark = kernel.mark();
  try {
    const h = gram.length > 0 ? damped(kernel, { groups, depth: d, gram }, damping).h : undefined;
    const u = h && factorsOf(kernel, h, groups, d), plane = kernel.f32(1);
    const target = kernel.f32(weight), q = kernel.f32(weight.length);
    const importance = h ? diagonalOf(kernel, h, d) : kernel.f32(groups * d);
    if (!h) importance.view.fill(1);
    const loss = kernel.f32(groups * rows), lo = kernel.f32(groups * rows);
    const scale = kernel.f32(groups * rows * blocksOf(d, block));
    const common = { q, target, scale, lo, block, rows, groups, d, loss };
    for (const [i, problem] of problems.entries()) {
      const grid = { ...common, span: problem.windows.span };
      searchGrids(kernel, problem, { target, importance, scale, lo });
      kernel.nearest(grid);
      const scales = problem.oneScale ? scale.view.slice(0, 1) : scale.view.slice();
      output[i] = squares[i] = squaredError(weight, d, block, { levels: q.view, scales });
      if (h && u) {
        kernel.sequential({ ...grid, u, spread: importance, taus: plane, seed: 0, stream: 0 });
        kernel.loss({ ...grid, h });
        output[i] = sum(loss.view);
      }
      yield 0;
      if (i === keep) {
        kept = { levels: Int8Array.from(q.view), scales, lows: Int8Array.from(lo.view) };
      }
    }
    // w H wᵀ is the loss of levels of zero.
    q.view.fill(0);
    if (h) kernel.loss({ ...common, span: 0, h });
    const power = h ? sum(loss.view) : weight.reduce((total, value) => total + value * value, 0);
    return { output, weight: squares, power, kept };
  } finally {
    kernel.reset(mark);
  }
}

/** ‖ŵ − w‖² over all rows. */
function squaredError(
  weight: Float32Array,
  depth: number,
  block: number,
  { levels, scales }: { levels: ArrayLike<number>; scales: Float32Array },
): number {
  const perRow = blocksOf(depth, block);
  let total = 0;
  for (let i = 0; i < weight.length; i++) {
    const at = Math.floor(i / depth) * perRow + Math.floor(i % depth / block);
    total += (levels[i] * scales[scales.length === 1 ? 0 : at] - weight[i]) ** 2;
  }
  return total;
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
