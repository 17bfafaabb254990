/**
 * What every operator asks of a weight.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../../onnx/gen/onnx_pb.ts";
import { DataType, dimsOf } from "../../onnx/tensor.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Product } from "../operator.ts";
import type { SkipReason } from "../target.ts";

/**
 * The weight of `node` and the tensor that it is multiplied with, which is the other one of its
 * first two inputs; the reason where the weight stays in float; undefined where the product is
 * constant.
 *
 * @param tensor the weight. Default: the initializer that the node reads at `weightInput`.
 */
export function constantWeight(
  graph: Graph,
  node: NodeProto,
  weightInput: 0 | 1 = 1,
  tensor: TensorProto | undefined = graph.constant(node.input[weightInput]),
): Pick<Product, "input" | "weight" | "weightInput" | "shape"> | SkipReason | undefined {
  if (tensor === undefined) return "no constant weight";
  const input = node.input[1 - weightInput], shape = dimsOf(tensor);
  // Constant times constant: onnxruntime folds it.
  if (graph.constant(input) || graph.isSteady(input)) return undefined;
  if (graph.isOutput(tensor.name)) return "weight is an output of the model";
  if (tensor.dataType !== DataType.FLOAT) return "weight is not float32";
  if (shape.some((dim) => dim < 1)) return "attribute not handled";
  return { input, weight: tensor.name, weightInput, shape };
}
