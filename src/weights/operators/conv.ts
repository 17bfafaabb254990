/**
 * Convolution: the weight is output channels × input channels of a group × kernel.
 *
 * @module
 */

import type { Operator } from "../operator.ts";
import { constantWeight } from "./constant_weight.ts";
import { convolutionOf } from "./window.ts";

/** Conv. */
export const conv: Operator = {
  op: "Conv",
  match(graph, node) {
    const weight = constantWeight(graph, node);
    if (typeof weight !== "object") return weight;
    const { shape } = weight, convolution = convolutionOf(graph, node, shape, false);
    if (convolution === undefined) return "attribute not handled";
    const { geometry, groups, taps } = convolution;
    const rows = shape[0] / groups, depth = shape[1] * taps;
    return { ...weight, axis: 0, groups, rows, depth, geometry };
  },
  order: () => undefined,
  biasInput: 2,
  macs: ({ depth }, { output }) => output * depth,
  integer: { integerOutput: true, needsZeroPoints: false, roundsFloatWeights: true },
  int2: true,
};
