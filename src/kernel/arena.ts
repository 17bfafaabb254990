/**
 * The memory of a kernel, handed out from front to back.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";

/** Bytes of a page of WebAssembly memory. */
const PAGE = 65536;
/** A 32-bit memory ends here. */
const MOST_BYTES = 2 ** 32 - PAGE;

/** Float32 elements in a kernel's memory. */
export interface Buffer {
  /** Byte address. */
  readonly pointer: number;
  /** Number of elements. */
  readonly length: number;
  /** The elements. Ask anew after another buffer was made: growth detaches old views. */
  readonly view: Float32Array;
}

/** A stack of buffers: `mark()` remembers its end, `reset(mark)` frees all that was made since. */
export class Arena {
  readonly #memory: WebAssembly.Memory;
  #end: number;

  /** An arena in `memory` from the byte address `start` on. */
  constructor(memory: WebAssembly.Memory, start: number) {
    this.#memory = memory;
    this.#end = align(start);
  }

  /** The end, for {@linkcode reset}. */
  mark(): number {
    return this.#end;
  }

  /** Frees every buffer that was made since `mark`. */
  reset(mark: number): void {
    this.#end = mark;
  }

  /** Makes a buffer: of that many zeros, or a copy of those elements. */
  f32(source: number | Float32Array | Buffer): Buffer {
    const memory = this.#memory, length = typeof source === "number" ? source : source.length;
    const pointer = this.allocate(length * 4);
    const buffer: Buffer = {
      pointer,
      length,
      get view() {
        return new Float32Array(memory.buffer, pointer, length);
      },
    };
    if (typeof source === "number") buffer.view.fill(0);
    else buffer.view.set("view" in source ? source.view : source);
    return buffer;
  }

  /**
   * Takes `bytes`; returns their address, a multiple of 16.
   *
   * @throws {AttuneError} `too-large` where the memory would pass 4 GiB, or the host has no more.
   */
  allocate(bytes: number): number {
    const pointer = this.#end, end = align(pointer + bytes);
    const held = this.#memory.buffer.byteLength;
    if (end > held) {
      // At least an eighth more, so that many small buffers do not grow it many times.
      const wish = Math.min(Math.max(end, held * 1.125), MOST_BYTES);
      try {
        if (end > MOST_BYTES) throw new RangeError("A 32-bit memory ends at 4 GiB");
        this.#memory.grow(Math.ceil((wish - held) / PAGE));
      } catch (cause) {
        throw new AttuneError(
          "too-large",
          `Cannot get ${(bytes / 2 ** 20).toFixed(0)} MiB for a matrix beside ` +
            `${(pointer / 2 ** 20).toFixed(0)} MiB in use; leave large layers in float`,
          { cause, remedies: [{ option: "overrides" }] },
        );
      }
    }
    this.#end = end;
    return pointer;
  }

  /** Runs `work` with `bytes` of working memory, which is free again afterwards. */
  borrow<T>(bytes: number, work: (pointer: number) => T): T {
    const mark = this.mark();
    try {
      return work(this.allocate(bytes));
    } finally {
      this.reset(mark);
    }
  }
}

/** The next multiple of 16. */
export function align(address: number): number {
  return Math.ceil(address / 16) * 16;
}
