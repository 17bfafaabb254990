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
import type { TablePlan } from "./tables.ts";

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
  if (options.format === "float") return before;
  const weights = new Map(layers.map((layer) => [layer.target.weight, layer]));
  const saved = [...weights.values(), ...tables].reduce(
    (sum, { bytesBefore, bytesAfter }) => sum + bytesBefore - bytesAfter,
    0,
  );
  const added = layers.reduce((sum, layer) => sum + addedBytes(graph, options, layer), 0);
  return before - saved + added;
}

/** Bytes of what comes with levels and scales: zero points or offsets, and a bias with its scales. */
function addedBytes(
  graph: Graph,
  { activationBits }: ResolvedPlanOptions,
  { target, storage, windows, granularity, blocksPerRow }: LayerPlan,
): number {
  const { op, groups, rows } = target, channels = groups * rows;
  const scales = granularity.kind === "tensor" ? 1 : channels * blocksPerRow;
  const zeros = storage.kind === "integer"
    ? Math.ceil(scales * storage.bits / 8)
    : storage.kind === "matmulnbits" && windows.lows.length > 1
    ? rows * Math.ceil(Math.ceil(target.depth / storage.blockSize) * storage.bits / 8)
    : op === "Gemm" && activationBits !== "none"
    ? scales
    : 0;
  // Where rows begin their levels: a byte each.
  const offsets = storage.kind === "packed" && windows.lows.length > 1 &&
      granularity.kind !== "tensor"
    ? channels
    : 0;
  if (op === "MatMul") return zeros + offsets;
  // A float bias becomes an int32 one, or there was none.
  const bias = graph.constant(target.node.input[2] ?? "") ? 0 : 4 * channels;
  const inIntegers = storage.kind === "integer" && activationBits !== "none" && blocksPerRow === 1;
  return zeros + offsets + bias + (inIntegers ? 4 * channels : 0);
}
