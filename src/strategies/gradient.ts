/**
 * By gradients: what the model's outputs would mind to first order.
 *
 * @module
 */

import { errorAt } from "./measures.ts";
import type { AllocationStrategy } from "./strategy.ts";

/** The gradients' size × the weights' error. */
export const gradient: AllocationStrategy = {
  doc: "size of the gradients × error of the weights",
  needs: "gradients",
  // The first-order bound Σ |g| · |ŵ − w|, with the error spread evenly.
  loss: ({ weightErrors, outputs, weights }, bits) =>
    outputs!.gradient! * Math.sqrt(errorAt(weightErrors, bits) / weights),
};
