/**
 * A weight as an ONNX integer tensor that DequantizeLinear reads: levels of 2, 4 or 8 bits.
 *
 * @module
 */

import { DataType, rawTensor } from "../onnx/tensor.ts";
import { type LayerPlan, scaleCount } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/matrix.ts";
import { operatorOf } from "../weights/operators.ts";
import type { Rounding } from "../weights/rounding.ts";
import type { Storage } from "../weights/storage.ts";
import { integerBytes, putDequantize, scalesOf, staysMatrix } from "./dequantize.ts";
import type { Format, FormatOptions, LayerGrid, Stored } from "./format.ts";
import { OPSETS } from "./opsets.ts";
import { windowOffsets, withoutOffsets } from "./packing.ts";
import type { WeightWriter } from "./writer.ts";

/** An ONNX integer tensor. */
export interface IntegerStorage extends Storage {
  /** Bits of an element. */
  readonly bits: IntegerBits;
}

/** The bits of ONNX's integers. */
type IntegerBits = 2 | 4 | 8;

/** ONNX's signed integers by their bits. */
const INTEGERS = { 2: DataType.INT2, 4: DataType.INT4, 8: DataType.INT8 };

/** Standard QuantizeLinear and DequantizeLinear on integers of 2, 4 or 8 bits. */
export const qdq: Format<IntegerStorage> = {
  name: "qdq",
  doc: "integers of 2, 4 or 8 bits in standard operators",
  storage: (layer, options) => ({ format: "qdq", bits: integerBits(layer, options) }),
  opset({ storage: { bits }, grid, groupsPerRow }) {
    if (bits === 2) return OPSETS.int2;
    // What is cut from nested levels has 4-bit integers.
    const isFine = bits === 4 || grid.kind === "nested" || groupsPerRow > 1;
    return isFine ? OPSETS.int4 : OPSETS.channels;
  },
  bytes(layer) {
    const { target: { groups, rows, depth }, storage: { bits } } = layer;
    return {
      levels: Math.ceil(groups * rows * depth * bits / 8),
      zeros: Math.ceil(scaleCount(layer) * bits / 8),
    };
  },
  put: putIntegers,
  biasScales: "stored",
  cutAs: "qdq",
};

/** The bits of the integers that hold the levels of a layer. */
function integerBits(
  { target, bits, grid }: LayerGrid,
  { activationBits }: FormatOptions,
): IntegerBits {
  // Tails reach beyond the integers of the width.
  if (grid.kind === "piecewise") return 8;
  // onnxruntime 1.30 merges int2 weights into integer kernels that do not take them where
  // activations are quantized, and the model no longer opens.
  if (bits === 2 && activationBits === "none" && operatorOf(target).int2) return 2;
  return bits <= 4 ? 4 : 8;
}

function putIntegers(
  writer: WeightWriter,
  layer: LayerPlan & Stored<IntegerStorage>,
  rounding: Rounding,
): void {
  const { weight, shape, groups, rows, depth } = layer.target;
  const { offsets, bits } = offsetsOf(layer, rounding);
  const inMatrix = staysMatrix(layer);
  const matrix = withoutOffsets(rounding.levels, offsets);
  const dims = inMatrix ? [groups * rows, depth] : shape;
  const ordered = inMatrix ? matrix : toTensorOrder(layer.target, matrix);
  writer.remove(weight);
  const put = (what: string, dims: readonly number[], values: Int8Array) =>
    writer.put(
      rawTensor(
        writer.name(`${weight}_${what}`),
        INTEGERS[bits],
        dims,
        integerBytes(values, bits),
      ),
    );
  const quantized = put("quantized", dims, ordered);
  const scales = scalesOf(layer, rounding, inMatrix);
  // What was taken off comes back as the zero point: q = stored − (−offset).
  const perOffset = scales.values.length / offsets.length;
  const zeros = Int8Array.from(scales.values, (_, i) => -offsets[Math.floor(i / perOffset)]);
  const zero = put("zero_point", scales.dims, zeros);
  putDequantize(writer, layer, rounding, { quantized, zero, inMatrix });
}

/** What is taken off the levels of rows so that they fit, and the bits that they then have. */
function offsetsOf(
  { storage: { bits }, windows }: Stored<IntegerStorage>,
  { lows, codebook, scales }: Rounding,
): { offsets: Int8Array; bits: IntegerBits } {
  // Levels of a codebook may need more bits than their numbers.
  if (bits < 8 && codebook === undefined) {
    const offsets = windowOffsets(lows, windows.span, bits);
    // A zero point belongs to a scale: one scale cannot serve rows of different offsets.
    if (offsets.length === 1 || scales.length > 1) return { offsets, bits };
  }
  return { offsets: Int8Array.of(0), bits: 8 };
}
