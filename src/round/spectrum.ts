/**
 * The spectrum of a layer's W H Wᵀ, by the kernel.
 *
 * @module
 */

import type { Buffer, Kernel } from "../kernel/kernel.ts";
import { eigenvaluesOf } from "./eigenvalues.ts";
import { damped, factorsOf } from "./shift.ts";

/**
 * Rows of a matrix whose spectrum is found, at most: evenly spread ones tell the same of a larger
 * one.
 */
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
  /** H: groups × depth × depth, or its diagonal tiles; undefined is the identity. */
  readonly gram?: Float32Array;
  /** Inputs of a tile of H; the depth where all of H is there. */
  readonly gramTile: number;
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
function rootOf(kernel: Kernel, problem: SpectrumProblem): Buffer {
  const { groups, rows, depth, weight, gram, gramTile: size, damping } = problem;
  if (gram === undefined) return kernel.f32(weight);
  const parts = depth / size, result = kernel.f32(weight.length);
  for (let g = 0; g < groups; g++) {
    for (let part = 0; part < parts; part++) {
      const mark = kernel.mark();
      const from = (g * parts + part) * size * size;
      const diagonal = { groups: 1, depth: size, gram: gram.subarray(from, from + size * size) };
      const u = factorsOf(kernel, damped(kernel, diagonal, damping).h, 1, size);
      const tile = new Float32Array(rows * size);
      for (let r = 0; r < rows; r++) {
        const start = (g * rows + r) * depth + part * size;
        tile.set(weight.subarray(start, start + size), r * size);
      }
      const y = kernel.f32(tile), product = kernel.f32(rows * size);
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
