/**
 * By measuring: each layer's exact output error at each width.
 *
 * @module
 */

import { errorAt } from "./measures.ts";
import type { AllocationStrategy } from "./strategy.ts";

/** The layer's exact output error × how much the model's outputs mind it. */
export const measured: AllocationStrategy = {
  doc: "exact error of the layer's outputs × their sensitivity",
  needs: "outputs",
  loss: ({ outputs }, bits) => outputs!.sensitivity * errorAt(outputs!.errors, bits),
};
