/**
 * Spools: the tensors that cross from one part of the model to the next, batch by batch, kept outside
 * of memory where that is possible.
 *
 * @module
 */

import type { TypedArray } from "../onnx/tensor.ts";
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
  /** Reads single samples of the tensors `names`, stacked along their first axis. */
  pick(samples: readonly SampleAt[], names: readonly string[]): Batch;
}

/** Where a sample lies in a spool. */
export interface SampleAt {
  /** Index of its batch. */
  readonly batch: number;
  /** Its number in the batch. */
  readonly row: number;
  /** Samples in the batch. */
  readonly of: number;
}

/** The shape of `count` samples, where `of` of them have the shape `dims`. */
export function stackedDims(dims: readonly number[], of: number, count: number): number[] {
  return [dims[0] / of * count, ...dims.slice(1)];
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
    pick(samples, names) {
      return Object.fromEntries(names.map((name) => {
        const { type, dims, data } = batches[samples[0].batch][name];
        const size = data.length / samples[0].of;
        const ArrayType = data.constructor as new (length: number) => TypedArray;
        const stacked = new ArrayType(size * samples.length);
        samples.forEach(({ batch, row }, i) => {
          const from = batches[batch][name].data as typeof stacked;
          stacked.set(from.subarray(row * size, (row + 1) * size) as never, i * size);
        });
        return [name, {
          type,
          dims: stackedDims(dims, samples[0].of, samples.length),
          data: stacked,
        }];
      }));
    },
    [Symbol.dispose]: () => void (batches.length = 0),
  };
}
