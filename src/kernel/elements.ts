/**
 * What the kernel does element by element: draws, grids, bit streams, observers, learned rounding.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Buffer } from "./arena.ts";
import { at, Instance } from "./instance.ts";
import type { Draws } from "./arguments.ts";

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

/** The levels that each row may have. */
export interface Windows {
  /** Smallest level of each row. */
  readonly lo: Buffer;
  /** Largest level of a row less its smallest. */
  readonly span: number;
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

/** The gradient of a loss with respect to rounded weights. */
export interface BlockGradient {
  /** ∂L/∂ŵ: rows × d; overwritten. */
  readonly gradient: Buffer;
  /** What the loss is multiplied by. Default: 1. */
  readonly unit?: number;
}

/** Levels, a byte each: with a sign where some may be negative. */
export type LevelBytes = Uint8Array | Int8Array;

/** Bytes behind a stream of bits that the kernel may touch: it moves eight at a time. */
const SLACK = 8;

/** `bytes`, of which there must be so many. */
function bytesOf<T extends LevelBytes>(bytes: T, size: number): T {
  if (bytes.length >= size) return bytes;
  throw new AttuneError("internal", `The kernel was given ${bytes.length} bytes, not ${size}`);
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

  /** q = clip(round(x / s) + z, lo, hi), half to even; NaN becomes z, the level of zero. */
  quantize(args: ValueGrid & Bounds & { x: Buffer; zero: Buffer; q: LevelBytes }): void {
    const { x, scale, zero, block, lo, hi, rows, d, q } = args, size = rows * d;
    const grid = [at(scale, scales(args)), at(zero, scales(args)), block];
    this.arena.borrow(size, (to) => {
      this.call("quantize", at(x, size), ...grid, lo, hi, rows, d, to);
      this.#copyBytes(to, bytesOf(q, size));
    });
  }

  /** x = (q − z) · s. */
  dequantize(args: ValueGrid & { q: LevelBytes; zero: Buffer; x: Buffer }): void {
    const { q, scale, zero, block, rows, d, x } = args, size = rows * d;
    const grid = [at(scale, scales(args)), at(zero, scales(args)), block];
    this.#borrowBytes(bytesOf(q, size), (from) => {
      const signed = Number(q instanceof Int8Array);
      this.call("dequantize", from, signed, ...grid, rows, d, at(x, size));
    });
  }

  /**
   * Levels as a stream of `bits` bits each, 2 to 8, less `lo`: level j takes bits j·bits and
   * following, bit i being bit i mod 8 of byte ⌊i/8⌋. With `lo` 0 and 4 or 2 bits these are ONNX's
   * integers of that size; levels below 0 become their two's complement.
   *
   * @example
   * ```ts
   * import { Kernel } from "./kernel.ts";
   *
   * using kernel = Kernel.create();
   * const bytes = kernel.pack({ q: Int8Array.of(-2, 1, 0, -1), bits: 2, lo: -2 });
   * if (bytes.join() !== String(0b01_10_11_00)) throw new Error("unexpected");
   * ```
   */
  pack({ q, bits, lo }: { q: LevelBytes; bits: number; lo: number }): Uint8Array {
    const size = Math.ceil(q.length * bits / 8);
    return this.#borrowBytes(q, (from) =>
      this.arena.borrow(size + SLACK, (out) => {
        this.call("pack", from, q.length, bits, lo, out);
        return new Uint8Array(this.buffer, out, size).slice();
      }));
  }

  /** The inverse of {@linkcode pack}. */
  unpack(
    { bytes, bits, lo, q }: { bytes: Uint8Array; bits: number; lo: number; q: LevelBytes },
  ): void {
    this.#borrowBytes(
      bytesOf(bytes, Math.ceil(q.length * bits / 8)),
      (from) =>
        this.arena.borrow(q.length, (to) => {
          this.call("unpack", from, q.length, bits, lo, to);
          this.#copyBytes(to, q);
        }),
    );
  }

  /** Runs `work` on a copy of `bytes` in the kernel's memory. */
  #borrowBytes<T>(bytes: LevelBytes, work: (pointer: number) => T): T {
    return this.arena.borrow(bytes.length + SLACK, (pointer) => {
      const { buffer, byteOffset, length } = bytes;
      new Uint8Array(this.buffer, pointer, length).set(new Uint8Array(buffer, byteOffset, length));
      return work(pointer);
    });
  }

  /** Fills `bytes` with those from `pointer` on. */
  #copyBytes(pointer: number, { buffer, byteOffset, length }: LevelBytes): void {
    const from = new Uint8Array(this.buffer, pointer, length);
    new Uint8Array(buffer, byteOffset, length).set(from);
  }

  /**
   * Updates out = [smallest, largest] by the finite ones of n values; start it with [∞, −∞].
   *
   * @returns How many are not finite.
   */
  minmax({ x, n, out }: { x: Buffer; n: number; out: Buffer }): number {
    return this.call("minmax", at(x, n), n, at(out, 2));
  }

  /**
   * Adds to `counts` how many of n values lie in each of as many equal bins over [lo, hi]; what lies
   * outside counts in the outermost bins, NaN nowhere. The bin is ⌊(x − lo) · f⌋ in float32, with
   * f = bins / (hi − lo).
   */
  histogram(
    { x, n, lo, hi, counts }: {
      x: Buffer;
      n: number;
      lo: number;
      hi: number;
      counts: Float64Array;
    },
  ): void {
    const bins = counts.length;
    this.arena.borrow(16 * (bins + 1), (table) => {
      this.call("histogram", at(x, n), n, lo, bins / (hi - lo), bins, table);
      new Uint32Array(this.buffer, table, bins).forEach((count, b) => counts[b] += count);
    });
  }

  /** ŵ = s · clip(round(w/s + α)). */
  attentionForward(args: ValueGrid & Windows & { alpha: Buffer; w: Buffer; out: Buffer }): void {
    const { alpha, w, scale, block, lo, span, rows, d, out } = args, size = rows * d;
    const grid = [at(scale, scales(args)), block, at(lo, rows), span, rows, d];
    this.call("attentionForward", at(alpha, size), at(w, size), ...grid, at(out, size));
  }

  /**
   * One step of Adam on α by the gradient of a loss with respect to ŵ, which is overwritten, and the
   * gradient with respect to log s of each scale. `tau` is the erf rule's radius; 0 is straight-through.
   */
  attentionStep(
    args: ValueGrid & Windows & Moments & BlockGradient & {
      alpha: Buffer;
      w: Buffer;
      tau: number;
      slopes: Buffer;
    },
  ): void {
    const { alpha, m, v, gradient, w, scale, block, lo, span, rows, d } = args, size = rows * d;
    const tensors = [alpha, m, v, gradient, w].map((buffer) => at(buffer, size));
    const grid = [at(scale, scales(args)), block, at(lo, rows), span, rows, d];
    const { unit = 1, tau, rate, step } = args, slopes = at(args.slopes, scales(args));
    this.call("attentionStep", ...tensors, ...grid, unit, tau, rate, step, slopes);
  }

  /** ŵ = s · clip(⌊w/s⌋ + h(V)), h being AdaRound's rectified sigmoid; `hard` rounds it to 0 or 1. */
  adaroundForward(
    args: ValueGrid & Windows & { soft: Buffer; w: Buffer; hard: boolean; out: Buffer },
  ): void {
    const { soft, w, scale, block, lo, span, rows, d, hard, out } = args, size = rows * d;
    const grid = [at(scale, scales(args)), block, at(lo, rows), span, rows, d];
    this.call("adaroundForward", at(soft, size), at(w, size), ...grid, Number(hard), at(out, size));
  }

  /**
   * One step of Adam on AdaRound's V by the gradient of a loss with respect to ŵ, which is
   * overwritten, and by `regularisation` times that of Σ 1 − |2h(V) − 1|^beta; see kernel/adaround.ts.
   */
  adaroundStep(
    args: ValueGrid & Moments & BlockGradient & {
      soft: Buffer;
      beta: number;
      regularisation: number;
    },
  ): void {
    const { soft, m, v, gradient, scale, block, rows, d } = args, size = rows * d;
    const tensors = [soft, m, v, gradient].map((buffer) => at(buffer, size));
    const { unit = 1, beta, regularisation, rate, step } = args;
    const rule = [unit, beta, regularisation, rate, step];
    this.call("adaroundStep", ...tensors, at(scale, scales(args)), block, rows, d, ...rule);
  }

  /** One step of Adam on x[0 … n) by the gradient g. */
  adam({ x, m, v, g, n, step, rate }: Moments & { x: Buffer; g: Buffer; n: number }): void {
    this.call("adam", at(x, n), at(m, n), at(v, n), at(g, n), n, step, rate);
  }
}
