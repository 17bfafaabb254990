/**
 * The numeric kernel: a WebAssembly module of its own with SIMD, and the memory that it works in.
 *
 * Matrices are float32 and row-major. A method takes buffers that this kernel made; sizes are
 * counted in elements. Weights and inputs must be finite: NaN and infinities stay in the rows and
 * groups where they are, but what those rows become is not defined.
 *
 * @module
 */

import { align, type Buffer } from "./arena.ts";
import {
  type Draws,
  GRADIENT_STATE,
  type GradientSteps,
  type Grid,
  type Levels,
  type Metric,
  type Result,
  scalesPerRow,
  type Sizes,
} from "./arguments.ts";
import { CodebookKernel } from "./codebooks.ts";
import { at, compile } from "./instance.ts";

export type { Buffer } from "./arena.ts";

/**
 * An instance of the kernel with a memory of its own.
 *
 * Buffers come from an arena: `mark()` remembers its end, `reset(mark)` frees all that was made
 * since.
 *
 * @example
 * ```ts
 * import { Kernel } from "./kernel.ts";
 *
 * using kernel = Kernel.create();
 * const a = kernel.f32(new Float32Array([1, 2, 3, 4]));
 * const c = kernel.f32(4);
 * kernel.cross({ y: a, x: a, r: c, groups: 1, o: 2, d: 2, p: 2 });
 * if (c.view.join() !== "5,11,11,25") throw new Error("unexpected");
 * ```
 */
export class Kernel extends CodebookKernel {
  /**
   * Makes an instance.
   *
   * @param module The compiled kernel, for hosts that compile no bytes. Default: the one that
   * travels with the library.
   */
  static create(module: WebAssembly.Module = compile()): Kernel {
    return new Kernel(module);
  }

  /**
   * h[g] (d × d) += x[g] · x[g]ᵀ and sum[g] += row sums of x[g]; x is (groups·d) × p, one column
   * per position. Only the upper triangle of h is right until {@linkcode mirror}.
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
    const rows = groups * d;
    this.exports.gram(at(x, rows * p), at(h, rows * d), at(sum, rows), groups, d, p);
  }

  /** Completes the lower triangle of each h[g] (d × d). */
  mirror({ h, groups, d }: { h: Buffer; groups: number; d: number }): void {
    this.exports.mirror(at(h, groups * d * d), groups, d);
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
    const left = at(y, groups * o * p), right = at(x, groups * d * p);
    this.exports.cross(left, right, at(r, groups * o * d), groups, o, d, p);
  }

  /**
   * Factors each h[g] = UᵀU (n × n) in place, U upper triangular.
   *
   * @returns −1, or the first row whose pivot is not positive and finite: then h is no more.
   */
  cholesky({ h, groups, n }: { h: Buffer; groups: number; n: number }): number {
    return this.exports.cholesky(at(h, groups * n * n), groups, n);
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
    const factors = at(u, groups * n * n), all = at(b, groups * rows * n);
    this.arena.borrow(4 * rows * n, (work) => {
      for (let g = 0; g < groups; g++) {
        const matrix = all + 4 * g * rows * n;
        this.exports.transpose(matrix, work, rows, n);
        this.exports.solve(factors + 4 * g * n * n, work, n, rows);
        this.exports.transpose(work, matrix, n, rows);
      }
    });
  }

  /**
   * Sequential rounding (kernel/lattice.ts): candidate k draws with spread taus[k] · spread[g][i],
   * in steps of the grid; the best candidate of each row is kept. `loss` is the loss under the
   * factor.
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
    const { u, spread, taus, seed, stream, rows, groups, d } = args;
    const width = groups * d, candidates = taus.length;
    this.arena.borrow(
      this.exports.sequentialBytes(d, candidates),
      (work) =>
        this.exports.sequential(
          ...grid(args),
          at(u, width * d),
          at(spread, width),
          at(taus, 1),
          candidates,
          seed,
          stream,
          rows,
          groups,
          d,
          ...result(args),
          work,
        ),
    );
  }

  /** Coordinate descent from the levels in `q`; never raises a loss. */
  polish(
    args: Grid & Sizes & Result & Metric & {
      /** Sweeps over the weights, at most; 0 only writes the losses. */
      readonly sweeps: number;
    },
  ): void {
    const { h, rows, groups, d, sweeps } = args;
    const metric = at(h, groups * d * d), [q, loss] = result(args);
    this.arena.borrow(
      this.exports.polishBytes(d),
      (work) => this.exports.polish(q, ...grid(args), metric, rows, groups, d, sweeps, loss, work),
    );
  }

  /** The exact loss of each row's levels. */
  loss(args: Grid & Sizes & Result & Metric): void {
    this.polish({ ...args, sweeps: 0 });
  }

