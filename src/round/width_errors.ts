/**
 * What rounding a layer to each width costs.
 *
 * @module
 */

import { scalesPerRow } from "../kernel/arguments.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { solveTiled } from "./tiled.ts";
import type { Problem } from "./problem.ts";
import { damped, factorsOf } from "./shift.ts";
import { diagonalOf, searchGrids } from "./scales.ts";
import type { Solution } from "./solve.ts";
import type { Work } from "./work.ts";

/** What rounding some rows costs, by width. */
export interface WidthErrors {
  /** Squared output error of the widths, summed over rows. */
  readonly output: Float64Array;
  /** Squared error of the weights themselves. */
  readonly weight: Float64Array;
  /** The output's power w H wᵀ, summed over rows. */
  readonly power: number;
  /** Levels and grids of the width whose rounding was asked for. */
  readonly rounding?: Pick<Solution, "levels" | "scales" | "lows">;
}

/**
 * What rounding some rows costs at several widths: `problems` are alike but for their levels.
 * Weights are rounded to the nearest level, and outputs come of the nearest plane, what the errors
 * of all methods that know H come close to; its levels are kept of problem `keep`. Without a Gram
 * matrix (of length 0) outputs are the weights themselves.
 */
export function widthErrors(
  kernel: Kernel,
  problems: readonly Problem[],
  keep?: number,
): Work<WidthErrors> {
  const [{ gram, gramTile, depth }] = problems;
  return gram.length > 0 && gramTile < depth
    ? blockedErrors(kernel, problems, keep)
    : wholeErrors(kernel, problems, keep);
}

/** Where only diagonal tiles of H are there. */
function* blockedErrors(
  kernel: Kernel,
  problems: readonly Problem[],
  keep?: number,
): Work<WidthErrors> {
  const output = new Float64Array(problems.length), squares = new Float64Array(problems.length);
  let rounding: WidthErrors["rounding"], power = 0;
  for (const [i, problem] of problems.entries()) {
    const solution = yield* solveTiled(kernel, { ...problem, method: { kind: "nearest" } });
    squares[i] = squaredError(problem, solution);
    output[i] = solution.error.final;
    power = solution.power;
    if (i === keep) rounding = solution;
  }
  return { output, weight: squares, power, rounding };
}

/** Where all of H is there, or nothing of it. */
function* wholeErrors(
  kernel: Kernel,
  problems: readonly Problem[],
  keep?: number,
): Work<WidthErrors> {
  const [{ groups, rows, depth: d, groupSize: groupSize, weight }] = problems, all = groups * rows;
  const output = new Float64Array(problems.length), squares = new Float64Array(problems.length);
  let rounding: WidthErrors["rounding"];
  const mark = kernel.mark();
  try {
    const metric = metricOf(kernel, problems[0]), plane = kernel.f32(1);
    const target = kernel.f32(weight), q = kernel.f32(weight.length);
    const { importance } = metric, loss = kernel.f32(all), lo = kernel.f32(all);
    const scale = kernel.f32(all * scalesPerRow(d, groupSize));
    const common = { q, target, scale, lo, groupSize, rows, groups, d, loss };
    for (const [i, problem] of problems.entries()) {
      const grid = { ...common, span: problem.windows.span };
      searchGrids(kernel, problem, { target, importance, scale, lo });
      kernel.nearest(grid);
      const scales = problem.oneScale ? scale.view.slice(0, 1) : scale.view.slice();
      output[i] = squares[i] = squaredError(problem, { levels: q.view, scales });
      if (metric.h) {
        const { h, u } = metric, draws = { spread: importance, taus: plane, seed: 0, stream: 0 };
        kernel.sequential({ ...grid, u, ...draws });
        kernel.loss({ ...grid, h });
        output[i] = sum(loss.view);
      }
      yield 0;
      if (i === keep) {
        rounding = { levels: Int8Array.from(q.view), scales, lows: Int8Array.from(lo.view) };
      }
    }
    // w H wᵀ is the loss of levels of zero.
    q.view.fill(0);
    if (metric.h) kernel.loss({ ...common, span: 0, h: metric.h });
    const power = metric.h
      ? sum(loss.view)
      : weight.reduce((total, value) => total + value * value, 0);
    return { output, weight: squares, power, rounding };
  } finally {
    kernel.reset(mark);
  }
}

/** H, its Cholesky factors, and what a scale search weighs errors with; all alike without H. */
type Metric =
  | { readonly h: Buffer; readonly u: Buffer; readonly importance: Buffer }
  | { readonly h?: undefined; readonly importance: Buffer };

function metricOf(kernel: Kernel, { groups, depth, gram, damping }: Problem): Metric {
  if (gram.length > 0) {
    const { h } = damped(kernel, { groups, depth, gram }, damping);
    const u = factorsOf(kernel, h, groups, depth);
    return { h, u, importance: diagonalOf(kernel, h, depth) };
  }
  const importance = kernel.f32(groups * depth);
  importance.view.fill(1);
  return { importance };
}

/** ‖ŵ − w‖² over all rows. */
function squaredError(
  { weight, depth, groupSize: groupSize }: Problem,
  { levels, scales }: { readonly levels: ArrayLike<number>; readonly scales: Float32Array },
): number {
  const perRow = scalesPerRow(depth, groupSize);
  let total = 0;
  for (let i = 0; i < weight.length; i++) {
    const at = Math.floor(i / depth) * perRow + Math.floor(i % depth / groupSize);
    total += (levels[i] * scales[scales.length === 1 ? 0 : at] - weight[i]) ** 2;
  }
  return total;
}

function sum(values: Float32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
