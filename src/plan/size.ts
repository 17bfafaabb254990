/**
 * What a plan makes of a model's size.
 *
 * @module
 */

import type { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { byteLength } from "../onnx/tensor.ts";
import { tensorsOf } from "../onnx/tensors.ts";
import type { ResolvedPlanOptions } from "./options.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { TablePlan } from "../weights/table.ts";
import { addedTensor, hasBias } from "../weights/operators.ts";
import { formatOf } from "../formats/formats.ts";

/** Bytes of all constants of `model`, wherever they lie. */
export function tensorBytes(model: Model): number {
  return tensorsOf(model).reduce((sum, tensor) => sum + (byteLength(tensor) ?? 0), 0);
}

/** Bytes of all constants that `graph`, the prepared one, will have. */
export function sizeOf(
  graph: Graph,
  options: ResolvedPlanOptions,
  layers: readonly LayerPlan[],
  tables: readonly TablePlan[],
): number {
  const before = tensorBytes(graph.model);
  if (formatOf(options.format).simulation) return before;
  const weights = new Map(layers.map((layer) => [layer.target.weight, layer]));
  const saved = [...weights.values(), ...tables].reduce(
    (sum, { bytesBefore, bytesAfter }) => sum + bytesBefore - bytesAfter,
    0,
  );
  const added = layers.reduce((sum, layer) => sum + addedBytes(graph, options, layer), 0);
  return before - saved + added;
}

/**
 * Bytes of what comes with levels and scales: zero points or offsets, and a bias with its scales.
 */
function addedBytes(graph: Graph, options: ResolvedPlanOptions, layer: LayerPlan): number {
  const { target, storage, groupsPerRow } = layer, channels = target.groups * target.rows;
  const format = formatOf(storage.format), { zeros } = format.bytes(layer, options);
  if (!hasBias(target)) return zeros;
  const bias = graph.constant(addedTensor(target) ?? "") ? 0 : 4 * channels;
  const isInteger = options.activationBits !== "none" && groupsPerRow === 1;
  return zeros + bias + (isInteger && format.biasScales === "stored" ? 4 * channels : 0);
}
