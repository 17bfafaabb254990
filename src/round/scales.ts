/**
 * Scales by a search of least squared error, weighted by the diagonal of H.
 *
 * @module
 */

import type { Buffer, Kernel, Sizes } from "../kernel/kernel.ts";
import { codebookError, codebookScales } from "./codebook.ts";
import type { Problem } from "./problem.ts";
import { damped } from "./shift.ts";
import { ternaryScales } from "./ternary.ts";

/** Shrink factors that are tried, from the smallest to 1. */
const CANDIDATES = 81, SHRINK_FROM = 0.2;

/** Weights, and the scales that some of them share. */
export interface ScaleSearch extends Sizes {
  /** Weights: (groups·rows) × d. */
  readonly target: Buffer;
  /** What their squared errors are weighted by: groups × d. */
  readonly importance: Buffer;
  /** Weights that share a scale along a row. */
  readonly block: number;
  /** Where the scales go: (groups·rows) × ⌈d / block⌉. */
  readonly scale: Buffer;
}

/**
 * Writes the scales of least squared error of `target`, weighted by `importance` (groups × depth),
 * into `scale`, (groups·rows) × blocks; all the same where the rows share one.
 */
export function searchScales(
  kernel: Kernel,
  { groups, rows, depth, lo, hi, blockSize, oneScale, codebook }: Pick<
    Problem,
    "groups" | "rows" | "depth" | "lo" | "hi" | "blockSize" | "oneScale" | "codebook"
  >,
  buffers: { target: Buffer; importance: Buffer; scale: Buffer },
): void {
  const own = { ...buffers, groups, rows, d: depth, block: blockSize };
  const search = oneScale ? { ...buffers, ...asOneRow(kernel, own) } : own;
  if (codebook) codebookScales(codebook, search);
  else if (lo === -1 && hi === 1) ternaryScales(search);
  else kernel.scaleSearch({ ...search, lo, hi, candidates: CANDIDATES, shrinkFrom: SHRINK_FROM });
  if (oneScale) buffers.scale.view.fill(buffers.scale.view[0]);
}

/**
 * The squared error of a problem's weights on each of `codebooks`, weighted by the diagonal of H, with
 * the scales that suit it.
 */
export function codebookErrors(
  kernel: Kernel,
  problem: Problem,
  codebooks: readonly Int8Array[],
): Float64Array {
  const { groups, rows, depth, gramBlock, gram, damping, weight, blockSize, oneScale } = problem;
  const mark = kernel.mark();
  try {
    const parts = { groups: groups * depth / gramBlock, depth: gramBlock, gram };
    const importance = diagonalOf(kernel, damped(kernel, parts, damping).h, gramBlock);
    const target = kernel.f32(weight);
    const own = { target, importance, groups, rows, d: depth, block: blockSize };
    const search = oneScale ? { target, ...asOneRow(kernel, own) } : own;
    return Float64Array.from(codebooks, (levels) => codebookError(levels, search));
  } finally {
    kernel.reset(mark);
  }
}

/** The sizes and importance of one row that holds all weights, each with its importance. */
export function asOneRow(
  kernel: Kernel,
  { importance, groups, rows, d }: Pick<ScaleSearch, "importance" | "groups" | "rows" | "d">,
): Pick<ScaleSearch, "importance" | "groups" | "rows" | "d" | "block"> {
  const all = groups * rows * d, spread = kernel.f32(all);
  for (let r = 0; r < groups * rows; r++) {
    const from = Math.floor(r / rows) * d;
    spread.view.set(importance.view.subarray(from, from + d), r * d);
  }
  return { importance: spread, groups: 1, rows: 1, d: all, block: all };
}

/** The diagonals of the d × d matrices in `h`, in a new buffer. */
export function diagonalOf(kernel: Kernel, h: Buffer, d: number): Buffer {
  const diagonal = kernel.f32(h.length / d);
  const values = h.view, out = diagonal.view;
  for (let i = 0; i < out.length; i++) out[i] = values[i * d + i % d];
  return diagonal;
}
