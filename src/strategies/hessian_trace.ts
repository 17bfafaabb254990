/**
 * By the trace of the Hessian: how strong a layer's inputs are.
 *
 * @module
 */

import { errorAt } from "./measures.ts";
import type { AllocationStrategy } from "./strategy.ts";

/** Mean Hessian trace × squared error of the weights (HAWQ-V2, 2020). */
export const hessianTrace: AllocationStrategy = {
  doc: "mean Hessian trace × squared error of the weights",
  needs: "outputs",
  loss: ({ weightErrors, outputs }, bits) => outputs!.trace * errorAt(weightErrors, bits),
};
