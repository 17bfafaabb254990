/**
 * Constant nodes become initializers, so that a weight is found in one place.
 *
 * @module
 */

import { attributeOf, copyMessage, type Model } from "../onnx/model.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor.ts";
import { isControlFlow, isStandard, readsOf } from "./graph.ts";

/**
 * Turns the Constant nodes of `model` into initializers, and lets Identity nodes of an initializer
 * vanish. Values that are strings or sparse stay as they are. An initializer that is listed as an
 * input, as IR version 3 wants it, no longer is: a runtime could not fold what a caller may feed.
 *
 * @returns how many nodes were removed; `model` is changed.
 */
export function liftConstants(model: Model): number {
  const { graph } = model.proto;
  const outputs = new Set(graph.output.map((value) => value.name));
  const before = graph.node.length;
  graph.node = graph.node.filter((node) => {
    if (node.opType !== "Constant" || !isStandard(node) || outputs.has(node.output[0])) return true;
    const name = node.output[0];
    const float = attributeOf(node, "value_float"), floats = attributeOf(node, "value_floats");
    const int = attributeOf(node, "value_int"), ints = attributeOf(node, "value_ints");
    const tensor = attributeOf(node, "value")?.t ??
      (float && floatTensor("", [], new Float32Array([float.f]))) ??
      (floats && floatTensor("", [floats.floats.length], new Float32Array(floats.floats))) ??
      (int && int64Tensor("", [], [int.i])) ??
      (ints && int64Tensor("", [ints.ints.length], ints.ints));
    if (tensor === undefined) return true;
    graph.initializer.push(Object.assign(copyMessage(tensor), { name }));
    return false;
  });
  const constants = new Set(graph.initializer.map((tensor) => tensor.name));
  graph.input = graph.input.filter((value) => !constants.has(value.name));
  if (model.proto.irVersion < 4n) model.proto.irVersion = 4n;
  const alias = new Map<string, string>();
  graph.node = graph.node.filter((node) => {
    node.input = node.input.map((name) => alias.get(name) ?? name);
    if (node.opType !== "Identity" || !isStandard(node)) return true;
    if (!constants.has(node.input[0]) || outputs.has(node.output[0])) return true;
    if (readInBody(model, node.output[0])) return true;
    alias.set(node.output[0], node.input[0]);
    return false;
  });
  return before - graph.node.length;
}

/** Whether a control-flow body may read `name`: renaming would have to reach into it. */
function readInBody(model: Model, name: string): boolean {
  return model.proto.graph.node.some((node) => isControlFlow(node) && readsOf(node).includes(name));
}
