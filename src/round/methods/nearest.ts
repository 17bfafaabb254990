/**
 * Nearest rounding, what most tools do: each weight by itself, whatever the inputs.
 *
 * @module
 */

import type { Method } from "../method.ts";

/** The nearest level of each weight by itself. */
export interface NearestRounding {
  /** The method. */
  readonly kind: "nearest";
}

/** Nearest rounding. Every solution starts from it, so there is nothing to add. */
export const nearest: Method<NearestRounding> = {
  kind: "nearest",
  doc: "the nearest level of each weight by itself",
  options: {},
  learned: false,
  grids: ["uniform", "piecewise"],
};
