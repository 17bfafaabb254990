/**
 * What becomes of an embedding table.
 *
 * @module
 */

import type { NBits } from "./storage.ts";

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
  readonly groupSize: number;
  /** Scales per row. */
  readonly groupsPerRow: number;
  /** Bytes of the table in the model. */
  readonly bytesBefore: number;
  /** Bytes of its levels and scales in the result. */
  readonly bytesAfter: number;
}
