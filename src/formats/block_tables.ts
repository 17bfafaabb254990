/**
 * Embedding tables in onnxruntime's own operator that takes rows of few bits, com.microsoft
 * GatherBlockQuantized.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { OperatorSetIdProtoSchema } from "../onnx/gen/onnx_pb.ts";
import { makeAttribute } from "../onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import type { NBits } from "../weights/storage.ts";
import type { TableFormat } from "./format.ts";
import { packLevels } from "./packing.ts";
import type { ModelWriter } from "./writer.ts";

/** The domain of onnxruntime's own operators. */
export const MICROSOFT = "com.microsoft";

/** Weights of a row that share a scale, where nothing else is asked for. */
export const NBITS_BLOCK = 32;

/** Tables in GatherBlockQuantized. */
export const blockTables: TableFormat = {
  groupSize: NBITS_BLOCK,
  bitsFor: (bits) => bits <= 2 ? 2 : bits <= 4 ? 4 : 8,
  put(writer, table, { levels, scales }) {
    const { weight, shape: [rows, depth], bits, groupSize, groupsPerRow } = table;
    const quantized = writer.put(
      rawTensor(
        writer.name(`${weight}_quantized`),
        DataType.UINT8,
        [rows, depth * bits / 8],
        fromZero(levels, bits),
      ),
    );
    const scale = writer.put(
      floatTensor(writer.name(`${weight}_scale`), [rows, groupsPerRow], scales),
    );
    importMicrosoft(writer);
    for (const node of writer.model.proto.graph.node) {
      if (node.opType !== "Gather" || node.input[0] !== weight) continue;
      node.opType = "GatherBlockQuantized";
      node.domain = MICROSOFT;
      node.input = [quantized, node.input[1], scale];
      node.attribute = [
        makeAttribute("bits", BigInt(bits)),
        makeAttribute("block_size", BigInt(groupSize)),
        makeAttribute("gather_axis", 0n),
        makeAttribute("quantize_axis", 1n),
      ];
    }
  },
};

/** Says that `writer` uses onnxruntime's own operators. */
export function importMicrosoft({ model: { proto } }: ModelWriter): void {
  if (proto.opsetImport.some(({ domain }) => domain === MICROSOFT)) return;
  proto.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: MICROSOFT, version: 1n }));
}

/** Signed levels of `bits` as bytes of levels from zero up. */
export function fromZero(levels: Int8Array, bits: NBits): Uint8Array {
  const lo = -(2 ** (bits - 1));
  if (bits === 8) return Uint8Array.from(levels, (level) => level - lo);
  const layout = { kind: "planes", widths: [bits] } as const;
  return packLevels(levels.map((level) => level - lo), { layout, signed: false })[0]
    .subarray(0, Math.ceil(levels.length * bits / 8));
}
