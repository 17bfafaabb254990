/**
 * Every tensor of a model, wherever it is: among the initializers, in attributes, in the bodies of
 * If, Loop and Scan, in local functions.
 *
 * @module
 */

import type { GraphProto, NodeProto, TensorProto } from "./gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";
import { copyMessage, type Model } from "./model.ts";
import { byteLength, isExternal, rawBytes, readable, sizeOf } from "./tensor.ts";

/** Every tensor of `model`. */
export function tensorsOf({ proto }: Model): TensorProto[] {
  return [...tensorsIn(proto.graph), ...proto.functions.flatMap(({ node }) => inNodes(node))];
}

/** Every tensor of `graph`, with those of its nodes and of the bodies in it. */
export function tensorsIn(graph: GraphProto): TensorProto[] {
  const sparse = graph.sparseInitializer.flatMap(({ values, indices }) => [values, indices]);
  return [...graph.initializer, ...sparse.filter((t) => t !== undefined), ...inNodes(graph.node)];
}

function inNodes(nodes: readonly NodeProto[]): TensorProto[] {
  return nodes.flatMap(({ attribute }) =>
    attribute.flatMap(({ t, tensors, g, graphs }) => [
      ...(t ? [t] : []),
      ...tensors,
      ...(g ? tensorsIn(g) : []),
      ...graphs.flatMap(tensorsIn),
    ])
  );
}

/**
 * A copy of `model` with every dense tensor as `change` gives it; what has none is shared with the
 * original.
 */
export function mapTensors(model: Model, change: (tensor: TensorProto) => TensorProto): Model {
  const inGraph = (original: GraphProto): GraphProto => {
    const graph = copyMessage(original);
    graph.initializer = graph.initializer.map(change);
    graph.node = graph.node.map(inNode);
    return graph;
  };
  const inNode = (node: NodeProto): NodeProto => {
    if (!node.attribute.some(holdsTensors)) return node;
    const attribute = node.attribute.map((original) => {
      if (!holdsTensors(original)) return original;
      const { t, tensors, g, graphs } = original;
      return Object.assign(copyMessage(original), {
        t: t && change(t),
        tensors: tensors.map(change),
        g: g && inGraph(g),
        graphs: graphs.map(inGraph),
      });
    });
    return Object.assign(copyMessage(node), { attribute });
  };
  const proto = copyMessage(model.proto);
  proto.graph = inGraph(proto.graph);
  proto.functions = proto.functions.map((local) =>
    Object.assign(copyMessage(local), { node: local.node.map(inNode) })
  );
  return { ...model, proto };
}

function holdsTensors({ t, tensors, g, graphs }: NodeProto["attribute"][number]): boolean {
  return t !== undefined || g !== undefined || tensors.length > 0 || graphs.length > 0;
}

/**
 * Checks that every tensor of `model` has the bytes that its shape wants, without reading them.
 *
 * @throws {AttuneError} `bad-model` naming the first that has not.
 */
export function checkTensors(model: Model): void {
  for (const tensor of tensorsOf(model)) checkTensor(model, tensor);
}

function checkTensor(model: Model, tensor: TensorProto): void {
  const bytes = byteLength(tensor);
  if (bytes === undefined) return;
  const check = (actual: number, unit: string, expected: number) => {
    if (actual === expected) return;
    throw new AttuneError(
      "bad-model",
      `Cannot use ${model.name}: tensor "${tensor.name}" of shape [${tensor.dims}] wants ` +
        `${expected} ${unit}, its data has ${actual}; the file is damaged, export it anew`,
    );
  };
  if (isExternal(tensor)) {
    const entry = (key: string) => tensor.externalData.find((e) => e.key === key)?.value;
    const location = entry("location"), length = entry("length");
    if (length !== undefined) check(Number(length), "bytes", bytes);
    if (location === undefined || model.external === undefined) rawBytes(tensor, model.external);
    // Reads nothing, and fails where the file ends before.
    else model.external(location, Number(entry("offset") ?? 0) + bytes, 0);
    return;
  }
  const lists = [tensor.floatData, tensor.doubleData, tensor.int32Data, tensor.int64Data];
  const listed = [...lists, tensor.uint64Data].reduce((sum, list) => sum + list.length, 0);
  if (tensor.rawData.length > 0 || listed === 0) check(tensor.rawData.length, "bytes", bytes);
  // Elements of less than a byte lie several to a number, complex ones in two.
  else if (readable(tensor)) check(listed, "elements", sizeOf(tensor.dims));
}
