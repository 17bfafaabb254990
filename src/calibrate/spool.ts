/**
 * Spools: the tensors that cross from one part of the model to the next, batch by batch, kept outside
 * of memory where that is possible.
 *
 * @module
 */

import type { Value } from "../runtime/session.ts";

/** The tensors of one batch by name. */
export type Batch = Record<string, Value>;

/** A list of batches that is written once, read any number of times, and then disposed of. */
export interface Spool extends Disposable {
  /** Number of batches. */
  readonly length: number;
  /** Appends a batch. */
  append(batch: Batch): void;
  /** Reads batch `index`. */
  read(index: number): Batch;
}

/** Makes a new, empty spool. */
export type SpoolFactory = () => Spool;

/** Spools in memory, for browsers and small jobs. */
export function memorySpool(): Spool {
  const batches: Batch[] = [];
  return {
    get length() {
      return batches.length;
    },
    append: (batch) => void batches.push(batch),
    read: (index) => batches[index],
    [Symbol.dispose]: () => void (batches.length = 0),
  };
}
