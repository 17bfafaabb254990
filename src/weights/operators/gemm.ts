/**
 * The product of matrices with a bias: rows of X times a weight of two axes, in either order.
 *
 * @module
 */

import { floatAttribute, intAttribute } from "../../onnx/model.ts";
import type { Operator } from "../operator.ts";
import { constantWeight } from "./constant_weight.ts";
import { matrixOrder } from "./matrix_order.ts";

/** Gemm. */
export const gemm: Operator = {
  op: "Gemm",
  match(graph, node) {
    const weight = constantWeight(graph, node);
    if (typeof weight !== "object") return weight;
    const { shape } = weight;
    const isPlain = intAttribute(node, "transA", 0) === 0 &&
      floatAttribute(node, "alpha", 1) === 1 && floatAttribute(node, "beta", 1) === 1;
    if (!isPlain || shape.length !== 2) return "attribute not handled";
    const axis = intAttribute(node, "transB", 0) === 1 ? 0 : 1;
    const rows = shape[axis], depth = shape[1 - axis];
    return { ...weight, axis, groups: 1, rows, depth, geometry: { kind: "rows" } };
  },
  order: matrixOrder,
  biasInput: 2,
  macs: ({ depth }, { output }) => output * depth,
  integer: { integerOutput: false, needsZeroPoints: true, roundsFloatWeights: true },
  // Where its columns do not fill whole bytes, it computes something else.
  int2: false,
};
