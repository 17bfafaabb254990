/**
 * A block as models of its own: one to learn by, one to judge by.
 *
 * @module
 */

import { type Cut, valueInfo } from "../graph/extract.ts";
import { nonTensors } from "../graph/values.ts";
import { buildPart, type Parts, stepName } from "../emit/build.ts";
import type { Model } from "../onnx/model.ts";
import { copyModel } from "../onnx/model.ts";
import { DataType } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { Block } from "./partition.ts";

/** A layer of a block, and the tensors that hold what is learned of it. */
export interface LearnedLayer {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Its weight, in the order of the model's tensor. */
  readonly weight: string;
  /** Its bias; undefined where it has none that could change. */
  readonly bias?: string;
}

/** A block's model, and what can be learned in it. */
export interface BlockModel {
  /** From the block's inputs to its outputs, as the quantized model computes it. */
  readonly model: Model;
  /** Its layers. */
  readonly layers: readonly LearnedLayer[];
  /** Activations whose steps can be learned. */
  readonly activations: readonly string[];
}

/**
 * The part of the quantized model that `block` is, in operators that have gradients.
 *
 * @param types element types of the tensors that the block reads.
 */
export function blockModel(
  plan: Plan,
  block: Block,
  parts: Parts,
  types: Cut["inputs"],
): BlockModel {
  const model = buildPart(plan, parts, "learnable", { inputs: types, outputs: block.outputs });
  const { node, initializer } = model.proto.graph;
  const constants = new Set(initializer.map((tensor) => tensor.name));
  const readers = new Map<string, number>();
  for (const { input } of plan.graph.nodes) {
    for (const name of input) readers.set(name, (readers.get(name) ?? 0) + 1);
  }
  const layers = block.steps.flat().flatMap((layer): LearnedLayer[] => {
    const { weight } = layer.target;
    // What other layers use, too, is not this block's to change.
    if (!parts.roundings.has(layer.target.output) || readers.get(weight) !== 1) return [];
    const bias = node.find(({ input }) => input[1] === weight)?.input[2];
    const isLearned = bias !== undefined && constants.has(bias) &&
      parts.roundings.get(layer.target.output)!.bias !== undefined;
    return [{ layer, weight, bias: isLearned ? bias : undefined }];
  });
  // Steps of the block's own activations; what enters was decided by the blocks before.
  const computed = new Set(
    plan.graph.nodes.slice(block.start, block.end).flatMap(({ output }) => output),
  );
  const activations = plan.activations.ranged.filter((name) =>
    computed.has(name) && parts.grids.has(name) && constants.has(stepName(name)) &&
    parts.grids.get(name)!.bits < 8
  );
  return { model, layers, activations };
}

/** `model` with the initializers `names` fed instead; all are float32. */
export function feedInitializers(model: Model, names: Iterable<string>): Model {
  const fed = copyModel(model), { graph } = fed.proto;
  const moved = new Set(names);
  graph.initializer = graph.initializer.filter((tensor) => !moved.has(tensor.name));
  for (const name of moved) graph.input.push(valueInfo(name, DataType.FLOAT));
  return fed;
}

/** `model` with every float tensor that it computes as an output: to see their shapes. */
export function withAllOutputs(model: Model): Model {
  const open = copyModel(model), { graph } = open.proto;
  const others = nonTensors(graph);
  const names = graph.node.flatMap(({ output }) => output)
    .filter((name) => name !== "" && !others.has(name));
  graph.output = names.map((name) => valueInfo(name));
  return open;
}
