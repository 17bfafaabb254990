/**
 * Internals of the kernel that the shipped module does not export (kernel/internals.ts), from a
 * build that is compiled here.
 */

import { compileKernel } from "../../scripts/kernel.ts";
import type { Buffer } from "../../src/kernel/arena.ts";
import type { Draws } from "../../src/kernel/arguments.ts";
import type { Exports } from "../../src/kernel/exports.ts";
import { at } from "../../src/kernel/instance.ts";
import { Kernel } from "../../src/kernel/kernel.ts";
import { runnerOf } from "./kernel_twins.ts";

interface InternalExports extends Exports {
  gemm(
    a: number,
    b: number,
    c: number,
    m: number,
    n: number,
    k: number,
    accumulate: boolean,
  ): void;
  normals(out: number, n: number, factor: number, seed: number, stream: number): void;
}

/** A product of matrices. */
export interface Product {
  a: Buffer;
  b: Buffer;
  c: Buffer;
  m: number;
  n: number;
  k: number;
  accumulate?: boolean;
}

/** A kernel whose internals can be called. */
export class Internals extends Kernel {
  static override create(module: WebAssembly.Module): Internals {
    return new Internals(module);
  }

  protected override get exports(): InternalExports {
    return super.exports as InternalExports;
  }

  /** C (m × n) = A (m × k) · B (k × n), or C += A · B. */
  gemm({ a, b, c, m, n, k, accumulate = false }: Product): void {
    this.exports.gemm(at(a, m * k), at(b, k * n), at(c, m * n), m, n, k, accumulate);
  }

  /** `out.length` draws of the standard normal distribution. */
  normals({ out, seed, stream }: { out: Buffer } & Draws): void {
    this.exports.normals(out.pointer, out.length, 1, seed, stream);
  }
}

const { bytes } = await compileKernel("test");

/** As in kernel_twins.ts, with internals. */
export const { onKernel, both } = runnerOf(Internals.create(new WebAssembly.Module(bytes)));
