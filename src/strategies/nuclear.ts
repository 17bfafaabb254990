/**
 * By nuclear norms: layers whose weights have many strong directions are thought to mind errors
 * more.
 *
 * @module
 */

import { errorAt } from "./measures.ts";
import { nuclearNorm } from "./spectrum.ts";
import type { AllocationStrategy } from "./strategy.ts";

/** Nuclear norm × squared error of the weights (PTQ for ViT, 2021). */
export const nuclear: AllocationStrategy = {
  doc: "nuclear norm × squared error of the weights",
  needs: "weights",
  loss: ({ spectrum, weightErrors }, bits) => nuclearNorm(spectrum) * errorAt(weightErrors, bits),
};
