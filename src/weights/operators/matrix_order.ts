/**
 * Weights of two axes.
 *
 * @module
 */

import type { TensorOrder } from "../operator.ts";
import type { Target } from "../target.ts";

/** The order of a weight of two axes: W itself, or its transpose. */
export function matrixOrder({ axis, rows, depth }: Target): TensorOrder | undefined {
  return axis === 0 ? undefined : { dims: [rows, depth], perm: [1, 0] };
}
