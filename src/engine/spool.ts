/**
 * Spools: the tensors that cross from one part of the model to the next, batch by batch, kept
 * outside of memory where that is possible.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
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

/**
 * The shape of `count` samples of the tensor `name`, where `of` of them have the shape `dims`.
 *
 * @throws {AttuneError} `bad-model` where the first axis cannot be that of the samples.
 */
export function stackedDims(
  name: string,
  dims: readonly number[],
  of: number,
  count: number,
): readonly number[] {
  if (of === 1 && count === 1) return dims;
  if (dims.length === 0 || dims[0] % of !== 0) throw notBySample(name);
  return [dims[0] / of * count, ...dims.slice(1)];
}

/** Says that samples cannot be told apart in the tensor `name`. */
export function notBySample(name: string): AttuneError {
  return new AttuneError(
    "bad-model",
    `the tensor "${name}" does not have samples along its first axis`,
  );
}

/** Makes a new, empty spool. */
export type SpoolFactory = () => Spool;

/**
 * Spools that keep batches in memory up to `bytes` in all, and what is more in those of `beyond`.
 * Memory is free again when a spool is disposed of.
 */
export function cachedSpools(bytes: number, beyond: SpoolFactory): SpoolFactory {
  let bytesLeft = bytes;
  return () => {
    const near = memorySpool(), far = beyond();
    /** Where each batch lies. */
    const places: { readonly spool: Spool; readonly index: number }[] = [];
    let held = 0;
    return {
      get length() {
        return places.length;
      },
      append(batch) {
        const size = Object.values(batch).reduce((sum, { data }) => sum + data.byteLength, 0);
        const spool = size <= bytesLeft ? near : far;
        if (spool === near) {
          bytesLeft -= size;
          held += size;
        }
        places.push({ spool, index: spool.length });
        spool.append(batch);
      },
      read: (index) => places[index].spool.read(places[index].index),
      pick(samples, names) {
        // One by one: neighbours may lie in different places.
        const parts = samples.map(({ batch, ...at }) => {
          const { spool, index } = places[batch];
          return spool.pick([{ ...at, batch: index }], names);
        });
        return stack(parts);
      },
      [Symbol.dispose]() {
        bytesLeft += held;
        near[Symbol.dispose]();
        far[Symbol.dispose]();
      },
    };
  };
}

/** Batches of one sample each, one after another. */
function stack(parts: readonly Batch[]): Batch {
  if (parts.length === 1) return parts[0];
  return Object.fromEntries(
    Object.entries(parts[0]).map(([name, { type, dims, data }]) => {
      const ArrayType = data.constructor as new (length: number) => TypedArray;
      const alike = parts.every((part) => part[name].dims.join() === dims.join());
      if (dims.length === 0 || !alike) throw notBySample(name);
      const stacked = new ArrayType(data.length * parts.length);
      parts.forEach((part, i) => stacked.set(part[name].data as never, i * data.length));
      return [name, { type, dims: [dims[0] * parts.length, ...dims.slice(1)], data: stacked }];
    }),
  );
}

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
        const taken = stackedDims(name, dims, samples[0].of, samples.length);
        const size = data.length / samples[0].of;
        for (const { batch, of } of samples) {
          if (batches[batch][name].data.length !== size * of) throw notBySample(name);
        }
        const ArrayType = data.constructor as new (length: number) => TypedArray;
        const stacked = new ArrayType(size * samples.length);
        samples.forEach(({ batch, row }, i) => {
          const from = batches[batch][name].data as typeof stacked;
          stacked.set(from.subarray(row * size, (row + 1) * size) as never, i * size);
        });
        return [name, { type, dims: taken, data: stacked }];
      }));
    },
    [Symbol.dispose]: () => void (batches.length = 0),
  };
}
