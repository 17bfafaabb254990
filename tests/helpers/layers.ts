/** A model with one layer of every kind, each beside the others, and roundings made up for it. */

import type { NodeProto, TensorProto } from "../../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode, type Model } from "../../src/onnx/model.ts";
import { floatTensor, sizeOf } from "../../src/onnx/tensor.ts";
import { onGrid } from "../../src/layer/bias.ts";
import {
  type ActivationGrid,
  biasScales,
  type Parts,
  type Rounding,
} from "../../src/emit/build.ts";
import type { Plan } from "../../src/plan/plan.ts";
import type { LayerPlan } from "../../src/weights/layer.ts";
import type { Value } from "../../src/runtime/session.ts";
import { build, noise, value } from "./models.ts";

/** The inputs of {@linkcode everyLayer}. */
const INPUTS: Record<string, number[]> = { image: [2, 4, 6, 6], rows: [3, 40], columns: [40, 3] };

/** The layers: an operator, what it reads, the weight's shape, attributes. */
const LAYERS: Record<string, [string, string, number[], Record<string, AttributeValue>]> = {
  conv: ["Conv", "image", [5, 4, 3, 3], { pads: [1n, 1n, 1n, 1n] }],
  grouped: ["Conv", "image", [6, 2, 3, 3], { group: 2n }],
  depthwise: ["Conv", "image", [4, 1, 3, 3], { group: 4n }],
  up: ["ConvTranspose", "image", [4, 3, 2, 2], { strides: [2n, 2n] }],
  up_grouped: ["ConvTranspose", "image", [4, 3, 2, 2], { group: 2n, strides: [2n, 2n] }],
  up_one_of_two: ["ConvTranspose", "image", [4, 1, 2, 2], { group: 2n, strides: [2n, 2n] }],
  up_depthwise: ["ConvTranspose", "image", [4, 1, 3, 3], { group: 4n }],
  gemm: ["Gemm", "rows", [40, 5], {}],
  gemm_transposed: ["Gemm", "rows", [7, 40], { transB: 1n }],
  right: ["MatMul", "rows", [40, 7], {}],
  left: ["MatMul", "columns", [7, 40], {}],
};

/** The names of the layers. */
export const LAYER_NAMES: readonly string[] = Object.keys(LAYERS);

/** A model that computes every layer of `names`, and flattens what it gives: `conv_y` and so on. */
export function everyLayer(names: readonly string[] = LAYER_NAMES): Model {
  const nodes: NodeProto[] = [], initializers: TensorProto[] = [];
  const inputs = new Set<string>();
  for (const name of names) {
    const [op, input, shape, attributes] = LAYERS[name];
    const read = op === "MatMul" && name === "left" ? [`${name}_w`, input] : [input, `${name}_w`];
    initializers.push(floatTensor(`${name}_w`, shape, noise(sizeOf(shape), name.length)));
    nodes.push(
      makeNode(op, name, read, [`${name}_a`], attributes),
      makeNode("Flatten", `${name}_flat`, [`${name}_a`], [`${name}_y`]),
    );
    inputs.add(input);
  }
  return build({
    opset: 13,
    inputs: Object.fromEntries([...inputs].map((name) => [name, INPUTS[name]])),
    nodes,
    initializers,
    outputs: names.map((name) => `${name}_y`),
  });
}

/** Inputs for {@linkcode everyLayer}. */
export function layerFeeds(): Record<string, Value> {
  return Object.fromEntries(Object.entries(INPUTS).map(([name, dims]) => [name, value(dims)]));
}

/** How roundings are made up. */
export interface MadeUp {
  /**
   * Where rows begin their levels: at the usual place, all at the second one that they may, or each
   * at the place after that of the row before. Default: `"usual"`.
   */
  readonly windows?: "usual" | "second" | "turns";
  /** Bits of the grids of all activations. Default: 8. */
  readonly activationBits?: 4 | 8;
}

/**
 * Levels of the whole range, the ends among them, powers of two as scales, so that what is
 * multiplied tells the level exactly; and grids around everything that is computed.
 */
export function madeUpParts(
  plan: Plan,
  { windows, activationBits: bits = 8 }: MadeUp = {},
): Parts {
  const levels = 2 ** bits;
  const grids = new Map<string, ActivationGrid>(
    plan.activations.ranged.map((name) => [
      name,
      { bits, scale: (name in INPUTS ? 2 : 8) / levels, zeroPoint: levels / 2 },
    ]),
  );
  const roundings = new Map(plan.layers.map((layer) => {
    const rounding = roundingOf(layer, windows);
    if (layer.target.op === "MatMul") return [layer.target.output, rounding];
    const { groups, rows, input } = layer.target;
    const steps = biasScales(layer, rounding.scales, grids.get(input));
    const bias = onGrid(noise(groups * rows, rows), steps);
    return [layer.target.output, { ...rounding, bias }];
  }));
  return { roundings, grids };
}

function roundingOf(layer: LayerPlan, windows: MadeUp["windows"]): Rounding {
  const { target: { groups, rows, depth }, bits, granularity, groupsPerRow } = layer;
  const all = groups * rows, places = layer.windows.lows, { span } = layer.windows;
  const lows = Int8Array.from(
    { length: all },
    (_, row) =>
      windows === "turns"
        ? places[row % places.length]
        : places[windows === "second" ? Math.min(1, places.length - 1) : 0],
  );
  const values = noise(all * depth, depth + bits);
  const levels = Int8Array.from(values, (v, i) => {
    const level = i % depth === 0 ? span : i % depth === 1 ? 0 : (v + 1) / 2 * (span + 1);
    return lows[Math.floor(i / depth)] + Math.floor(level);
  });
  const count = granularity.kind === "tensor" ? 1 : all * groupsPerRow;
  const scales = Float32Array.from({ length: count }, (_, i) => 2 ** (-bits - 1 - i % 3));
  return { levels, scales, lows };
}
