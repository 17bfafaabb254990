/**
 * A weight as bytes that standard operators unpack. onnxruntime runs them once, when it opens the
 * model (constant folding, at any optimization level), and then sees int8 levels or float weights.
 *
 * A table look-up turns a byte into its levels: Gather of 256 × levels-per-byte. Shifts and masks do
 * the same with two to four times the time and memory at load.
 *
 * @module
 */

import { bytesOf, DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../plan/layer.ts";
import { levelsAtOnce, planesOf } from "../plan/storage.ts";
import { toTensorOrder } from "../plan/targets.ts";
import type { Draft, ModelWriter } from "./draft.ts";
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
import type { Rounding } from "./rounding.ts";
import { putDequantize, putTensorOrder, staysMatrix } from "./qdq.ts";

/** Puts the weight of `layer` into `draft` as packed bytes. */
export function putPacked(draft: Draft, layer: LayerPlan, rounding: Rounding): void {
  const { target, bits, storage } = layer;
  const { weight, shape, axis, groups, rows, depth } = target;
  const { levels, lows, codebook } = rounding;
  const layout = storage.kind === "packed" ? storage.layout : planesOf(bits);
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

  draft.remove(weight);
  let name = putCodes(draft, weight, ordered, dims, coding);
  if (codebook) name = putCodebook(draft, weight, name, codebook);
  if (!needsIntegers(draft, layer)) {
    const float = putOffsets(draft, layer, name, offsets, inMatrix, DataType.FLOAT);
    putFloatWeight(draft, layer, rounding, float, inMatrix);
    return;
  }
  name = putOffsets(draft, layer, name, offsets, inMatrix, DataType.INT8);
  if (inMatrix && !staysInMatrix) {
    const tensor = draft.name(`${weight}_levels`);
    putTensorOrder(draft, layer, name, tensor);
    name = tensor;
  }
  const zero = zeroPoints(draft, layer, rounding);
  putDequantize(draft, layer, rounding, { quantized: name, zero, inMatrix: staysInMatrix });
}

/**
 * Whether the levels of `layer` go through a DequantizeLinear: to reach integer kernels, or because
 * onnxruntime would round a float weight to 8 bits with one scale for all, as it does beside activations
 * on a grid.
 */
function needsIntegers(draft: Draft, { target: { input } }: LayerPlan): boolean {
  return draft.inputGrid(input) !== undefined;
}

/** Puts `codes` in the shape `dims` into `draft`; returns the name of the int8 tensor. */
function putCodes(
  draft: Draft,
  weight: string,
  codes: Int8Array,
  dims: readonly number[],
  coding: Coding,
): string {
  const { layout } = coding;
  if (layout.kind === "planes" && layout.widths[0] === 8) {
    const name = draft.name(`${weight}_quantized`);
    return draft.put(rawTensor(name, DataType.INT8, dims, bytesOf(codes)));
  }
  return putPlanes(draft, codes, {
    dims,
    coding,
    output: draft.name(`${weight}_unpacked`),
    weight,
  });
}

/** Puts `codes` into `draft` as planes, and a node that unpacks them into `output`, int8 of shape `dims`. */
export function putPlanes(
  draft: ModelWriter,
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
    const name = draft.name(`${weight}_packed_${i}`);
    const plane = draft.put(rawTensor(name, DataType.UINT8, [bytes.length], bytes));
    return [plane, putTable(draft, digits[i])] as const;
  });
  const count = codes.length, cut = count % levelsAtOnce(layout) !== 0;
  return putUnpack(draft, planes, output, { dims, count, cut });
}

/** The levels that the numbers in `codes` have in `codebook`. */
function putCodebook(draft: Draft, weight: string, codes: string, codebook: Int8Array): string {
  const book = draft.put(
    rawTensor(
      draft.name(`${weight}_codebook`),
      DataType.INT8,
      [codebook.length],
      bytesOf(codebook),
    ),
  );
  const index = draft.name(`${weight}_codes`), levels = draft.name(`${weight}_levels`);
  draft.node("Cast", [codes], index, { to: BigInt(DataType.INT32) });
  draft.node("Gather", [book, index], levels);
  return levels;
}

/** The levels `name` with the offsets of their rows, as float or int8. */
function putOffsets(
  draft: Draft,
  layer: LayerPlan,
  name: string,
  offsets: Int8Array,
  inMatrix: boolean,
  to: DataType,
): string {
  const { weight } = layer.target;
  if (offsets.every((offset) => offset === 0)) {
    if (to === DataType.INT8) return name;
    const float = draft.name(`${weight}_float`);
    draft.node("Cast", [name], float, { to: BigInt(to) });
    return float;
  }
  const dims = rowDims(layer, offsets.length, inMatrix);
  const offset = draft.put(
    rawTensor(draft.name(`${weight}_offset`), DataType.INT8, dims, bytesOf(offsets)),
  );
  return putShift(draft, name, offset, draft.name(`${weight}_shifted`), to);
}

/** The shape of one value per row beside the matrix W, or beside the weight; a scalar serves all. */
function rowDims(
  { target: { shape, axis } }: LayerPlan,
  count: number,
  inMatrix: boolean,
): number[] {
  if (count === 1) return [];
  return inMatrix ? [count, 1] : [count, ...shape.slice(axis + 1).map(() => 1)];
}

/**
 * The zero points, all 0, that onnxruntime wants to see before it runs a Gemm on integers; other
 * layers need none.
 */
function zeroPoints(draft: Draft, layer: LayerPlan, { scales }: Rounding): string | undefined {
  const { op, weight } = layer.target;
  if (op !== "Gemm" || layer.blocksPerRow > 1) return undefined;
  const dims = scales.length === 1 ? [] : [scales.length];
  const name = draft.name(`${weight}_zero_point`);
  return draft.put(rawTensor(name, DataType.INT8, dims, new Uint8Array(scales.length)));
}

/**
 * Nodes that multiply float `levels` with their scales. Those are folded into a float weight when the
 * model is opened; a DequantizeLinear would run at every call.
 */
function putFloatWeight(
  draft: Draft,
  layer: LayerPlan,
  { scales }: Rounding,
  levels: string,
  inMatrix: boolean,
): void {
  const { target: { weight }, blocksPerRow } = layer;
  const dims = blocksPerRow > 1
    ? [scales.length / blocksPerRow, blocksPerRow]
    : rowDims(layer, scales.length, inMatrix);
  let scale = draft.put(floatTensor(draft.name(`${weight}_scale`), dims, scales));
  if (blocksPerRow > 1) scale = putBlockScales(draft, layer, scale);
  const product = inMatrix ? draft.name(`${weight}_matrix`) : weight;
  draft.node("Mul", [levels, scale], product);
  if (inMatrix) putTensorOrder(draft, layer, product, weight);
}

/** One scale per weight, rows × depth, out of rows × blocks; the last block may be shorter. */
function putBlockScales(draft: Draft, layer: LayerPlan, scale: string): string {
  const { weight, depth } = layer.target;
  const scalar = (what: string, value: number) =>
    draft.put(int64Tensor(draft.name(`${weight}_${what}`), [], [value]));
  const input = draft.name(`${weight}_input`), block = draft.name(`${weight}_block`);
  const spread = draft.name(`${weight}_spread`);
  draft.node("Range", [scalar("zero", 0), scalar("depth", depth), scalar("one", 1)], input);
  draft.node("Div", [input, scalar("block_size", layer.blockSize)], block);
  draft.node("Gather", [scale, block], spread, { axis: 1n });
  return spread;
}
