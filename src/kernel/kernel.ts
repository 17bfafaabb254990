/**
 * The numeric kernel: a WebAssembly module of its own with SIMD, and the memory that it works in.
 *
 * Matrices are float32 and row-major. A method takes buffers that this kernel made; sizes are counted
 * in elements.
 *
 * @module
 */

import { instantiateSync } from "@assemblyscript/loader";
import { AttuneError } from "../errors.ts";
import { MODULE } from "./module.ts";

/** Pages of WebAssembly memory. */
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

/** What the module exports; see kernel/index.ts. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly heapStart: { readonly value: number } | number;
  [name: string]: unknown;
}

/** Levels and scales of a set of rows: groups × rows rows of d weights. */
export interface Grid {
  /** w′, the wanted weights: (groups·rows) × d. */
  readonly target: Buffer;
  /** Scales: (groups·rows) × ⌈d / block⌉. */
  readonly scale: Buffer;
  /** Weights that share a scale along a row. */
  readonly block: number;
  /** Smallest level. */
  readonly lo: number;
  /** Largest level. */
  readonly hi: number;
}

/** Sizes of a problem. */
export interface Sizes {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly d: number;
}

/** Where levels and losses go. */
export interface Result {
  /** Levels as whole float32 numbers: (groups·rows) × d. */
  readonly q: Buffer;
  /** (ŵ − w′) H (ŵ − w′)ᵀ per row. */
  readonly loss: Buffer;
}

/** What random draws depend on. */
export interface Draws {
  /** 32 bits. */
  readonly seed: number;
  /** The stream of the first row; row r draws from stream + r. */
  readonly stream: number;
}

/**
 * An instance of the kernel with a memory of its own.
 *
 * Buffers come from an arena: `mark()` remembers its end, `reset(mark)` frees all that was made since.
 *
 * @example
 * ```ts
 * import { Kernel } from "./kernel.ts";
 *
 * using kernel = Kernel.create();
 * const a = kernel.f32(new Float32Array([1, 2, 3, 4]));
 * const c = kernel.f32(4);
 * kernel.gemm({ a, b: a, c, m: 2, n: 2, k: 2 });
 * if (c.view.join() !== "7,10,15,22") throw new Error("unexpected");
 * ```
 */
export class Kernel implements Disposable {
  #exports: Exports | undefined;
  #end: number;

  private constructor(exports: Exports) {
    this.#exports = exports;
    const start = exports.heapStart;
    this.#end = align(typeof start === "number" ? start : start.value);
  }

