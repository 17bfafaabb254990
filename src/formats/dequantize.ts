/**
 * Integers that become a weight when the model runs, and the order in which a weight has its
 * values.
 *
 * @module
 */

import { bytesOf, floatTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { operatorOf } from "../weights/operators.ts";
import type { Rounding } from "../weights/rounding.ts";
import { packLevels } from "./packing.ts";
import type { WeightWriter } from "./writer.ts";

/**
 * Whether the integers of `layer` are kept in the shape of the matrix W until they are dequantized:
 * blocks run along its depth.
 */
export function staysMatrix(layer: LayerPlan): boolean {
  return layer.groupsPerRow > 1;
}

/** Levels as ONNX stores them: those of fewer bits several to a byte, from the lowest bits up. */
export function integerBytes(levels: Int8Array, bits: 2 | 4 | 8): Uint8Array {
  if (bits === 8) return bytesOf(levels);
  const [bytes] = packLevels(levels, {
    layout: { kind: "planes", widths: [bits] },
    signed: true,
  });
  return bytes.subarray(0, Math.ceil(levels.length * bits / 8));
}

/** A layer's scales and their shape: a scalar, one per row, or a matrix of rows × blocks. */
export function scalesOf(
  { target: { groups, rows } }: LayerPlan,
  { scales }: Rounding,
  inMatrix: boolean,
): { values: Float32Array; dims: number[] } {
  if (!inMatrix) return { values: scales, dims: scales.length === 1 ? [] : [scales.length] };
  const channels = groups * rows;
  const values = scales.length === 1 ? new Float32Array(channels).fill(scales[0]) : scales;
  return { values, dims: [channels, values.length / channels] };
}

/** Integers that become a weight. */
export interface Integers {
  /** The tensor of them. */
  readonly quantized: string;
  /** Their zero points, in the shape of the scales. Default: 0. */
  readonly zero?: string;
  /** Whether they have the shape of the matrix W, not that of the weight. */
  readonly inMatrix: boolean;
}

/**
 * Nodes that make the weight of `layer` out of integers. The result takes the weight's name, so
 * that whoever reads it needs no change.
 */
export function putDequantize(
  writer: WeightWriter,
  layer: LayerPlan,
  rounding: Rounding,
  { quantized, zero, inMatrix }: Integers,
): void {
  const { weight, axis, depth } = layer.target;
  const { values, dims } = scalesOf(layer, rounding, inMatrix);
  const scale = writer.put(floatTensor(writer.name(`${weight}_scale`), dims, values));
  writer.weightScales.set(weight, scale);
  const input = [quantized, scale, ...(zero === undefined ? [] : [zero])];
  if (!inMatrix) {
    writer.node("DequantizeLinear", input, weight, dims.length > 0 ? { axis: BigInt(axis) } : {});
    return;
  }
  const matrix = writer.name(`${weight}_matrix`);
  writer.node("DequantizeLinear", input, matrix, {
    axis: 1n,
    block_size: BigInt(Math.min(layer.groupSize, depth)),
  });
  putTensorOrder(writer, layer, matrix, weight);
}

/** Nodes that turn `matrix`, the matrix W of `layer`, into `output`, in the shape of its weight. */
export function putTensorOrder(
  writer: WeightWriter,
  { target }: LayerPlan,
  matrix: string,
  output: string,
): void {
  const { shape, groups, rows, depth } = target, order = operatorOf(target).order(target);
  if (order === undefined) {
    writer.reshape(matrix, output, shape);
    return;
  }
  const { dims, perm } = order;
  const split = isSame(dims, [groups * rows, depth])
    ? matrix
    : writer.reshape(matrix, writer.name(`${output}_split`), dims);
  const isWhole = isSame(perm.map((axis) => dims[axis]), shape);
  const turned = isWhole ? output : writer.name(`${output}_turned`);
  writer.node("Transpose", [split], turned, { perm: perm.map(BigInt) });
  if (!isWhole) writer.reshape(turned, output, shape);
}

function isSame(dims: readonly number[], others: readonly number[]): boolean {
  return dims.length === others.length && dims.every((dim, axis) => dim === others[axis]);
}
