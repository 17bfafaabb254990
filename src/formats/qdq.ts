/**
 * A weight as an ONNX integer tensor that DequantizeLinear reads: levels of 2, 4 or 8 bits.
 *
 * @module
 */

import { bytesOf, DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/targets.ts";
import type { WeightWriter } from "./writer.ts";
import { packLevels, windowOffsets, withoutOffsets } from "./packing.ts";
import type { Rounding } from "../weights/rounding.ts";

/** ONNX's signed integers by their bits. */
const INTEGERS = { 2: DataType.INT2, 4: DataType.INT4, 8: DataType.INT8 };

/** Puts the weight of `layer` into `writer` as integers. */
export function putInteger(writer: WeightWriter, layer: LayerPlan, rounding: Rounding): void {
  const { weight, shape, groups, rows, depth } = layer.target;
  const { storage, windows } = layer;
  const { levels, lows, codebook } = rounding;
  let offsets: Int8Array = Int8Array.of(0), bits: 2 | 4 | 8 = 8;
  // Levels of a codebook may need more bits than their numbers.
  if (storage.kind === "integer" && storage.bits < 8 && codebook === undefined) {
    const found = windowOffsets(lows, windows.span, storage.bits);
    // A zero point belongs to a scale: one scale cannot serve rows of different offsets.
    if (found.length === 1 || rounding.scales.length > 1) [offsets, bits] = [found, storage.bits];
  }
  const inMatrix = staysMatrix(layer);
  const matrix = withoutOffsets(levels, offsets);
  const dims = inMatrix ? [groups * rows, depth] : shape;
  const ordered = inMatrix ? matrix : toTensorOrder(layer.target, matrix);
  writer.remove(weight);
  const quantized = writer.put(
    rawTensor(
      writer.name(`${weight}_quantized`),
      INTEGERS[bits],
      dims,
      integerBytes(ordered, bits),
    ),
  );
  const scales = scalesOf(layer, rounding, inMatrix);
  // What was taken off comes back as the zero point: q = stored − (−offset).
  const perOffset = scales.values.length / offsets.length;
  const zeros = Int8Array.from(scales.values, (_, i) => -offsets[Math.floor(i / perOffset)]);
  const zero = writer.put(
    rawTensor(
      writer.name(`${weight}_zero_point`),
      INTEGERS[bits],
      scales.dims,
      integerBytes(zeros, bits),
    ),
  );
  putDequantize(writer, layer, rounding, { quantized, zero, inMatrix });
}

/**
 * Whether the integers of `layer` are kept in the shape of the matrix W until they are dequantized:
 * blocks run along its depth.
 */
export function staysMatrix(layer: LayerPlan): boolean {
  return layer.blocksPerRow > 1;
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
function scalesOf(
  { target: { groups, rows } }: LayerPlan,
  { scales }: Rounding,
  inMatrix: boolean,
): { values: Float32Array; dims: number[] } {
  if (!inMatrix) return { values: scales, dims: scales.length === 1 ? [] : [scales.length] };
  const all = groups * rows;
  const values = scales.length === 1 ? new Float32Array(all).fill(scales[0]) : scales;
  return { values, dims: [all, values.length / all] };
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
 * Nodes that make the weight of `layer` out of integers. The result takes the weight's name, so that
 * whoever reads it needs no change.
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
    block_size: BigInt(Math.min(layer.blockSize, depth)),
  });
  putTensorOrder(writer, layer, matrix, weight);
}

/** Nodes that turn `matrix`, the matrix W of `layer`, into `output`, in the shape of its weight. */
export function putTensorOrder(
  writer: WeightWriter,
  layer: LayerPlan,
  matrix: string,
  output: string,
): void {
  const { op, shape, axis, groups, rows, depth } = layer.target;
  if (op === "ConvTranspose") {
    const taps = shape.slice(2).reduce((a, b) => a * b, 1);
    const split = [groups, rows, depth / taps, taps];
    const parts = writer.reshape(matrix, writer.name(`${output}_split`), split);
    const turned = writer.name(`${output}_turned`);
    writer.node("Transpose", [parts], turned, { perm: [0n, 2n, 1n, 3n] });
    writer.reshape(turned, output, shape);
  } else if (op !== "Conv" && axis === 1) {
    writer.node("Transpose", [matrix], output, { perm: [1n, 0n] });
  } else writer.reshape(matrix, output, shape);
}
