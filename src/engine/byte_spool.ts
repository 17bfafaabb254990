/**
 * Spools outside of memory, over anything that keeps bytes.
 *
 * @module
 */

import { bytesOf, type TypedArray } from "../onnx/tensor.ts";
import { type Batch, notBySample, type SampleAt, type Spool, stackedDims } from "./spool.ts";

/** Some bytes of a store. */
export interface Region {
  /** Where they begin. */
  readonly offset: number;
  /** How many they are. */
  readonly bytes: number;
}

/** What keeps the bytes of a spool. */
export interface ByteStore {
  /** Keeps `bytes`; returns where. */
  write(bytes: Uint8Array): number;
  /** Fills `bytes` with what lies at `offset`. */
  read(bytes: Uint8Array, offset: number): void;
  /** Lets go of all that the spool has written. */
  free(regions: readonly Region[]): void;
}

interface Entry extends Region {
  readonly type: string;
  readonly dims: readonly number[];
  readonly ArrayType: new (buffer: ArrayBuffer) => TypedArray;
}

/** A spool whose tensors lie in `store`, one after another; an index of them is in memory. */
export class ByteSpool implements Spool {
  readonly #store: ByteStore;
  readonly #index: Record<string, Entry>[] = [];

  /** An empty spool. */
  constructor(store: ByteStore) {
    this.#store = store;
  }

  /** Number of batches. */
  get length(): number {
    return this.#index.length;
  }

  /** Appends a batch. */
  append(batch: Batch): void {
    this.#index.push(Object.fromEntries(
      Object.entries(batch).map(([name, { type, dims, data }]) => {
        const bytes = bytesOf(data), offset = this.#store.write(bytes);
        const ArrayType = data.constructor as Entry["ArrayType"];
        return [name, { type, dims, offset, bytes: bytes.length, ArrayType }];
      }),
    ));
  }

  /** Reads batch `index`. */
  read(index: number): Batch {
    return Object.fromEntries(
      Object.entries(this.#index[index]).map(([name, { type, dims, offset, bytes, ArrayType }]) => {
        const read = new Uint8Array(bytes);
        this.#store.read(read, offset);
        return [name, { type, dims, data: new ArrayType(read.buffer) }];
      }),
    );
  }

  /** Reads single samples. */
  pick(samples: readonly SampleAt[], names: readonly string[]): Batch {
    return Object.fromEntries(names.map((name) => {
      const first = this.#index[samples[0].batch][name], { of } = samples[0];
      const dims = stackedDims(name, first.dims, of, samples.length);
      const size = first.bytes / of, read = new Uint8Array(size * samples.length);
      samples.forEach(({ batch, row, of }, i) => {
        const { offset, bytes } = this.#index[batch][name];
        if (bytes !== size * of) throw notBySample(name);
        this.#store.read(read.subarray(i * size, (i + 1) * size), offset + row * size);
      });
      return [name, {
        type: first.type,
        dims,
        data: new first.ArrayType(read.buffer),
      }];
    }));
  }

  /** Lets go of all batches. */
  [Symbol.dispose](): void {
    this.#store.free(this.#index.flatMap((entries) => Object.values(entries)));
    this.#index.length = 0;
  }
}
