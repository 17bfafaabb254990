/**
 * Embedding tables: constant float32 matrices of which Gather nodes take rows. A format that has an
 * operator for it keeps them in few bits.
 *
 * @module
 */

import { intAttribute } from "../onnx/model.ts";
import { DataType, dimsOf } from "../onnx/tensor.ts";
import { type Graph, isStandard, nodeName } from "../graph/graph.ts";
import { NBITS_BLOCK } from "./storage.ts";
import type { NBits } from "../weights/storage.ts";

/** What becomes of one embedding table. There are no statistics to round it by: nearest levels. */
export interface TablePlan {
  /** The names of the nodes that read it. */
  readonly nodes: readonly string[];
  /** The initializer. */
  readonly weight: string;
  /** Rows, and values per row. */
  readonly shape: readonly [rows: number, depth: number];
  /** Bits of a level. */
  readonly bits: NBits;
  /** Values of a row that share a scale. */
  readonly blockSize: number;
  /** Scales per row. */
  readonly blocksPerRow: number;
  /** Bytes of the table in the model. */
  readonly bytesBefore: number;
  /** Bytes of its levels and scales in the result. */
  readonly bytesAfter: number;
}

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

/** The tables of `graph` that GatherBlockQuantized can hold in `bits`, and those that it cannot. */
export function findTables(
  graph: Graph,
  bits: number,
  blockSize: number = NBITS_BLOCK,
): { tables: TablePlan[]; skipped: SkippedTable[] } {
  const tables = new Map<string, TablePlan>(), skipped: SkippedTable[] = [];
  const width: NBits = bits <= 2 ? 2 : bits <= 4 ? 4 : 8;
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
        : depth % blockSize !== 0
        ? "rows are no whole number of blocks"
        : undefined;
    if (reason !== undefined) {
      skipped.push({ name: nodeName(node), op: node.opType, reason });
      continue;
    }
    const blocksPerRow = depth / blockSize;
    tables.set(tensor.name, {
      nodes: readers.map(nodeName),
      weight: tensor.name,
      shape: [rows, depth],
      bits: width,
      blockSize,
      blocksPerRow,
      bytesBefore: 4 * rows * depth,
      bytesAfter: rows * depth * width / 8 + 4 * rows * blocksPerRow,
    });
  }
  return { tables: [...tables.values()], skipped };
}
