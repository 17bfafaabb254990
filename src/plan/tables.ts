/**
 * Embedding tables: constant float32 matrices of which Gather nodes take rows. A format that has an
 * operator for it keeps them in few bits.
 *
 * @module
 */

import { intAttribute } from "../onnx/model.ts";
import { DataType, dimsOf } from "../onnx/tensor.ts";
import { type Graph, isStandard, nodeName } from "../graph/graph.ts";
import type { TableFormat } from "../formats/format.ts";
import type { TablePlan } from "../weights/table.ts";

/** Why a Gather keeps its table in float. */
export type TableSkipReason =
  | "table is read by another operator"
  | "rows are no whole number of blocks";

/** A Gather that keeps its table in float. */
export interface SkippedTable {
  /** The node's name. */
  readonly name: string;
  /** Its operator. */
  readonly op: string;
  /** Why. */
  readonly reason: TableSkipReason;
  /** The table, and its bytes. */
  readonly weight?: string;
  /** Bytes of the table. */
  readonly bytes?: number;
}

/** The tables of `graph` that `format` can hold in `bits`, and those that it cannot. */
export function findTables(
  graph: Graph,
  bits: number,
  { groupSize, bitsFor }: TableFormat,
): { tables: TablePlan[]; skipped: SkippedTable[] } {
  const tables = new Map<string, TablePlan>(), skipped: SkippedTable[] = [];
  const width = bitsFor(bits);
  for (const node of graph.nodes) {
    if (!isStandard(node) || node.opType !== "Gather" || intAttribute(node, "axis", 0) !== 0) {
      continue;
    }
    const tensor = graph.constant(node.input[0]);
    if (tensor?.dataType !== DataType.FLOAT || tensor.dims.length !== 2) continue;
    const [rows, depth] = dimsOf(tensor);
    // Index tables and the like are not worth an operator.
    if (rows * depth < 1024 || tables.has(tensor.name)) continue;
    const readers = graph.consumers(tensor.name);
    const reason: TableSkipReason | undefined =
      graph.isOutput(tensor.name) || readers.some((reader) =>
          !isStandard(reader) || reader.opType !== "Gather" || reader.input[0] !== tensor.name ||
          intAttribute(reader, "axis", 0) !== 0
        )
        ? "table is read by another operator"
        : depth % groupSize !== 0
        ? "rows are no whole number of blocks"
        : undefined;
    if (reason !== undefined) {
      skipped.push({ name: nodeName(node), op: node.opType, reason });
      continue;
    }
    const groupsPerRow = depth / groupSize;
    tables.set(tensor.name, {
      nodes: readers.map(nodeName),
      weight: tensor.name,
      shape: [rows, depth],
      bits: width,
      groupSize,
      groupsPerRow,
      bytesBefore: 4 * rows * depth,
      bytesAfter: rows * depth * width / 8 + 4 * rows * groupsPerRow,
    });
  }
  return { tables: [...tables.values()], skipped };
}
