/**
 * AdaRound (Nagel et al. 2020) in the loop that learns blocks: what Attention Round is compared with.
 *
 * ŵ = s · clip(⌊w/s⌋ + h(V)), where the rectified sigmoid h lies between 0 and 1 while it is learned, is
 * pushed to either end by the regulariser Σ 1 − |2h − 1|^β, and is rounded in the end: a weight goes up
 * or down from where it is, nowhere else.
 *
 * @module
 */

import type { Rounding } from "../emit/build.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import type { LayerPlan } from "../plan/plan.ts";
import { toMatrixOrder, toTensorOrder } from "../plan/targets.ts";
import type { Value } from "../runtime/session.ts";
import type { Pace, RoundingParameter } from "./parameters.ts";

/** h reaches from γ to ζ before it is cut to [0, 1]. */
const ZETA = 1.1, GAMMA = -0.1;
/** Adam's step size. */
const RATE = 0.02;
/** Weight of the regulariser, relative to the root mean square of the loss's gradient. */
const REGULARISATION = 0.5;
/** Share of the work that is done without it. */
const WARM_UP = 0.2;

/** The rounding of a layer's weight, up or down. */
export class SoftRoundingParameter implements RoundingParameter {
  readonly #kernel: Kernel;
  readonly #layer: LayerPlan;
  readonly #rounding: Rounding;
  /** ⌊w/s⌋ and s of every weight. */
  readonly #floor: Float32Array;
  readonly #scale: Float32Array;
  /** V, and Adam's moments. */
  readonly #soft: Buffer;
  readonly #moments: { readonly m: Buffer; readonly v: Buffer };
  readonly #lo: number;
  readonly #hi: number;

  /** Starts from the weights `home`, with the scales of `rounding`. */
  constructor(kernel: Kernel, layer: LayerPlan, rounding: Rounding, home: Float32Array) {
    this.#kernel = kernel;
    this.#layer = layer;
    this.#rounding = rounding;
    const { target: { depth }, blocksPerRow, blockSize } = layer, { scales } = rounding;
    this.#scale = home.map((_, i) => {
      const block = Math.floor(i / depth) * blocksPerRow + Math.floor(i % depth / blockSize);
      return scales[scales.length === 1 ? 0 : block];
    });
    this.#floor = home.map((w, i) => Math.floor(w / this.#scale[i]));
    // h starts at the fraction: the first run is that of the float weights.
    this.#soft = kernel.f32(home.map((w, i) => {
      const rest = w / this.#scale[i] - this.#floor[i];
      const p = Math.min(0.999, Math.max(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
      return -Math.log(1 / p - 1);
    }));
    this.#moments = { m: kernel.f32(home.length), v: kernel.f32(home.length) };
    this.#lo = -(2 ** (layer.bits - 1));
    this.#hi = 2 ** (layer.bits - 1) - 1;
  }

  #level(i: number, soft: number, final: boolean): number {
    const h = Math.min(1, Math.max(0, sigmoid(soft) * (ZETA - GAMMA) + GAMMA));
    const level = this.#floor[i] + (final ? Number(h >= 0.5) : h);
    return Math.min(this.#hi, Math.max(this.#lo, level));
  }

  value(final: boolean): Value {
    const { target } = this.#layer;
    const matrix = this.#soft.view.map((soft, i) => this.#scale[i] * this.#level(i, soft, final));
    return { type: "float32", dims: [...target.shape], data: toTensorOrder(target, matrix) };
  }

  step(gradient: Float32Array, step: number, { left }: Pace): void {
    const kernel = this.#kernel, mark = kernel.mark();
    const slopes = toMatrixOrder(this.#layer.target, gradient);
    let squares = 0;
    for (let i = 0; i < slopes.length; i++) squares += (slopes[i] * this.#scale[i]) ** 2;
    const unit = 1 / Math.max(1e-30, Math.sqrt(squares / slopes.length));
    // β falls from 20 to 2 once the warm-up is over.
    const progress = (1 - left - WARM_UP) / (1 - WARM_UP);
    const beta = 2 + 9 * (1 + Math.cos(Math.PI * progress));
    const soft = this.#soft.view;
    const g = kernel.f32(slopes.map((slope, i) => {
      const raw = sigmoid(soft[i]), h = raw * (ZETA - GAMMA) + GAMMA;
      if (h <= 0 || h >= 1) return 0;
      const off = 2 * h - 1;
      const pull = progress > 0 ? 2 * beta * Math.abs(off) ** (beta - 1) * Math.sign(off) : 0;
      return (slope * this.#scale[i] * unit - REGULARISATION * pull) * (ZETA - GAMMA) * raw *
        (1 - raw);
    }));
    kernel.adam({ ...this.#moments, x: this.#soft, g, n: soft.length, step, rate: RATE });
    kernel.reset(mark);
  }

  save(): () => void {
    const soft = this.#soft.view.slice();
    return () => this.#soft.view.set(soft);
  }

  rounding(): Rounding {
    const levels = Int8Array.from(this.#soft.view, (soft, i) => this.#level(i, soft, true));
    return { ...this.#rounding, levels };
  }
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
