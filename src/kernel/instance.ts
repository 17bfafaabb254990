/**
 * A kernel's module instance, and the memory that it works in.
 *
 * @module
 */

import { instantiateSync } from "@assemblyscript/loader";
import { AttuneError } from "../errors.ts";
import { Arena, type Buffer } from "./arena.ts";
import type { Exports } from "./exports.ts";
import { MODULE } from "./module.ts";

/**
 * An instance with a memory of its own: what all that the kernel can do stands on.
 *
 * The chain Instance ← ElementKernel ← CodebookKernel ← Kernel is a filing cabinet: one class whose
 * methods lie in several files by what they do. None of them is of use alone, nothing is
 * overridden.
 */
export abstract class Instance implements Disposable {
  #live: { readonly exports: Exports; readonly arena: Arena } | undefined;

  /** Instantiates `module`: the compiled kernel. */
  protected constructor(module: WebAssembly.Module) {
    const exports = instantiateSync(module, {}).exports as unknown as Exports;
    this.#live = { exports, arena: new Arena(exports.memory, exports.heapStart.value) };
  }

  /** Lets go of the memory; the kernel cannot be used any more. */
  [Symbol.dispose](): void {
    this.#live = undefined;
  }

  get #parts(): { readonly exports: Exports; readonly arena: Arena } {
    if (this.#live) return this.#live;
    throw new AttuneError("internal", "The kernel was disposed of");
  }

  /** What the module exports: names and numbers of arguments are checked by the compiler. */
  protected get exports(): Exports {
    return this.#parts.exports;
  }

  /** The memory, handed out from front to back. */
  protected get arena(): Arena {
    return this.#parts.arena;
  }

  /** The memory as it is now: growth detaches it. */
  protected get buffer(): ArrayBuffer {
    return this.exports.memory.buffer;
  }

  /** Bytes of memory that the instance holds. */
  get bytes(): number {
    return this.exports.memory.buffer.byteLength;
  }

  /** The end of the arena, for {@linkcode reset}. */
  mark(): number {
    return this.arena.mark();
  }

  /** Frees every buffer that was made since `mark`. */
  reset(mark: number): void {
    this.arena.reset(mark);
  }

  /**
   * Makes a buffer: of that many zeros, or a copy of those elements (of a buffer, not of its view,
   * where they lie in this memory, since growth would detach the view).
   *
   * @throws {AttuneError} `too-large` where the memory would pass 4 GiB.
   */
  f32(source: number | Float32Array | Buffer): Buffer {
    return this.arena.f32(source);
  }
}

let compiled: WebAssembly.Module | undefined;

/** Compiles the kernel that travels with the library, the first time it is asked for. */
export function compile(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0)));
  return compiled;
}

/** The address of `buffer`, which must hold as many elements: the kernel itself checks nothing. */
export function at(buffer: Buffer, elements: number): number {
  if (buffer.length >= elements) return buffer.pointer;
  throw new AttuneError(
    "internal",
    `A buffer of ${buffer.length} elements was given to the kernel where it needs ${elements}`,
  );
}