  /**
   * Windows of levels and scales of least weighted squared error, written into `lo` and `scale`;
   * see kernel/scales.ts.
   */
  gridSearch(
    args: Grid & Sizes & {
      /** Weight of each squared error: groups × d. */
      readonly importance: Buffer;
      /** The first levels that a row may have; ties go to the first. */
      readonly lows: Buffer;
      /** How many factors are tried. */
      readonly candidates: number;
      /** The smallest factor, exclusive; the largest is 1. */
      readonly shrinkFrom: number;
    },
  ): void {
    const { importance, lows, rows, groups, d, candidates, shrinkFrom } = args;
    const [target, scale, groupSize, lo, span] = grid(args);
    this.exports.gridSearch(
      target,
      at(importance, groups * d),
      rows,
      groups,
      d,
      groupSize,
      at(lows, 1),
      lows.length,
      span,
      candidates,
      shrinkFrom,
      scale,
      lo,
    );
  }

  /** Least-squares scales for fixed levels: one per row, or one for all. */
  refit(
    { q, target, h, rows, groups, d, oneScale, scale }: Sizes & Levels & Metric & {
      readonly target: Buffer;
      readonly oneScale: boolean;
      readonly scale: Buffer;
    },
  ): void {
    const all = groups * rows;
    this.arena.borrow(4 * rows * d, (work) =>
      this.exports.refit(
        at(q, all * d),
        at(target, all * d),
        at(h, groups * d * d),
        rows,
        groups,
        d,
        oneScale,
        at(scale, all),
        work,
      ));
  }

  /** The nearest level of every weight; half to even. */
  nearest(args: Grid & Sizes & Levels): void {
    const all = args.groups * args.rows;
    this.exports.nearestLevels(...grid(args), all, args.d, at(args.q, all * args.d));
  }

  /** The level below or above, up with the probability of the fraction. */
  stochastic(args: Grid & Sizes & Draws & Levels): void {
    const { rows, groups, d, seed, stream, q } = args, all = groups * rows;
    this.exports.stochasticLevels(...grid(args), all, d, seed, stream, at(q, all * d));
  }

  /**
   * Steps of Attention Round's layer form; see kernel/attention_loop.ts. `q` and `loss` hold the
   * best levels so far, and must hold some, with their losses, at the start.
   */
  attentionLoop(args: Grid & Sizes & Result & Draws & GradientSteps & { tau: number }): void {
    const { h, rows, groups, d, tau, learningRate, steps, startStep, seed, stream, state } = args;
    this.exports.attentionLoop(
      ...grid(args),
      at(h, groups * d * d),
      rows,
      groups,
      d,
      tau,
      learningRate,
      steps,
      startStep,
      seed,
      stream,
      at(state, GRADIENT_STATE * groups * rows * d),
      ...result(args),
    );
  }

  /**
   * Steps of AdaRound on the Gram matrix; see kernel/adaround_loop.ts. `q` and `loss` as in
   * {@linkcode attentionLoop}; they change with the last of `totalSteps`.
   */
  adaroundLoop(
    args: Grid & Sizes & Result & GradientSteps & { totalSteps: number; regularisation: number },
  ): void {
    const { h, rows, groups, d, learningRate, steps, startStep, state } = args;
    this.exports.adaroundLoop(
      ...grid(args),
      at(h, groups * d * d),
      rows,
      groups,
      d,
      learningRate,
      steps,
      startStep,
      args.totalSteps,
      args.regularisation,
      at(state, GRADIENT_STATE * groups * rows * d),
      ...result(args),
    );
  }

  /**
   * A symmetric tridiagonal matrix with the eigenvalues of w wᵀ, or of wᵀw where that is smaller:
   * n = min(rows, d) diagonal elements, and n − 1 beside them (and one more, of no meaning).
   */
  tridiagonal(
    { w, rows, d }: { w: Buffer; rows: number; d: number },
  ): { diagonal: Float64Array; offDiagonal: Float64Array } {
    const n = Math.min(rows, d);
    const matrix = at(w, rows * d);
    return this.arena.borrow(4 * rows * d + 8 * n * (n + 4) + 16, (work) => {
      const a = align(work + 4 * rows * d), out = a + 8 * n * n;
      if (d < rows) this.exports.transpose(matrix, work, rows, d);
      this.exports.tridiagonal(d < rows ? work : matrix, n, Math.max(rows, d), a, out);
      return {
        diagonal: new Float64Array(this.buffer, out, n).slice(),
        offDiagonal: new Float64Array(this.buffer, out + 8 * n, n).slice(),
      };
    });
  }
}

type GridArguments = [target: number, scale: number, groupSize: number, lo: number, span: number];

function grid(
  { target, scale, groupSize, lo, span, groups, rows, d }: Grid & Sizes,
): GridArguments {
  const all = groups * rows;
  return [
    at(target, all * d),
    at(scale, all * scalesPerRow(d, groupSize)),
    groupSize,
    at(lo, all),
    span,
  ];
}

function result({ q, loss, groups, rows, d }: Result & Sizes): [q: number, loss: number] {
  return [at(q, groups * rows * d), at(loss, groups * rows)];
}
