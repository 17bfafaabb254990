/**
 * What the kernel does element by element: observers, learned rounding.
 *
 * @module
 */

import type { Buffer } from "./arena.ts";
import { scalesPerRow } from "./arguments.ts";
import { at, Instance } from "./instance.ts";

/** A grid of rows × d values. */
export interface ValueGrid {
  /** Scales: rows × ⌈d / groupSize⌉, positive. */
  readonly scale: Buffer;
  /** Values that share a scale along a row. */
  readonly groupSize: number;
  /** Rows. */
  readonly rows: number;
  /** Values per row. */
  readonly d: number;
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
  readonly lossScale?: number;
}

const scales = ({ rows, d, groupSize }: ValueGrid) => rows * scalesPerRow(d, groupSize);

/** A kernel, as far as its element-wise functions go. */
export abstract class ElementKernel extends Instance {
  /**
   * Updates out = [smallest, largest] by the finite ones of n values; start it with [∞, −∞].
   *
   * @returns How many are not finite.
   */
  minmax({ x, n, out }: { x: Buffer; n: number; out: Buffer }): number {
    return this.exports.minmax(at(x, n), n, at(out, 2));
  }

  /**
   * Adds x, runs × width, to the float64 sums of its channels, Σ x and then Σ x²: 4 · channels
   * elements of a buffer. Run r belongs to channel (first + r) mod channels.
   */
  channelSums(
    { x, runs, width, channels, first, sums }: {
      x: Buffer;
      runs: number;
      width: number;
      channels: number;
      first: number;
      sums: Buffer;
    },
  ): void {
    const size = runs * width, out = at(sums, 4 * channels);
    this.exports.channelSums(at(x, size), runs, width, channels, first, out);
  }

  /** ŵ = s · clip(round(w/s + α)). */
  attentionForward(args: ValueGrid & Windows & { alpha: Buffer; w: Buffer; out: Buffer }): void {
    const { alpha, w, rows, d, out } = args, size = rows * d;
    this.exports.attentionForward(at(alpha, size), at(w, size), ...grid(args), at(out, size));
  }

  /**
   * One step of Adam on α by the gradient of a loss with respect to ŵ, which is overwritten, and
   * the gradient with respect to log s of each scale. `tau` is the erf rule's radius; 0 is
   * straight-through.
   */
  attentionStep(
    args: ValueGrid & Windows & Moments & BlockGradient & {
      alpha: Buffer;
      w: Buffer;
      tau: number;
      slopes: Buffer;
    },
  ): void {
    const { alpha, m, v, gradient, w, rows, d, lossScale = 1, tau, rate, step, slopes } = args;
    const size = rows * d;
    this.exports.attentionStep(
      at(alpha, size),
      at(m, size),
      at(v, size),
      at(gradient, size),
      at(w, size),
      ...grid(args),
      lossScale,
      tau,
      rate,
      step,
      at(slopes, scales(args)),
    );
  }

  /**
   * ŵ = s · clip(⌊w/s⌋ + h(V)), h being AdaRound's rectified sigmoid; `hard` rounds it to 0 or 1.
   */
  adaroundForward(
    args: ValueGrid & Windows & { soft: Buffer; w: Buffer; hard: boolean; out: Buffer },
  ): void {
    const { soft, w, rows, d, hard, out } = args, size = rows * d;
    this.exports.adaroundForward(at(soft, size), at(w, size), ...grid(args), hard, at(out, size));
  }

  /**
   * One step of Adam on AdaRound's V by the gradient of a loss with respect to ŵ, which is
   * overwritten, and by `regularisation` times that of Σ 1 − |2h(V) − 1|^beta; see
   * kernel/adaround.ts.
   */
  adaroundStep(
    args: ValueGrid & Moments & BlockGradient & {
      soft: Buffer;
      beta: number;
      regularisation: number;
    },
  ): void {
    const { soft, m, v, gradient, scale, groupSize, rows, d, lossScale = 1 } = args,
      size = rows * d;
    this.exports.adaroundStep(
      at(soft, size),
      at(m, size),
      at(v, size),
      at(gradient, size),
      at(scale, scales(args)),
      groupSize,
      rows,
      d,
      lossScale,
      args.beta,
      args.regularisation,
      args.rate,
      args.step,
    );
  }

  /** One step of Adam on x[0 … n) by the gradient g. */
  adam({ x, m, v, g, n, step, rate }: Moments & { x: Buffer; g: Buffer; n: number }): void {
    this.exports.adam(at(x, n), at(m, n), at(v, n), at(g, n), n, step, rate);
  }
}

type GridArguments = [
  scale: number,
  groupSize: number,
  lo: number,
  span: number,
  rows: number,
  d: number,
];

function grid(args: ValueGrid & Windows): GridArguments {
  const { scale, groupSize, lo, span, rows, d } = args;
  return [at(scale, scales(args)), groupSize, at(lo, rows), span, rows, d];
}
