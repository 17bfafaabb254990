/**
 * An allocation strategy that attune does not have: every layer is thought to mind a bit as much.
 */

import type { AllocationStrategy } from "../../../src/strategies/strategy.ts";

export const alike: AllocationStrategy = {
  doc: "4^-bits, the same for every layer",
  needs: "weights",
  loss: (_, bits) => 4 ** -bits,
};
