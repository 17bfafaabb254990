/**
 * Nodes that must not run on integers: what onnxruntime 1.30 would make of them, between tensors on
 * grids, is not what they compute.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { makeNode } from "../onnx/model.ts";
import { isStandard } from "../graph/graph.ts";
import { hasWrongIntegerForm } from "../plan/activations.ts";
import { operatorFor } from "../weights/operators.ts";
import type { QuantizedModelWriter } from "./quantized_model_writer.ts";

/**
 * Operators through which onnxruntime carries a DequantizeLinear on, or that keep a grid in our
 * graphs.
 */
const CARRIERS = new Set(["MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice"]);

/**
 * Parts the nodes of `writer` that must stay in float from the DequantizeLinear before them by a
 * Max of one tensor, a copy: nothing that onnxruntime looks for then begins there.
 */
export function putFloatForms(writer: QuantizedModelWriter): void {
  const { graph } = writer.model.proto;
  const producers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node])));
  const weights = floatWeights(writer);
  // Layers whose float weights onnxruntime rounds to 8 bits, with one scale for all of a tensor.
  const isRounded = (node: NodeProto) =>
    operatorFor(node)?.integer.roundsFloatWeights === true && weights.has(node.input[1]);
  const isDequantized = (name: string): boolean => {
    const node = producers.get(name);
    if (node === undefined || !isStandard(node)) return false;
    return node.opType === "DequantizeLinear" ||
      (CARRIERS.has(node.opType) && isDequantized(node.input[0]));
  };
  graph.node = graph.node.flatMap((node): NodeProto[] => {
    const [from] = node.input;
    const inFloat = isRounded(node) || (isStandard(node) && hasWrongIntegerForm(node));
    if (!inFloat || !isDequantized(from)) return [node];
    const copy = writer.name(`${from}_float`);
    node.input = [copy, ...node.input.slice(1)];
    return [makeNode("Max", writer.name(`${copy}_copy`), [from], [copy]), node];
  });
}

/** The initializers, none of them the weight of a layer that is quantized. */
function floatWeights({ model, plan, parts }: QuantizedModelWriter): Set<string> {
  const weights = new Set(model.proto.graph.initializer.map(({ name }) => name));
  for (const { target } of plan.layers) {
    if (parts.roundings.has(target.output)) weights.delete(target.weight);
  }
  return weights;
}
