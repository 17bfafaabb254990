/**
 * The size of the file that a plan leads to, before there is anything to put into it.
 *
 * @module
 */

import { canCorrectBias } from "../layer/bias.ts";
import { buildModel, type Rounding } from "../emit/build.ts";
import { lengthOf, modelChunks } from "../onnx/chunks.ts";
import type { Plan } from "../plan/plan.ts";
import { isFree, type LayerPlan } from "../weights/layer.ts";

/**
 * Bytes of the metadata that a result has beside the model; and those of a layer's width, less its
 * name.
 */
const METADATA_BYTES = 700, WIDTH_BYTES = 5;

/**
 * Bytes of the written file without the levels and scales of free layers, as `LayerPlan` counts
 * those.
 */
export function fixedBytes(plan: Plan): number {
  const free = new Map(
    plan.layers.filter(isFree).map((layer) => [layer.target.weight, layer.bytesAfter]),
  );
  return fileBytes(plan) - [...free.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes of the file that `plan` leads to: the model built from weights of zero is as large. */
export function fileBytes(plan: Plan): number {
  const grids = new Map(
    [...plan.activations.bits].map(([name, bits]) => [name, { bits, scale: 1, zeroPoint: 0 }]),
  );
  const roundings = new Map(
    plan.layers.map((layer) => [layer.target.output, emptyRounding(plan, layer)]),
  );
  const model = buildModel(plan, { roundings, grids }, plan.options.format);
  const names = plan.layers.reduce((sum, { target }) => sum + target.name.length + WIDTH_BYTES, 0);
  return lengthOf(modelChunks(model)) + METADATA_BYTES + names;
}

function emptyRounding(plan: Plan, layer: LayerPlan): Rounding {
  const { groups, rows, depth } = layer.target, all = groups * rows;
  const scales = layer.granularity.kind === "tensor" ? 1 : all * layer.groupsPerRow;
  return {
    levels: new Int8Array(all * depth),
    scales: new Float32Array(scales),
    // Zero is a level of every window; those of ternary rows begin at −1.
    lows: new Int8Array(all).fill(layer.grid.kind === "ternary" ? -1 : 0),
    bias: canCorrectBias(plan, layer) ? new Float32Array(all) : undefined,
  };
}
