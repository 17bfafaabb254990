/**
 * The product of matrices without a bias: the weight, of two axes, is on either side, and may be
 * read through a Transpose.
 *
 * @module
 */

import { turnedWeight } from "../../graph/turned_weights.ts";
import type { Operator } from "../operator.ts";
import { constantWeight } from "./constant_weight.ts";
import { matrixOrder } from "./matrix_order.ts";

/** MatMul. */
export const matmul: Operator = {
  op: "MatMul",
  match(graph, node) {
    const tensorAt = (index: 0 | 1) =>
      graph.constant(turnedWeight(graph, node.input[index]) ?? node.input[index]);
    const side = tensorAt(0) ? 0 : 1;
    const weight = constantWeight(graph, node, side, tensorAt(side));
    if (typeof weight !== "object") return weight;
    const { shape } = weight;
    if (shape.length !== 2) return "weight of more than two dimensions";
    const isLeft = side === 0, isTurned = weight.weight !== node.input[side];
    const axis = isLeft === isTurned ? 1 : 0, rows = shape[axis], depth = shape[1 - axis];
    return {
      ...weight,
      ...{ axis, groups: 1, rows, depth },
      geometry: { kind: isLeft ? "columns" : "rows" },
    };
  },
  order: matrixOrder,
  macs: ({ depth }, { output }) => output * depth,
  integer: { integerOutput: false, needsZeroPoints: false, roundsFloatWeights: false },
  int2: false,
};
