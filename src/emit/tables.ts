/**
 * Embedding tables: as the format keeps them, or as the float values that it returns.
 *
 * @module
 */

import { floatTensor } from "../onnx/tensor.ts";
import { dequantize } from "../weights/rounding.ts";
import type { QuantizedModelWriter } from "./quantized_model_writer.ts";

/** Puts every rounded table of `writer` in its place. */
export function putTables(writer: QuantizedModelWriter): void {
  const constants = new Set(writer.model.proto.graph.initializer.map((tensor) => tensor.name));
  for (const table of writer.plan.tables) {
    const rounding = writer.parts.tables?.get(table.weight);
    if (rounding === undefined || !constants.has(table.weight)) continue;
    const { tables } = writer.formatFor(writer.plan.options.format);
    if (tables) tables.put(writer, table, rounding);
    else {
      const { weight, shape, groupSize, groupsPerRow } = table;
      const values = dequantize(
        { target: { depth: shape[1] }, groupSize, groupsPerRow },
        rounding,
      );
      writer.put(floatTensor(weight, shape, values));
    }
  }
}
