/**
 * Embedding tables: in onnxruntime's GatherBlockQuantized, or as the float values that it returns.
 *
 * @module
 */

import { makeAttribute } from "../onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import type { TablePlan } from "../plan/tables.ts";
import type { Draft } from "./draft.ts";
import { fromZero, importMicrosoft } from "../formats/nbits.ts";
import { dequantize, type Rounding } from "../weights/rounding.ts";

/** Puts every rounded table of `draft` in its place. */
export function putTables(draft: Draft): void {
  const constants = new Set(draft.model.proto.graph.initializer.map((tensor) => tensor.name));
  for (const table of draft.plan.tables) {
    const rounding = draft.parts.tables?.get(table.weight);
    if (rounding === undefined || !constants.has(table.weight)) continue;
    if (draft.format === "matmulnbits") putTable(draft, table, rounding);
    else {
      const { weight, shape, blockSize, blocksPerRow } = table;
      const values = dequantize(
        { target: { depth: shape[1] }, blockSize, blocksPerRow },
        rounding,
      );
      draft.put(floatTensor(weight, shape, values));
    }
  }
}

function putTable(draft: Draft, table: TablePlan, { levels, scales }: Rounding): void {
  const { weight, shape: [rows, depth], bits, blockSize, blocksPerRow } = table;
  const input = [
    draft.put(
      rawTensor(
        draft.name(`${weight}_quantized`),
        DataType.UINT8,
        [rows, depth * bits / 8],
        fromZero(levels, bits),
      ),
    ),
    draft.put(floatTensor(draft.name(`${weight}_scale`), [rows, blocksPerRow], scales)),
  ];
  importMicrosoft(draft);
  for (const node of draft.model.proto.graph.node) {
    if (node.opType !== "Gather" || node.input[0] !== weight) continue;
    node.opType = "GatherBlockQuantized";
    node.domain = "com.microsoft";
    node.input = [input[0], node.input[1], input[1]];
    node.attribute = [
      makeAttribute("bits", BigInt(bits)),
      makeAttribute("block_size", BigInt(blockSize)),
      makeAttribute("gather_axis", 0n),
      makeAttribute("quantize_axis", 1n),
    ];
  }
}
