/**
 * Transposed convolution: the weight is input channels × output channels of a group × kernel.
 *
 * @module
 */

import type { Operator } from "../operator.ts";
import { constantWeight } from "./constant_weight.ts";
import { convolutionOf } from "./window.ts";

/** ConvTranspose. */
export const convTranspose: Operator = {
  op: "ConvTranspose",
  match(graph, node) {
    const weight = constantWeight(graph, node);
    if (typeof weight !== "object") return weight;
    const { shape } = weight, convolution = convolutionOf(graph, node, shape, true);
    if (convolution === undefined) return "attribute not handled";
    const { geometry, groups, taps } = convolution, rows = shape[1];
    return {
      ...weight,
      // With one channel into each group and out of it, axis 0 counts the output channels. With
      // groups of other sizes, no axis does.
      axis: groups > 1 && rows === 1 ? 0 : 1,
      groups,
      rows,
      depth: shape[0] / groups * taps,
      geometry,
    };
  },
  order({ groups, rows, depth, shape }) {
    const taps = shape.slice(2).reduce((a, b) => a * b, 1);
    return { dims: [groups, rows, depth / taps, taps], perm: [0, 2, 1, 3] };
  },
  biasInput: 2,
  macs: ({ rows, depth }, { input }) => input * rows * depth,
  integer: { integerOutput: false, needsZeroPoints: false, roundsFloatWeights: true },
  int2: true,
};
