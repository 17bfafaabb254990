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
 * vanish. Values that are strings or sparse stay as they are, as do inputs with a default: those
 * that are none, {@linkcode unlistParameters} has taken off the list.
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
  const inputs = new Set(graph.input.map((value) => value.name));
  const constants = new Set(
    graph.initializer.map((tensor) => tensor.name).filter((name) => !inputs.has(name)),
  );
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

/** Where operators read what was trained, by the position among their inputs. */
const PARAMETERS: ReadonlyMap<string, readonly number[]> = new Map(Object.entries({
  BatchNormalization: [1, 2, 3, 4],
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Gather: [0],
  Gemm: [1, 2],
  GRU: [1, 2, 3],
  GroupNormalization: [1, 2],
  InstanceNormalization: [1, 2],
  LayerNormalization: [1, 2],
  LSTM: [1, 2, 3],
  MatMul: [0, 1],
  PRelu: [1],
  RNN: [1, 2, 3],
}));

/**
 * Takes initializers off the list of inputs. Before IR version 4 all had to be listed, so none was
 * meant to be fed. Since then an input that has an initializer is one with a default, and stays:
 * only those that layers read as weights, biases and the like cannot be fed any longer once they
 * are quantized.
 *
 * @returns the names of those that a caller could feed before; `model` is changed.
 */
export function unlistParameters(model: Model): string[] {
  const { graph } = model.proto;
  const initializers = new Set(graph.initializer.map((tensor) => tensor.name));
  if (model.proto.irVersion < 4n) {
    graph.input = graph.input.filter((value) => !initializers.has(value.name));
    model.proto.irVersion = 4n;
    return [];
  }
  const parameters = new Set(
    graph.node.filter(isStandard).flatMap(({ opType, input }) =>
      (PARAMETERS.get(opType) ?? []).map((position) => input[position])
    ),
  );
  // A weight may be kept turned, or in 16 bits.
  for (const { opType, input, output } of graph.node.toReversed()) {
    const isConversion = opType === "Cast" || opType === "Transpose" || opType === "Identity";
    if (isConversion && parameters.has(output[0])) parameters.add(input[0]);
  }
  const unlisted = (name: string) => initializers.has(name) && parameters.has(name);
  const names = graph.input.map((value) => value.name).filter(unlisted);
  graph.input = graph.input.filter((value) => !unlisted(value.name));
  return names;
}
