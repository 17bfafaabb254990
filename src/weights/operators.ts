/**
 * The operators whose weights are quantized: a line for each.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { isStandard } from "../graph/graph.ts";
import type { Operator } from "./operator.ts";
import { conv } from "./operators/conv.ts";
import { convTranspose } from "./operators/conv_transpose.ts";
import { gemm } from "./operators/gemm.ts";
import { matmul } from "./operators/matmul.ts";
import type { Target } from "./target.ts";

/** Every operator by its name. */
export const operators: Readonly<Record<string, Operator>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
  Gemm: gemm,
  MatMul: matmul,
};

/** The operator of `node`, if its weights can be quantized. */
export function operatorFor(node: NodeProto): Operator | undefined {
  return isStandard(node) && Object.hasOwn(operators, node.opType)
    ? operators[node.opType]
    : undefined;
}

/** The operator of `target`. */
export function operatorOf({ op }: Pick<Target, "op">): Operator {
  return operators[op];
}

/** Whether the node of `target` adds a bias to its product, or has room for one. */
export function hasBias(target: Target): boolean {
  return operatorOf(target).biasInput !== undefined;
}

/** The tensor that the node of `target` adds to its product; undefined where it adds none. */
export function addedTensor(target: Target): string | undefined {
  const { biasInput } = operatorOf(target);
  return biasInput === undefined ? undefined : target.node.input[biasInput] || undefined;
}
