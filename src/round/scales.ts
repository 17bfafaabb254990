/**
 * Windows of levels and scales by a search of least squared error, weighted by the diagonal of H.
 *
 * @module
 */

import { scalesPerRow } from "../kernel/arguments.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { codebookGrids, codebookProblem } from "./codebook.ts";
import { gridSolver } from "./grids.ts";
import type { Problem } from "./problem.ts";
import type { GridSearch, ScaleSearch } from "./search.ts";
import { damped } from "./shift.ts";

/**
 * Writes the windows and scales of least squared error of `target`, weighted by `importance`
 * (groups × depth), into `lo` (groups·rows) and `scale` (groups·rows) × blocks; all the same where
 * the rows share one scale.
 */
export function searchGrids(
  kernel: Kernel,
  problem: Pick<
    Problem,
    "groups" | "rows" | "depth" | "windows" | "grid" | "groupSize" | "oneScale"
  >,
  buffers: Pick<GridSearch, "target" | "importance" | "scale" | "lo">,
): void {
  const { groups, rows, depth, windows, grid, groupSize, oneScale } = problem;
  const whole = { ...buffers, groups, rows, d: depth, groupSize: groupSize };
  const { scale, lo } = buffers;
  lo.view.fill(windows.lows[0]);
  gridSolver(grid).search(
    kernel,
    windows,
    oneScale ? { ...whole, ...asOneRow(kernel, whole) } : whole,
  );
  if (!oneScale) return;
  scale.view.fill(scale.view[0]);
  lo.view.fill(lo.view[0]);
}

/**
 * The squared errors of a problem's rows, weighted by the diagonal of H: on the windows of the
 * problem, and on each of `codebooks`, with the scales that suit them. Where all rows share a
 * scale, they count as one.
 */
export function codebookErrors(
  kernel: Kernel,
  problem: Problem,
  codebooks: readonly Int8Array[],
): Float64Array[] {
  const { groups, rows, depth, gramTile, gram, damping, weight, groupSize, oneScale } = problem;
  const mark = kernel.mark();
  try {
    const parts = { groups: groups * depth / gramTile, depth: gramTile, gram };
    const importance = diagonalOf(kernel, damped(kernel, parts, damping).h, gramTile);
    const target = kernel.f32(weight),
      scale = kernel.f32(groups * rows * scalesPerRow(depth, groupSize));
    const lo = kernel.f32(groups * rows);
    const whole = { target, importance, scale, lo, groups, rows, d: depth, groupSize: groupSize };
    searchGrids(kernel, problem, whole);
    const symmetric = problem.windows.lows.length === 1;
    const uniform = windowErrors(whole, problem.windows.span);
    const search = oneScale ? { ...whole, ...asOneRow(kernel, whole) } : whole;
    return [
      uniform,
      ...codebooks.map((codebook) =>
        codebookGrids(codebook, codebookProblem(codebook, symmetric).windows, search)
      ),
    ];
  } finally {
    kernel.reset(mark);
  }
}

/** Σ h (s·q − w)² of each row with the nearest of the levels lo … lo + span. */
export function windowErrors(search: GridSearch, span: number): Float64Array {
  const { target, importance, scale, lo, rows, d, groupSize } = search;
  const weights = target.view, weighting = importance.view, scales = scale.view, lows = lo.view;
  const perRow = scalesPerRow(d, groupSize);
  const errors = new Float64Array(lows.length);
  for (let i = 0; i < weights.length; i++) {
    const row = Math.floor(i / d), j = i % d, s = scales[row * perRow + Math.floor(j / groupSize)];
    const level = Math.max(lows[row], Math.min(lows[row] + span, Math.round(weights[i] / s)));
    errors[row] += weighting[Math.floor(row / rows) * d + j] * (s * level - weights[i]) ** 2;
  }
  return errors;
}

/** The sizes and importance of one row that holds all weights, each with its importance. */
export function asOneRow(
  kernel: Kernel,
  { importance, groups, rows, d }: Pick<ScaleSearch, "importance" | "groups" | "rows" | "d">,
): Pick<ScaleSearch, "importance" | "groups" | "rows" | "d" | "groupSize"> {
  const all = groups * rows * d, spread = kernel.f32(all);
  for (let r = 0; r < groups * rows; r++) {
    const from = Math.floor(r / rows) * d;
    spread.view.set(importance.view.subarray(from, from + d), r * d);
  }
  return { importance: spread, groups: 1, rows: 1, d: all, groupSize: all };
}

/** The diagonals of the d × d matrices in `h`, in a new buffer. */
export function diagonalOf(kernel: Kernel, h: Buffer, d: number): Buffer {
  const diagonal = kernel.f32(h.length / d);
  const values = h.view, out = diagonal.view;
  for (let i = 0; i < out.length; i++) out[i] = values[i * d + i % d];
  return diagonal;
}
