/**
 * What the kernel does element by element: draws, grids, bit streams, observers, learned rounding.
 *
 * @module
 */

import type { Buffer } from "./arena.ts";
import { at, Instance } from "./instance.ts";
import type { Draws } from "./kernel.ts";

/** A grid of rows × d values. */
export interface ValueGrid {
  /** Scales: rows × ⌈d / block⌉, positive. */
  readonly scale: Buffer;
  /** Values that share a scale along a row. */
  readonly block: number;
  /** Rows. */
  readonly rows: number;
  /** Values per row. */
  readonly d: number;
}

/** The smallest and largest level. */
export interface Bounds {
  /** Smallest level. */
  readonly lo: number;
  /** Largest level. */
  readonly hi: number;
}

/** Adam's state of one tensor. */
export interface Moments {
  /** Running means of gradients. */
  readonly m: Buffer;
  /** Running means of their squares. */
  readonly v: Buffer;
  /** Adam's step size. */
  readonly rate: number;
  /** Steps done before. */
  readonly step: number;
}

const scales = ({ rows, d, block }: ValueGrid) => rows * Math.ceil(d / block);

/** A kernel, as far as its element-wise functions go. */
export abstract class ElementKernel extends Instance {
  /** `out.length` draws of the standard normal distribution. */
  normals({ out, seed, stream }: { out: Buffer } & Draws): void {
    this.call("normals", out.pointer, out.length, 1, seed, stream);
  }

  /** erf(x), good to the last place of a float32. */
  erf(x: number): number {
    return this.call("erf", x);
  }

  /**
   * The chance of each level under Attention Round, for n weights at t steps of their grid and
   * α ~ N(0, τ²): n × (hi − lo + 1).
   */
  levelProbabilities(
    { t, n, tau, lo, hi, out }: Bounds & { t: Buffer; n: number; tau: number; out: Buffer },
  ): void {
    this.call("levelProbabilities", at(t, n), n, tau, lo, hi, at(out, n * (hi - lo + 1)));
  }

  /** Draws a level for each of rows × d weights at t steps of their grid. */
  sampleLevels(
    { t, rows, d, tau, lo, hi, seed, stream, q }: Bounds & Draws & {
      t: Buffer;
      rows: number;
      d: number;
      tau: number;
      q: Buffer;
    },
  ): void {
    this.call("sampleLevels", at(t, rows * d), rows, d, tau, lo, hi, seed, stream, at(q, rows * d));
  }

  /** q = clip(round(x / s) + z, lo, hi), half to even; NaN becomes the level z of zero. */
  quantize(args: ValueGrid & Bounds & { x: Buffer; zero: Buffer; q: Buffer }): void {
    const { x, scale, zero, block, lo, hi, rows, d, q } = args, size = rows * d;
    const grid = [at(scale, scales(args)), at(zero, scales(args)), block];
    this.call("quantize", at(x, size), ...grid, lo, hi, rows, d, at(q, size));
  }

  /** x = (q − z) · s. */
  dequantize(args: ValueGrid & { q: Buffer; zero: Buffer; x: Buffer }): void {
    const { q, scale, zero, block, rows, d, x } = args, size = rows * d;
    const grid = [at(scale, scales(args)), at(zero, scales(args)), block];
    this.call("dequantize", at(q, size), ...grid, rows, d, at(x, size));
  }

  /**
   * n levels as a stream of `bits` bits each, 2 to 8, less `lo`: level j takes bits j·bits and
   * following, bit i being bit i mod 8 of byte ⌊i/8⌋.
   *
   * @example
   * ```ts
   * import { Kernel } from "./kernel.ts";
   *
   * using kernel = Kernel.create();
   * const q = kernel.f32(Float32Array.of(-2, 1, 0, -1));
   * const bytes = kernel.pack({ q, n: 4, bits: 2, lo: -2 });
   * if (bytes.join() !== String(0b01_10_11_00)) throw new Error("unexpected");
   * ```
   */
  pack({ q, n, bits, lo }: { q: Buffer; n: number; bits: number; lo: number }): Uint8Array {
    const size = this.call("packedBytes", n, bits);
    return this.arena.borrow(size, (out) => {
      this.call("pack", at(q, n), n, bits, lo, out);
      return new Uint8Array(this.buffer, out, size).slice();
    });
  }

  /** The inverse of {@linkcode pack}. */
  unpack(
    { bytes, n, bits, lo, q }: {
      bytes: Uint8Array;
      n: number;
      bits: number;
      lo: number;
      q: Buffer;
    },
  ): void {
    this.arena.borrow(bytes.length, (from) => {
      new Uint8Array(this.buffer, from, bytes.length).set(bytes);
      this.call("unpack", from, n, bits, lo, at(q, n));
    });
  }

  /**
   * Updates out = [smallest, largest, count of values that are not finite] by n values; start it with
   * [∞, −∞, 0].
   */
  minmax({ x, n, out }: { x: Buffer; n: number; out: Buffer }): void {
    this.call("minmax", at(x, n), n, at(out, 3));
  }

  /** counts[⌊x · factor⌋ + bins/2]++ for every `stride`th of n values; others than those are left out. */
  histogram(
    { x, n, stride, factor, counts }: {
      x: Buffer;
      n: number;
      stride: number;
      factor: number;
      counts: Buffer;
    },
  ): void {
    this.call("histogram", at(x, n), n, stride, factor, counts.length, counts.pointer);
  }

  /** ŵ = s · clip(round(w/s + α)). */
  attentionForward(args: ValueGrid & Bounds & { alpha: Buffer; w: Buffer; out: Buffer }): void {
    const { alpha, w, scale, block, lo, hi, rows, d, out } = args, size = rows * d;
    const grid = [at(scale, scales(args)), block, lo, hi, rows, d];
    this.call("attentionForward", at(alpha, size), at(w, size), ...grid, at(out, size));
  }

  /**
   * One step of Adam on α by the gradient of a loss with respect to ŵ, which is overwritten, and the
   * gradient with respect to log s of each scale. `tau` is the erf rule's radius; 0 is straight-through.
   */
  attentionStep(
    args: ValueGrid & Bounds & Moments & {
      alpha: Buffer;
      gradient: Buffer;
      w: Buffer;
      tau: number;
      slopes: Buffer;
    },
  ): void {
    const { alpha, m, v, gradient, w, scale, block, lo, hi, rows, d } = args, size = rows * d;
    const tensors = [alpha, m, v, gradient, w].map((buffer) => at(buffer, size));
    const grid = [at(scale, scales(args)), block, lo, hi, rows, d];
    const { tau, rate, step, slopes } = args;
    this.call("attentionStep", ...tensors, ...grid, tau, rate, step, at(slopes, scales(args)));
  }

  /** One step of Adam on x[0 … n) by the gradient g. */
  adam({ x, m, v, g, n, step, rate }: Moments & { x: Buffer; g: Buffer; n: number }): void {
    this.call("adam", at(x, n), at(m, n), at(v, n), at(g, n), n, step, rate);
  }
}
