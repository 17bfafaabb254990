/**
 * A weight in onnxruntime's own operator for matrix products with few bits, com.microsoft MatMulNBits:
 * W as rows × blocks × bytes, levels less the smallest one, several to a byte from the lowest bits up.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { OperatorSetIdProtoSchema } from "../onnx/gen/onnx_pb.ts";
import { makeAttribute } from "../onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/targets.ts";
import type { WeightWriter } from "./writer.ts";
import { packLevels, windowOffsets, withoutOffsets } from "./packing.ts";
import { dequantize, type Rounding } from "../weights/rounding.ts";

/** The domain of onnxruntime's own operators. */
const MICROSOFT = "com.microsoft";

/** Says that `writer` uses onnxruntime's own operators. */
export function importMicrosoft({ model: { proto } }: WeightWriter): void {
  if (proto.opsetImport.some(({ domain }) => domain === MICROSOFT)) return;
  proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: MICROSOFT, version: 1n }));
}

/** Turns every MatMul that reads the weight of `layer` into a MatMulNBits. */
export function putNBits(writer: WeightWriter, layer: LayerPlan, rounding: Rounding): void {
  const { weight, rows, depth } = layer.target;
  const { storage } = layer;
  if (storage.kind !== "matmulnbits") throw new Error(`${weight} is no weight of MatMulNBits`);
  const { bits, blockSize } = storage, { levels, scales, lows } = rounding;
  const blocks = Math.ceil(depth / blockSize);
  const offsets = windowOffsets(lows, layer.windows.span, bits);
  const matrix = padRows(withoutOffsets(levels, offsets), depth, blocks * blockSize);
  const prefix = `${weight}_quantized`;
  const input = [
    writer.put(
      rawTensor(
        writer.name(prefix),
        DataType.UINT8,
        [rows, blocks, blockSize * bits / 8],
        fromZero(matrix, bits),
      ),
    ),
    putScales(writer, layer, scales, blocks),
  ];
  if (offsets.some((offset) => offset !== 0)) {
    // The level of zero, 2^(bits−1) where nothing is said, of every block; rows begin a new byte.
    const perByte = 8 / bits, width = Math.ceil(blocks / perByte) * perByte;
    const zeros = Int8Array.from(
      { length: rows * width },
      (_, i) => -offsets[offsets.length === 1 ? 0 : Math.floor(i / width)],
    );
    input.push(
      writer.put(
        rawTensor(
          writer.name(`${weight}_zero_point`),
          DataType.UINT8,
          [rows, width / perByte],
          fromZero(zeros, bits),
        ),
      ),
    );
  }
  importMicrosoft(writer);
  for (const node of writer.model.proto.graph.node) {
    if (node.opType !== "MatMul" || node.input[1] !== weight) continue;
    node.opType = "MatMulNBits";
    node.domain = MICROSOFT;
    node.input = [node.input[0], ...input];
    node.attribute = [
      makeAttribute("K", BigInt(depth)),
      makeAttribute("N", BigInt(rows)),
      makeAttribute("bits", BigInt(bits)),
      makeAttribute("block_size", BigInt(blockSize)),
      // Sums in float32: 4 would round activations to 8 bits.
      makeAttribute("accuracy_level", 1n),
    ];
  }
  // Whoever else reads the weight must see what it was rounded to.
  const values = toTensorOrder(layer.target, dequantize(layer, rounding));
  writer.put(floatTensor(weight, layer.target.shape, values));
}

/** Signed levels of `bits` as bytes of levels from zero up. */
export function fromZero(levels: Int8Array, bits: 2 | 4 | 8): Uint8Array {
  const lo = -(2 ** (bits - 1));
  if (bits === 8) return Uint8Array.from(levels, (level) => level - lo);
  const layout = { kind: "planes", widths: [bits] } as const;
  return packLevels(levels.map((level) => level - lo), { layout, signed: false })[0]
    .subarray(0, Math.ceil(levels.length * bits / 8));
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

/** The scales, rows × blocks; where a row has one, or all have, an Expand that is folded spreads it. */
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
  const own = writer.put(floatTensor(writer.name(`${weight}_row_scale`), dims, scales));
  const shape = writer.put(int64Tensor(writer.name(`${weight}_blocks`), [2], [rows, blocks]));
  writer.node("Expand", [own, shape], name);
  return name;
}
