/**
 * Spools in files, for Deno and Node: memory stays the same for any number of samples.
 *
 * @module
 */

import { closeSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { bytesOf, type TypedArray } from "../onnx/tensor.ts";
import { AttuneError } from "../errors.ts";
import { type Batch, type SampleAt, type Spool, type SpoolFactory, stackedDims } from "./spool.ts";

interface Entry {
  readonly type: string;
  readonly dims: readonly number[];
  readonly offset: number;
  readonly bytes: number;
  readonly ArrayType: new (buffer: ArrayBuffer) => TypedArray;
}

/** A factory of spools, each a file in `folder`, removed when it is disposed of. */
export function fileSpools(folder: string): SpoolFactory {
  return () => new FileSpool(join(folder, `${randomUUID()}.spool`));
}

class FileSpool implements Spool {
  readonly #path: string;
  readonly #file: number;
  readonly #index: Record<string, Entry>[] = [];
  #end = 0;

  constructor(path: string) {
    this.#path = path;
    this.#file = openSync(path, "wx+");
  }

  get length(): number {
    return this.#index.length;
  }

  append(batch: Batch): void {
    const entries: Record<string, Entry> = {};
    for (const [name, { type, dims, data }] of Object.entries(batch)) {
      const bytes = bytesOf(data);
      try {
        for (let done = 0; done < bytes.length;) {
          done += writeSync(this.#file, bytes, done, bytes.length - done, this.#end + done);
        }
      } catch (cause) {
        throw new AttuneError(
          "bad-output",
          `Cannot write calibration data to ${this.#path}: ${(cause as Error).message}; ` +
            `free some space or set TMPDIR to a larger disk`,
          { cause },
        );
      }
      const ArrayType = data.constructor as Entry["ArrayType"];
      entries[name] = { type, dims, offset: this.#end, bytes: bytes.length, ArrayType };
      this.#end += bytes.length;
    }
    this.#index.push(entries);
  }

  read(index: number): Batch {
    const batch: Batch = {};
    for (const [name, entry] of Object.entries(this.#index[index])) {
      const bytes = new Uint8Array(entry.bytes);
      this.#fill(bytes, entry.offset);
      batch[name] = { type: entry.type, dims: entry.dims, data: new entry.ArrayType(bytes.buffer) };
    }
    return batch;
  }

  pick(samples: readonly SampleAt[], names: readonly string[]): Batch {
    return Object.fromEntries(names.map((name) => {
      const first = this.#index[samples[0].batch][name], { of } = samples[0];
      const size = first.bytes / of, bytes = new Uint8Array(size * samples.length);
      samples.forEach(({ batch, row }, i) => {
        const { offset } = this.#index[batch][name];
        this.#fill(bytes.subarray(i * size, (i + 1) * size), offset + row * size);
      });
      return [name, {
        type: first.type,
        dims: stackedDims(first.dims, of, samples.length),
        data: new first.ArrayType(bytes.buffer),
      }];
    }));
  }

  /** Fills `bytes` with what lies at `offset`. */
  #fill(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length;) {
      const read = readSync(this.#file, bytes, done, bytes.length - done, offset + done);
      if (read === 0) throw new AttuneError("internal", `Cannot read ${this.#path}: it is cut off`);
      done += read;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
    rmSync(this.#path, { force: true });
  }
}
