/**
 * What methods that learn levels by gradients on the Gram matrix share: they start from the nearest
 * levels, keep the best ones seen, and tell now and then how far they are.
 *
 * @module
 */

import { GRADIENT_STATE, type GradientSteps } from "../../kernel/arguments.ts";
import type { MethodOption, RoundingContext } from "../method.ts";
import type { Work } from "../work.ts";

/** How long a method learns. */
export const ITERATIONS: MethodOption = {
  doc: "gradient steps of learned rounding",
  default: 1000,
  check: "count",
  flag: true,
};

/** Iterations between two progress messages. */
const AT_ONCE = 50;

/** Calls `advance` for some of `iterations` at a time, until all are done. */
export function* learn(
  { kernel, rows }: RoundingContext,
  iterations: number,
  advance: (run: Omit<GradientSteps, "learningRate"> & RoundingContext["rows"]) => void,
): Work<void> {
  // The best levels seen stay in place, so there must be some to start from.
  kernel.nearest(rows);
  kernel.loss(rows);
  const state = kernel.f32(GRADIENT_STATE * rows.groups * rows.rows * rows.d);
  for (let startStep = 0; startStep < iterations; startStep += AT_ONCE) {
    const steps = Math.min(AT_ONCE, iterations - startStep);
    advance({ ...rows, state, steps, startStep });
    yield steps;
  }
}
