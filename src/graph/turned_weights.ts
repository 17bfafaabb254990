/**
 * Weights that a layer reads through a Transpose, and others as they are: a head that shares its
 * table with an embedding. The table is kept once.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import {
  copyMessage,
  intAttribute,
  intsAttribute,
  makeAttribute,
  type Model,
} from "../onnx/model.ts";
import { freshName, Graph, isStandard, removeUnused, tensorNames } from "./graph.ts";

/** The constant matrix that `name` is the transpose of; undefined where it is none. */
export function turnedWeight(graph: Graph, name: string): string | undefined {
  const node = graph.producer(name);
  if (node?.opType !== "Transpose" || !isStandard(node)) return undefined;
  if (graph.constant(node.input[0])?.dims.length !== 2) return undefined;
  const perm = intsAttribute(node, "perm") ?? [1, 0];
  return perm[0] === 1 && perm[1] === 0 ? node.input[0] : undefined;
}

/**
 * Lets each Gemm of `model` read a transposed weight as it is, and gives each MatMul a Transpose of
 * its own, so that one layer can be given another weight.
 *
 * @returns how many layers have such a weight; `model` is changed.
 */
export function turnedWeights(model: Model): number {
  const graph = new Graph(model), names = tensorNames(model);
  let count = 0;
  const turned = (node: NodeProto, index: number) => {
    const weight = turnedWeight(graph, node.input[index]);
    if (weight === undefined) return [];
    count++;
    if (node.opType === "Gemm") {
      const transB = makeAttribute("transB", BigInt(1 - intAttribute(node, "transB", 0)));
      node.attribute = [...node.attribute.filter(({ name }) => name !== "transB"), transB];
      node.input[1] = weight;
      return [];
    }
    const transpose = copyMessage(graph.producer(node.input[index])!);
    transpose.input = [...transpose.input];
    transpose.output = [freshName(node.input[index], names)];
    transpose.name = transpose.output[0];
    // onnxruntime's optimizer fails on a Transpose of a quantized weight that leaves the order out.
    transpose.attribute = [makeAttribute("perm", [1n, 0n])];
    node.input[index] = transpose.output[0];
    return [transpose];
  };
  const { proto } = model;
  proto.graph.node = proto.graph.node.flatMap((node) => {
    if (!isStandard(node) || (node.opType !== "MatMul" && node.opType !== "Gemm")) return [node];
    const transposes = turned(node, 1);
    return node.opType === "MatMul" && transposes.length === 0
      ? [...turned(node, 0), node]
      : [...transposes, node];
  });
  if (count === 0) return 0;
  const after = new Graph(model);
  proto.graph.node = proto.graph.node.filter((node) =>
    turnedWeight(after, node.output[0]) === undefined ||
    after.isOutput(node.output[0]) || after.consumers(node.output[0]).length > 0
  );
  removeUnused(model);
  return count;
}