  /** Makes an instance. */
  static create(): Kernel {
    const bytes = Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0));
    const { exports } = instantiateSync(bytes, {});
    return new Kernel(exports as unknown as Exports);
  }

  /** Lets go of the memory; the kernel cannot be used any more. */
  [Symbol.dispose](): void {
    this.#exports = undefined;
  }

  get #live(): Exports {
    if (this.#exports === undefined) {
      throw new AttuneError("internal", "The kernel was disposed of");
    }
    return this.#exports;
  }

  #call(name: string, ...args: number[]): number {
    return (this.#live[name] as (...args: number[]) => number)(...args);
  }

  /** Bytes of memory that the instance holds. */
  get bytes(): number {
    return this.#live.memory.buffer.byteLength;
  }

  /** The end of the arena, for {@linkcode reset}. */
  mark(): number {
    return this.#end;
  }

  /** Frees every buffer that was made since `mark`. */
  reset(mark: number): void {
    this.#end = mark;
  }

  /**
   * Makes a buffer: of that many zeros, or a copy of those elements (of a buffer, not of its view,
   * where they lie in this memory, since growth would detach the view).
   *
   * @throws {AttuneError} `too-large` where the memory would pass 4 GiB.
   */
  f32(source: number | Float32Array | Buffer): Buffer {
    const length = typeof source === "number" ? source : source.length;
    const pointer = this.#allocate(length * 4);
    const { memory } = this.#live;
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

  /** Takes `bytes` from the arena; returns their address. */
  #allocate(bytes: number): number {
    const pointer = this.#end, end = align(pointer + bytes);
    const { memory } = this.#live;
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) {
      try {
        if (end > MOST_BYTES) throw new RangeError("past 4 GiB");
        // At least an eighth more, so that many small buffers do not grow it many times.
        const wish = Math.max(missing, memory.buffer.byteLength / 8);
        const most = MOST_BYTES - memory.buffer.byteLength;
        memory.grow(Math.ceil(Math.min(wish, Math.max(missing, most)) / PAGE));
      } catch (cause) {
        throw new AttuneError(
          "too-large",
          `Cannot get ${(bytes / 2 ** 20).toFixed(0)} MiB for a matrix beside ` +
            `${(pointer / 2 ** 20).toFixed(0)} MiB in use; leave large layers out with --override`,
          { cause },
        );
      }
    }
    this.#end = end;
    return pointer;
  }

  /** Runs `work` with `bytes` of working memory, which is free again afterwards. */
  #withWork<T>(bytes: number, work: (pointer: number) => T): T {
    const mark = this.mark();
    const pointer = this.#allocate(bytes);
    try {
      return work(pointer);
    } finally {
      this.reset(mark);
    }
  }

  /** C (m × n) = A (m × k) · B (k × n), or C += A · B. */
  gemm(
    { a, b, c, m, n, k, accumulate = false }: {
      a: Buffer;
      b: Buffer;
      c: Buffer;
      m: number;
      n: number;
      k: number;
      accumulate?: boolean;
    },
  ): void {
    this.#call("gemm", a.pointer, b.pointer, c.pointer, m, n, k, Number(accumulate));
  }

  /**
   * h[g] (d × d) += x[g] · x[g]ᵀ and sum[g] += row sums of x[g]; x is (groups·d) × p, one column per
   * position. Only the upper triangle of h is right until {@linkcode mirror}.
   */
  gram(
    { x, h, sum, groups, d, p }: {
      x: Buffer;
      h: Buffer;
      sum: Buffer;
      groups: number;
      d: number;
      p: number;
    },
  ): void {
    this.#call("gram", x.pointer, h.pointer, sum.pointer, groups, d, p);
  }

  /** Completes the lower triangle of each h[g] (d × d). */
  mirror({ h, groups, d }: { h: Buffer; groups: number; d: number }): void {
    this.#call("mirror", h.pointer, groups, d);
  }

  /** r[g] (o × d) += y[g] (o × p) · x[g]ᵀ, with x (groups·d) × p. */
  cross(
    { y, x, r, groups, o, d, p }: {
      y: Buffer;
      x: Buffer;
      r: Buffer;
      groups: number;
      o: number;
      d: number;
      p: number;
    },
  ): void {
    this.#call("cross", y.pointer, x.pointer, r.pointer, groups, o, d, p);
  }

  /**
   * Factors each h[g] = UᵀU (n × n) in place, U upper triangular.
   *
   * @returns −1, or the first row whose pivot is not positive: then h is no more.
   */
  cholesky({ h, groups, n }: { h: Buffer; groups: number; n: number }): number {
    return this.#call("cholesky", h.pointer, groups, n);
  }

  /** log det H from the factor of H, in float64. */
  logDet({ u, n }: { u: Buffer; n: number }): number {
    return this.#call("logDet", u.pointer, n);
  }

  /** Replaces each b[g] (rows × n) by b[g] · H[g]⁻¹, u[g] being the factor of H[g]. */
  solve(
    { u, b, groups, rows, n }: {
      u: Buffer;
      b: Buffer;
      groups: number;
      rows: number;
      n: number;
    },
  ): void {
    this.#withWork(4 * rows * n, (work) => {
      for (let g = 0; g < groups; g++) {
        const matrix = b.pointer + 4 * g * rows * n;
        this.#call("transpose", matrix, work, rows, n);
        this.#call("solve", u.pointer + 4 * g * n * n, work, n, rows);
        this.#call("transpose", work, matrix, n, rows);
      }
    });
  }

  /**
   * Sequential rounding (kernel/lattice.ts): candidate k draws with spread taus[k] · spread[g][i], in
   * steps of the grid; the best candidate of each row is kept. `loss` is the loss under the factor.
   */
  sequential(
    args: Grid & Sizes & Result & Draws & {
      /** Factors of H: groups × d × d. */
      readonly u: Buffer;
      /** Relative spread per input: groups × d. */
      readonly spread: Buffer;
      /** Spread per candidate; 0 is the deterministic nearest plane. */
      readonly taus: Buffer;
    },
  ): void {
    const { target, scale, block, lo, hi, u, spread, taus, seed, stream, rows, groups, d } = args;
    const bytes = this.#call("sequentialBytes", d, taus.length);
    this.#withWork(bytes, (work) =>
      this.#call(
        "sequential",
        target.pointer,
        scale.pointer,
        block,
        lo,
        hi,
        u.pointer,
        spread.pointer,
        taus.pointer,
        taus.length,
        seed,
        stream,
        rows,
        groups,
        d,
        args.q.pointer,
        args.loss.pointer,
        work,
      ));
  }

  /** Coordinate descent from the levels in `q`; never raises a loss. */
  polish(
    args: Grid & Sizes & Result & {
      /** H: groups × d × d, symmetric. */
      readonly h: Buffer;
      /** Sweeps over the weights, at most; 0 only writes the losses. */
      readonly sweeps: number;
    },
  ): void {
    const { target, scale, block, lo, hi, h, rows, groups, d, sweeps, q, loss } = args;
    const bytes = this.#call("polishBytes", d);
    this.#withWork(bytes, (work) =>
      this.#call(
        "polish",
        q.pointer,
        target.pointer,
        scale.pointer,
        block,
        lo,
        hi,
        h.pointer,
        rows,
        groups,
        d,
        sweeps,
        loss.pointer,
        work,
      ));
  }

  /** The exact loss of each row's levels. */
  loss(args: Grid & Sizes & Result & { readonly h: Buffer }): void {
    this.polish({ ...args, sweeps: 0 });
  }

  /** Scales of least weighted squared error, among shrunk ones; see kernel/scale.ts. */
  scaleSearch(
    args: Grid & Sizes & {
      /** Weight of each squared error: groups × d. */
      readonly importance: Buffer;
      /** How many factors are tried. */
      readonly candidates: number;
      /** The smallest factor, exclusive; the largest is 1. */
      readonly shrinkFrom: number;
    },
  ): void {
    const { target, importance, rows, groups, d, block, lo, hi, candidates, shrinkFrom } = args;
    this.#call(
      "scaleSearch",
      target.pointer,
      importance.pointer,
      rows,
      groups,
      d,
      block,
      lo,
      hi,
      candidates,
      shrinkFrom,
      args.scale.pointer,
    );
  }

  /** Least-squares scales for fixed levels: one per row, or one for all. */
  refit(
    { q, target, h, rows, groups, d, oneScale, scale }: Sizes & {
      readonly q: Buffer;
      readonly target: Buffer;
      readonly h: Buffer;
      readonly oneScale: boolean;
      readonly scale: Buffer;
    },
  ): void {
    this.#withWork(4 * rows * d, (work) =>
      this.#call(
        "refit",
        q.pointer,
        target.pointer,
        h.pointer,
        rows,
        groups,
        d,
        Number(oneScale),
        scale.pointer,
        work,
      ));
  }

  /** The nearest level of every weight; half to even. */
  nearest(
    { target, scale, block, lo, hi, rows, groups, d, q }: Grid & Sizes & { q: Buffer },
  ): void {
    const all = groups * rows;
    this.#call("nearestLevels", target.pointer, scale.pointer, block, lo, hi, all, d, q.pointer);
  }

  /** The level below or above, up with the probability of the fraction. */
  stochastic(args: Grid & Sizes & Draws & { readonly q: Buffer }): void {
    const { target, scale, block, lo, hi, rows, groups, d, seed, stream, q } = args;
    this.#call(
      "stochasticLevels",
      target.pointer,
      scale.pointer,
      block,
      lo,
      hi,
      groups * rows,
      d,
      seed,
      stream,
      q.pointer,
    );
  }

  /** Steps of Attention Round's layer form; see kernel/gradient.ts. */
  attentionLoop(args: Grid & Sizes & Result & Draws & GradientSteps & { tau: number }): void {
    this.#call(
      "attentionLoop",
      args.target.pointer,
      args.scale.pointer,
      args.block,
      args.lo,
      args.hi,
      args.h.pointer,
      args.rows,
      args.groups,
      args.d,
      args.tau,
      args.learningRate,
      args.steps,
      args.startStep,
      args.seed,
      args.stream,
      args.state.pointer,
      args.q.pointer,
      args.loss.pointer,
    );
  }

  /** Steps of AdaRound on the Gram matrix; see kernel/gradient.ts. */
  adaroundLoop(
    args: Grid & Sizes & Result & GradientSteps & { totalSteps: number; regularisation: number },
  ): void {
    this.#call(
      "adaroundLoop",
      args.target.pointer,
      args.scale.pointer,
      args.block,
      args.lo,
      args.hi,
      args.h.pointer,
      args.rows,
      args.groups,
      args.d,
      args.learningRate,
      args.steps,
      args.startStep,
      args.totalSteps,
      args.regularisation,
      args.state.pointer,
      args.q.pointer,
      args.loss.pointer,
    );
  }

  /**
   * The coding length of a matrix w (rows × d) as a function of the distortion ε > 0 that is allowed:
   * L(ε) = (rows + d)/2 · log₂ det(I + rows/(d ε²) · w wᵀ) bits (Ma, Derksen, Hong, Wright 2007). The
   * work, of the order rows² · (d + rows), is done once; the function costs a loop over rows.
   *
   * @example
   * ```ts
   * import { Kernel } from "./kernel.ts";
   *
   * using kernel = Kernel.create();
   * const bits = kernel.codingLength({ w: kernel.f32(new Float32Array([3])), rows: 1, d: 1 });
   * if (bits(3) !== 1) throw new Error("unexpected");
   * ```
   */
  codingLength(
    { w, rows, d }: { w: Buffer; rows: number; d: number },
  ): (epsilon: number) => number {
    // The smaller Gram matrix has the same determinant.
    const n = Math.min(rows, d);
    const { diagonal, beside } = this.#withWork(4 * rows * d + 8 * n * (n + 4) + 16, (work) => {
      let matrix = w.pointer;
      if (d < rows) this.#call("transpose", w.pointer, matrix = work, rows, d);
      const a = align(work + 4 * rows * d), out = a + 8 * n * n;
      this.#call("tridiagonal", matrix, n, Math.max(rows, d), a, out);
      const { buffer } = this.#live.memory;
      return {
        diagonal: new Float64Array(buffer, out, n).slice(),
        beside: new Float64Array(buffer, out + 8 * n, n).slice(),
      };
    });
    return (epsilon) => {
      const factor = rows / (d * epsilon ** 2);
      // det(I + cT) for tridiagonal T, by its pivots: in exact arithmetic all are at least 1.
      let log = 0, pivot = 1;
      for (let i = 0; i < n; i++) {
        const coupling = i === 0 ? 0 : (factor * beside[i - 1]) ** 2 / pivot;
        pivot = Math.max(1, 1 + factor * diagonal[i] - coupling);
        log += Math.log2(pivot);
      }
      return (rows + d) / 2 * log;
    };
  }

  /** `length` draws of the standard normal distribution. */
  normals({ out, seed, stream }: { out: Buffer } & Draws): void {
    this.#call("normals", out.pointer, out.length, 1, seed, stream);
  }

  /** erf(x), good to the last place of a float32. */
  erf(x: number): number {
    return this.#call("erf", x);
  }
}

/** A run of gradient steps. */
export interface GradientSteps {
  /** H: groups × d × d, symmetric. */
  readonly h: Buffer;
  /** Adam's step size, in steps of the grid. */
  readonly learningRate: number;
  /** How many steps. */
  readonly steps: number;
  /** Steps done before; at 0 the state is set up. */
  readonly startStep: number;
  /** Kept between runs: {@linkcode GRADIENT_STATE} × (groups·rows·d) elements. */
  readonly state: Buffer;
}

/** Elements of gradient state per weight. */
export const GRADIENT_STATE = 5;

/** The next multiple of 16. */
function align(address: number): number {
  return Math.ceil(address / 16) * 16;
}
