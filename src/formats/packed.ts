/**
 * A weight as bytes that standard operators unpack. onnxruntime runs them once, when it opens the
 * model (constant folding, at any optimization level), and then sees int8 levels or float weights.
 *
 * A table look-up turns a byte into its levels: Gather of 256 × levels-per-byte. Shifts and masks
 * do the same with two to four times the time and memory at load.
 *
 * @module
 */

import { bytesOf, DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import { type LayerPlan, scaleCount } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/matrix.ts";
import { operatorOf } from "../weights/operators.ts";
import type { Rounding } from "../weights/rounding.ts";
import type { Storage } from "../weights/storage.ts";
import { putDequantize, putTensorOrder, staysMatrix } from "./dequantize.ts";
import type { Format, LayerGrid, Stored } from "./format.ts";
import { OPSETS } from "./opsets.ts";
import { putShift, putTable, putUnpack } from "./packed_functions.ts";
import {
  codebookOffsets,
  codesOf,
  type Coding,
  digitsOf,
  packLevels,
  windowOffsets,
  withoutOffsets,
} from "./packing.ts";
import { bitsIn, type Layout, levelsAtOnce, planeBytes, planesOf } from "./planes.ts";
import type { ModelWriter, WeightWriter } from "./writer.ts";

/** Bytes that standard operators unpack when the file is opened. */
export interface PackedStorage extends Storage {
  /** Where the levels are in them. */
  readonly layout: Layout;
}

/** Levels in as many bits as they have. */
export const packed: Format<PackedStorage> = {
  name: "packed",
  doc: "as many bits as levels have, unpacked when the file is opened",
  storage: packedStorage,
  opset({ grid, groupsPerRow }, { activationBits }) {
    // What is cut from nested levels may have 4-bit integers.
    const isFine = grid.kind === "nested" || (groupsPerRow > 1 && activationBits !== "none");
    return isFine ? OPSETS.int4 : OPSETS.bitwise;
  },
  bytes(layer, { activationBits }) {
    const { target: { groups, rows, depth }, storage, windows, granularity } = layer;
    const planes = planeBytes(storage.layout, groups * rows * depth);
    const zeroPoints = activationBits !== "none" && hasZeroPoints(layer) ? scaleCount(layer) : 0;
    // Where rows begin their levels: a byte each.
    const offsets = windows.lows.length > 1 && granularity.kind !== "tensor" ? groups * rows : 0;
    return { levels: planes.reduce((a, b) => a + b, 0), zeros: zeroPoints + offsets };
  },
  put: putPacked,
  biasScales: "computed",
  shortNames: true,
  cutAs: "packed",
};

/** How `layer` is packed. */
export function packedStorage({ bits, grid }: LayerGrid): PackedStorage {
  const layout: Layout = grid.kind === "ternary" ? { kind: "trits" } : planesOf(bits);
  return { format: "packed", bits: bitsIn(layout), layout };
}

function putPacked(
  writer: WeightWriter,
  layer: LayerPlan & Stored<PackedStorage>,
  rounding: Rounding,
): void {
  const { target, bits, storage: { layout } } = layer;
  const { weight, shape, axis, groups, rows, depth } = target;
  const { levels, lows, codebook } = rounding;
  const coding = { layout, signed: codebook === undefined };
  const offsets = codebook
    ? codebookOffsets(lows, codebook)
    : windowOffsets(lows, layer.windows.span, bits);
  const moved = withoutOffsets(levels, offsets),
    codes = codebook ? codesOf(moved, codebook) : moved;
  const staysInMatrix = staysMatrix(layer);
  // Some weights have no axis that counts the rows of all groups.
  const inMatrix = staysInMatrix || (offsets.length > 1 && offsets.length !== shape[axis]);
  const dims = inMatrix ? [groups * rows, depth] : shape;
  const ordered = inMatrix ? codes : toTensorOrder(target, codes);

  writer.remove(weight);
  let name = putCodes(writer, weight, ordered, dims, coding);
  if (codebook) name = putCodebook(writer, weight, name, codebook);
  if (!needsIntegers(writer, layer)) {
    const float = putOffsets(writer, layer, name, offsets, inMatrix, DataType.FLOAT);
    putFloatWeight(writer, layer, rounding, float, inMatrix);
    return;
  }
  name = putOffsets(writer, layer, name, offsets, inMatrix, DataType.INT8);
  if (inMatrix && !staysInMatrix) {
    const tensor = writer.name(`${weight}_levels`);
    putTensorOrder(writer, layer, name, tensor);
    name = tensor;
  }
  const zero = zeroPoints(writer, layer, rounding);
  putDequantize(writer, layer, rounding, { quantized: name, zero, inMatrix: staysInMatrix });
}

/**
 * Whether the levels of `layer` go through a DequantizeLinear: to reach integer kernels, or because
 * onnxruntime would round a float weight to 8 bits with one scale for all, as it does beside
 * activations on a grid.
 */
function needsIntegers(writer: WeightWriter, { target: { input } }: LayerPlan): boolean {
  return writer.inputGrid(input) !== undefined;
}

/** Puts `codes` in the shape `dims` into `writer`; returns the name of the int8 tensor. */
function putCodes(
  writer: WeightWriter,
  weight: string,
  codes: Int8Array,
  dims: readonly number[],
  coding: Coding,
): string {
  const { layout } = coding;
  if (layout.kind === "planes" && layout.widths[0] === 8) {
    const name = writer.name(`${weight}_quantized`);
    return writer.put(rawTensor(name, DataType.INT8, dims, bytesOf(codes)));
  }
  return putPlanes(writer, codes, {
    dims,
    coding,
    output: writer.name(`${weight}_unpacked`),
    weight,
  });
}

/**
 * Puts `codes` into `writer` as planes, and a node that unpacks them into `output`, int8 of shape
 * `dims`.
 */
export function putPlanes(
  writer: ModelWriter,
  codes: Int8Array,
  { weight, dims, coding, output }: {
    /** What names begin with. */
    readonly weight: string;
    readonly dims: readonly number[];
    readonly coding: Coding;
    readonly output: string;
  },
): string {
  const { layout } = coding, digits = digitsOf(coding);
  const planes = packLevels(codes, coding).map((bytes, i) => {
    const name = writer.name(`${weight}_packed_${i}`);
    const plane = writer.put(rawTensor(name, DataType.UINT8, [bytes.length], bytes));
    return [plane, putTable(writer, digits[i])] as const;
  });
  const count = codes.length, cut = count % levelsAtOnce(layout) !== 0;
  return putUnpack(writer, planes, output, { dims, count, cut });
}

/** The levels that the numbers in `codes` have in `codebook`. */
function putCodebook(
  writer: WeightWriter,
  weight: string,
  codes: string,
  codebook: Int8Array,
): string {
  const book = writer.put(
    rawTensor(
      writer.name(`${weight}_codebook`),
      DataType.INT8,
      [codebook.length],
      bytesOf(codebook),
    ),
  );
  const index = writer.name(`${weight}_codes`), levels = writer.name(`${weight}_levels`);
  writer.node("Cast", [codes], index, { to: BigInt(DataType.INT32) });
  writer.node("Gather", [book, index], levels);
  return levels;
}

/** The levels `name` with the offsets of their rows, as float or int8. */
function putOffsets(
  writer: WeightWriter,
  layer: LayerPlan,
  name: string,
  offsets: Int8Array,
  inMatrix: boolean,
  to: DataType,
): string {
  const { weight } = layer.target;
  if (offsets.every((offset) => offset === 0)) {
    if (to === DataType.INT8) return name;
    const float = writer.name(`${weight}_float`);
    writer.node("Cast", [name], float, { to: BigInt(to) });
    return float;
  }
  const dims = rowDims(layer, offsets.length, inMatrix);
  const offset = writer.put(
    rawTensor(writer.name(`${weight}_offset`), DataType.INT8, dims, bytesOf(offsets)),
  );
  return putShift(writer, name, offset, writer.name(`${weight}_shifted`), to);
}

/**
 * The shape of one value per row beside the matrix W, or beside the weight; a scalar serves all.
 */
function rowDims(
  { target: { shape, axis } }: LayerPlan,
  count: number,
  inMatrix: boolean,
): number[] {
  if (count === 1) return [];
  return inMatrix ? [count, 1] : [count, ...shape.slice(axis + 1).map(() => 1)];
}

/** Whether onnxruntime wants to see zero points of `layer`, all 0, before it runs on integers. */
function hasZeroPoints({ target, groupsPerRow }: LayerGrid): boolean {
  return operatorOf(target).integer.needsZeroPoints && groupsPerRow === 1;
}

/** The zero points of `layer`, if it has any. */
function zeroPoints(
  writer: WeightWriter,
  layer: LayerPlan,
  { scales }: Rounding,
): string | undefined {
  if (!hasZeroPoints(layer)) return undefined;
  const { weight } = layer.target;
  const dims = scales.length === 1 ? [] : [scales.length];
  const name = writer.name(`${weight}_zero_point`);
  return writer.put(rawTensor(name, DataType.INT8, dims, new Uint8Array(scales.length)));
}

/**
 * Nodes that multiply float `levels` with their scales. Those are folded into a float weight when
 * the model is opened; a DequantizeLinear would run at every call.
 */
function putFloatWeight(
  writer: WeightWriter,
  layer: LayerPlan,
  { scales }: Rounding,
  levels: string,
  inMatrix: boolean,
): void {
  const { target: { weight }, groupsPerRow } = layer;
  const dims = groupsPerRow > 1
    ? [scales.length / groupsPerRow, groupsPerRow]
    : rowDims(layer, scales.length, inMatrix);
  let scale = writer.put(floatTensor(writer.name(`${weight}_scale`), dims, scales));
  if (groupsPerRow > 1) scale = putGroupScales(writer, layer, scale);
  const product = inMatrix ? writer.name(`${weight}_matrix`) : weight;
  writer.node("Mul", [levels, scale], product);
  if (inMatrix) putTensorOrder(writer, layer, product, weight);
}

/** One scale per weight, rows × depth, out of rows × groups; the last group may be shorter. */
function putGroupScales(writer: WeightWriter, layer: LayerPlan, scale: string): string {
  const { weight, depth } = layer.target;
  const scalar = (what: string, value: number) =>
    writer.put(int64Tensor(writer.name(`${weight}_${what}`), [], [value]));
  const input = writer.name(`${weight}_input`), block = writer.name(`${weight}_block`);
  const spread = writer.name(`${weight}_spread`);
  writer.node("Range", [scalar("zero", 0), scalar("depth", depth), scalar("one", 1)], input);
  writer.node("Div", [input, scalar("block_size", layer.groupSize)], block);
  writer.node("Gather", [scale, block], spread, { axis: 1n });
  return spread;
}
