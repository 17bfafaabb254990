/**
 * A weight in onnxruntime's own operator for matrix products with few bits, com.microsoft
 * MatMulNBits: W as rows × blocks × bytes, levels less the smallest one, several to a byte from the
 * lowest bits up.
 *
 * @module
 */

import { makeAttribute } from "../onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/matrix.ts";
import { hasBias } from "../weights/operators.ts";
import { dequantize, type Rounding } from "../weights/rounding.ts";
import type { NBits, Storage } from "../weights/storage.ts";
import type { Target } from "../weights/target.ts";
import type { Format, LayerGrid, Stored } from "./format.ts";
import { blockTables, fromZero, importMicrosoft, MICROSOFT, NBITS_BLOCK } from "./block_tables.ts";
import { OPSETS } from "./opsets.ts";
import { packed, packedStorage } from "./packed.ts";
import { windowOffsets, withoutOffsets } from "./packing.ts";
import type { WeightWriter } from "./writer.ts";

/** The weight of a MatMulNBits node. */
export interface NBitsStorage extends Storage {
  /** Bits of a level. */
  readonly bits: NBits;
  /** Weights of a row that share a scale, a power of two of at least 16. */
  readonly groupSize: number;
}

/** The block sizes that MatMulNBits takes. */
const NBITS_BLOCKS = [16, 32, 64, 128, 256];

/** MatMulNBits where there is one for a layer; others are packed. */
export const matmulnbits: Format<NBitsStorage> = {
  name: "matmulnbits",
  doc: "onnxruntime's MatMulNBits for matrix products, else packed",
  storage(layer) {
    const fallback = refusal(layer), { granularity } = layer;
    if (fallback !== undefined) return { ...packedStorage(layer), fallback };
    const groupSize = granularity.kind === "group" ? granularity.size : NBITS_BLOCK;
    return {
      format: "matmulnbits",
      bits: layer.bits as NBits,
      groupSize,
    } satisfies NBitsStorage;
  },
  opset: () => OPSETS.channels,
  bytes({ target: { rows, depth }, storage: { bits, groupSize }, windows }) {
    const blocks = Math.ceil(depth / groupSize);
    return {
      levels: rows * blocks * groupSize * bits / 8,
      zeros: windows.lows.length > 1 ? rows * Math.ceil(blocks * bits / 8) : 0,
    };
  },
  put: putNBits,
  floatInput: true,
  tables: blockTables,
  shortNames: packed.shortNames,
  cutAs: packed.cutAs,
};

/** Why `layer` cannot be a MatMulNBits node; undefined where it can. */
function refusal({ target, bits, grid, granularity }: LayerGrid): string | undefined {
  const { op, geometry, weight, weightInput, node } = target;
  if (geometry.kind === "window" || hasBias(target)) return `MatMulNBits is no ${op}`;
  if (weightInput === 0) return "MatMulNBits has its weight on the right";
  if (weight !== node.input[1]) return "MatMulNBits has its weight to itself";
  if (grid.kind === "piecewise") return "levels of MatMulNBits are evenly spaced";
  if (grid.kind === "nested") return "levels of MatMulNBits are not cut";
  if (bits !== 2 && bits !== 4 && bits !== 8) return "MatMulNBits has 2, 4 or 8 bits";
  if (granularity.kind === "group" && !NBITS_BLOCKS.includes(granularity.size)) {
    return `MatMulNBits has blocks of ${NBITS_BLOCKS.join(", ")}`;
  }
  return undefined;
}

/** Turns every node that multiplies with the weight of `layer` into a MatMulNBits. */
function putNBits(
  writer: WeightWriter,
  layer: LayerPlan & Stored<NBitsStorage>,
  rounding: Rounding,
): void {
  const { target, storage: { bits, groupSize } } = layer, { weight, shape, rows, depth } = target;
  const blocks = Math.ceil(depth / groupSize);
  const offsets = windowOffsets(rounding.lows, layer.windows.span, bits);
  const levels = padRows(withoutOffsets(rounding.levels, offsets), depth, blocks * groupSize);
  const put = (what: string, dims: readonly number[], values: Int8Array) =>
    writer.put(
      rawTensor(
        writer.name(`${weight}_${what}`),
        DataType.UINT8,
        dims,
        fromZero(values, bits),
      ),
    );
  const input = [
    put("quantized", [rows, blocks, groupSize * bits / 8], levels),
    putScales(writer, layer, rounding.scales, blocks),
  ];
  if (offsets.some((offset) => offset !== 0)) {
    // The level of zero, 2^(bits−1) where nothing is said, of every block; rows begin a new byte.
    const perByte = 8 / bits, width = Math.ceil(blocks / perByte) * perByte;
    const zeros = Int8Array.from(
      { length: rows * width },
      (_, i) => -offsets[offsets.length === 1 ? 0 : Math.floor(i / width)],
    );
    input.push(put("zero_point", [rows, width / perByte], zeros));
  }
  importMicrosoft(writer);
  replaceNodes(writer, target, input, { bits, groupSize });
  // Whoever else reads the weight must see what it was rounded to.
  writer.put(floatTensor(weight, shape, toTensorOrder(target, dequantize(layer, rounding))));
}

/** Lets the nodes of the operator of `target` that read its weight read `input` in its place. */
function replaceNodes(
  { model }: WeightWriter,
  { op, weight, rows, depth }: Target,
  input: readonly string[],
  { bits, groupSize }: Pick<NBitsStorage, "bits" | "groupSize">,
): void {
  for (const node of model.proto.graph.node) {
    if (node.opType !== op || node.input[1] !== weight) continue;
    node.opType = "MatMulNBits";
    node.domain = MICROSOFT;
    node.input = [node.input[0], ...input];
    node.attribute = [
      makeAttribute("K", BigInt(depth)),
      makeAttribute("N", BigInt(rows)),
      makeAttribute("bits", BigInt(bits)),
      makeAttribute("block_size", BigInt(groupSize)),
      // Sums in float32: 4 would round activations to 8 bits.
      makeAttribute("accuracy_level", 1n),
    ];
  }
}

/** Rows of `depth` levels, each filled up to `width` by zeros. */
function padRows(levels: Int8Array, depth: number, width: number): Int8Array {
  if (depth === width) return levels;
  const rows = levels.length / depth, padded = new Int8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    padded.set(levels.subarray(row * depth, (row + 1) * depth), row * width);
  }
  return padded;
}

/**
 * The scales, rows × blocks; where a row has one, or all have, an Expand that is folded spreads it.
 */
function putScales(
  writer: WeightWriter,
  layer: LayerPlan,
  scales: Float32Array,
  blocks: number,
): string {
  const { weight, rows } = layer.target;
  const name = writer.name(`${weight}_scale`);
  if (scales.length === rows * blocks) return writer.put(floatTensor(name, [rows, blocks], scales));
  const dims = scales.length === 1 ? [] : [rows, 1];
  const perRow = writer.put(floatTensor(writer.name(`${weight}_row_scale`), dims, scales));
  const shape = writer.put(int64Tensor(writer.name(`${weight}_blocks`), [2], [rows, blocks]));
  writer.node("Expand", [perRow, shape], name);
  return name;
}
