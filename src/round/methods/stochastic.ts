/**
 * Stochastic rounding: without bias, but with twice the squared error of nearest rounding.
 *
 * @module
 */

import type { Method } from "../method.ts";

/** Up or down by chance, without bias. */
export interface StochasticRounding {
  /** The method. */
  readonly kind: "stochastic";
}

/** Stochastic rounding. */
export const stochastic: Method<StochasticRounding> = {
  kind: "stochastic",
  doc: "up or down by chance, without bias",
  options: {},
  learned: false,
  grids: ["uniform"],
  // deno-lint-ignore require-yield
  *round({ kernel, rows }) {
    kernel.stochastic(rows);
  },
};
