/**
 * Rounding to the nearest level where only the diagonal of H is known: all that a search for scales
 * asks.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { Problem } from "./problem.ts";
import { gridSolver } from "./grids.ts";
import { searchGrids } from "./scales.ts";
import type { Solution } from "./solve.ts";
import type { Work } from "./work.ts";

/**
 * Rounds the rows of `problem`, whose `gram` is the diagonal of H (groups × depth) and whose method
 * is `nearest`. Errors are those of inputs that do not depend on one another.
 */
// deno-lint-ignore require-yield
export function* solveDiagonal(kernel: Kernel, problem: Problem): Work<Solution> {
  const { groups, rows, depth: d, groupSize: groupSize, weight, windows, oneScale } = problem;
  const mark = kernel.mark();
  try {
    const importance = kernel.f32(damped(problem)), target = kernel.f32(weight);
    const scale = kernel.f32(groups * rows * Math.ceil(d / groupSize)),
      lo = kernel.f32(groups * rows);
    const q = kernel.f32(weight.length), { span } = windows;
    searchGrids(kernel, problem, { target, importance, scale, lo });
    gridSolver(problem.grid).snap(kernel, {
      target,
      scale,
      lo,
      groups,
      rows,
      d,
      groupSize,
      q,
      span,
    });
    // Sums over rows, as all that is told of a solution.
    const powers = importance.view, perRow = Math.ceil(d / groupSize);
    let error = 0, power = 0;
    for (let i = 0; i < weight.length; i++) {
      const row = Math.floor(i / d), j = i % d, importance = powers[Math.floor(row / rows) * d + j];
      const level = q.view[i] * scale.view[row * perRow + Math.floor(j / groupSize)];
      error += importance * (level - weight[i]) ** 2;
      power += importance * weight[i] ** 2;
    }
    return {
      levels: Int8Array.from(q.view),
      scales: oneScale ? scale.view.slice(0, 1) : scale.view.slice(),
      lows: Int8Array.from(lo.view),
      error: { nearest: error, final: error },
      power,
    };
  } finally {
    kernel.reset(mark);
  }
}

/** The diagonal of H + λI, with λ relative to the mean of each group. */
function damped({ groups, depth, gram, damping }: Problem): Float32Array {
  const diagonal = gram.slice();
  for (let g = 0; g < groups; g++) {
    const part = diagonal.subarray(g * depth, (g + 1) * depth);
    const mean = part.reduce((sum, value) => sum + value, 0) / depth;
    const lambda = Math.max(damping * mean, 1e-12);
    part.forEach((value, j) => part[j] = value + lambda);
  }
  return diagonal;
}
