/**
 * The float-target shift: the weights that a layer should have, given that its inputs are those of
 * the quantized model.
 *
 *     w′ = (E[y x̂ᵀ] + λ w) (H + λI)⁻¹
 *
 * minimises E[(y − w′x̂)²] + λ‖w′ − w‖²: the layer repairs the error of the layers before it as far
 * as the data supports that, and stays near its own weights elsewhere. How far that is (λ) differs
 * from layer to layer, and with the number of samples; so it is chosen on samples that w′ was not
 * made of.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import type { Work } from "./work.ts";

/** The strengths that are tried: λ relative to the mean of H's diagonal; the last is no shift. */
export const STRENGTHS: readonly number[] = [0.01, 0.05, 0.25, 1.25, Infinity];

/** Second moments of some rows of a layer. */
export interface Moments {
  /** H: groups × depth × depth. */
  readonly gram: Float32Array;
  /** E[y x̂ᵀ]: (groups·rows) × depth. */
  readonly cross: Float32Array;
}

/** Some rows of a layer, seen twice: on samples to learn from, and on others to judge by. */
export interface ShiftProblem {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly depth: number;
  /** w: (groups·rows) × depth. */
  readonly weight: Float32Array;
  /** What w′ is made of. */
  readonly training: Moments;
  /** What it is judged by. */
  readonly validation: Moments;
}

type System = Pick<ShiftProblem, "groups" | "rows" | "depth" | "weight"> & Moments;

/** H + λI in kernel memory, with λ relative to the mean of each group's diagonal; and each λ. */
export function damped(
  kernel: Kernel,
  { groups, depth, gram }: Pick<System, "groups" | "depth" | "gram">,
  strength: number,
): { h: Buffer; lambda: Float64Array } {
  const h = kernel.f32(gram);
  kernel.mirror({ h, groups, d: depth });
  const values = h.view;
  const lambda = Float64Array.from({ length: groups }, (_, g) => {
    const diagonal = (j: number) => (g * depth + j) * depth + j;
    let trace = 0;
    for (let j = 0; j < depth; j++) trace += values[diagonal(j)];
    // A group whose input never varies still needs a positive definite matrix.
    const lambda = Math.max(strength * trace / depth, 1e-12);
    for (let j = 0; j < depth; j++) values[diagonal(j)] += lambda;
    return lambda;
  });
  return { h, lambda };
}

/** The Cholesky factors of each group of `h`, in a new buffer. */
export function factorsOf(kernel: Kernel, h: Buffer, groups: number, n: number): Buffer {
  const u = kernel.f32(h);
  const failed = kernel.cholesky({ h: u, groups, n });
  if (failed < 0) return u;
  throw new AttuneError(
    "bad-data",
    `Cannot factor a layer's Gram matrix (input ${failed}): give more samples or more damping`,
    { remedies: [{ option: "damping" }] },
  );
}

/** w′ of the rows of `system`, in a new buffer; an infinite strength leaves w. */
export function shiftTarget(kernel: Kernel, system: System, strength: number): Buffer {
  const { groups, rows, depth: n, weight, cross } = system;
  const target = kernel.f32(weight);
  if (strength === Infinity) return target;
  const mark = kernel.mark();
  const { h, lambda } = damped(kernel, system, strength);
  const u = factorsOf(kernel, h, groups, n);
  const values = target.view;
  for (let i = 0; i < values.length; i++) {
    values[i] = cross[i] + lambda[Math.floor(i / (rows * n))] * weight[i];
  }
  kernel.solve({ u, b: target, groups, rows, n });
  kernel.reset(mark);
  return target;
}

/**
 * The error of each row on the validation samples, for every strength: rows × strengths. It is
 * E[(y − w′x̂)²] − E[y²], so it is negative for a w′ that is worth anything.
 */
export function* shiftErrors(kernel: Kernel, problem: ShiftProblem): Work<Float64Array> {
  const { groups, rows, depth: d, training, validation } = problem;
  const all = groups * rows;
  const errors = new Float64Array(all * STRENGTHS.length);
  const mark = kernel.mark();
  try {
    const h = kernel.f32(validation.gram);
    kernel.mirror({ h, groups, d });
    const zero = kernel.f32(all * d), scale = kernel.f32(all), loss = kernel.f32(all);
    const lo = kernel.f32(all);
    scale.view.fill(1);
    for (const [s, strength] of STRENGTHS.entries()) {
      const inner = kernel.mark();
      const q = shiftTarget(kernel, { ...problem, ...training }, strength);
      // w′Hw′ᵀ as the loss of "levels" w′ at scale 1 around a target of zero.
      kernel.loss({ q, target: zero, scale, groupSize: d, lo, span: 0, h, rows, groups, d, loss });
      const values = q.view, squares = loss.view;
      for (let row = 0; row < all; row++) {
        let product = 0;
        for (let i = row * d; i < (row + 1) * d; i++) product += values[i] * validation.cross[i];
        errors[row * STRENGTHS.length + s] = squares[row] - 2 * product;
      }
      kernel.reset(inner);
      yield 0;
    }
    return errors;
  } finally {
    kernel.reset(mark);
  }
}

/** The strength of least error, summed over all rows in their order. */
export function bestStrength(errors: readonly Float64Array[]): number {
  const sums = STRENGTHS.map((_, s) =>
    errors.reduce((sum, rows) => {
      for (let i = s; i < rows.length; i += STRENGTHS.length) sum += rows[i];
      return sum;
    }, 0)
  );
  return STRENGTHS[sums.indexOf(Math.min(...sums))];
}
