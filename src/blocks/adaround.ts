/**
 * AdaRound (Nagel et al. 2020) in the loop that learns blocks: what Attention Round is compared
 * with.
 *
 * ŵ = s · clip(⌊w/s⌋ + h(V)), where the rectified sigmoid h lies between 0 and 1 while it is
 * learned, is pushed to either end by the regulariser Σ 1 − |2h − 1|^β, and is rounded in the end:
 * a weight goes up or down from where it is, nowhere else.
 *
 * @module
 */

import type { Rounding } from "../emit/build.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toMatrixOrder, toTensorOrder } from "../weights/matrix.ts";
import type { Value } from "../runtime/session.ts";
import {
  levelsOf,
  type Pace,
  type RoundingParameter,
  saved,
  scalesOf,
  type WeightGrid,
  weightGrid,
} from "./parameters.ts";

/** h reaches from γ to ζ before it is cut to [0, 1]. */
const ZETA = 1.1, GAMMA = -0.1;
/** Adam's step size. */
const RATE = 0.02;
/** Weight of the regulariser, relative to the root mean square of the loss's gradient. */
const REGULARISATION = 0.5;
/** Share of the work that is done without it. */
const WARM_UP = 0.2;

/** The rounding of a layer's weight, up or down. Its buffers live with `kernel`. */
export class SoftRoundingParameter implements RoundingParameter {
  readonly #kernel: Kernel;
  readonly #layer: LayerPlan;
  readonly #rounding: Rounding;
  readonly #grid: WeightGrid;
  /** Of each weight. */
  readonly #scales: Float32Array;
  /** V, and Adam's moments. */
  readonly #soft: Buffer;
  readonly #moments: { readonly m: Buffer; readonly v: Buffer };

  /** Starts from the weights `home`, with the scales of `rounding`. */
  constructor(kernel: Kernel, layer: LayerPlan, rounding: Rounding, home: Float32Array) {
    this.#kernel = kernel;
    this.#layer = layer;
    this.#rounding = rounding;
    this.#grid = weightGrid(kernel, layer, rounding, home);
    // h starts at the fraction: the first run is that of the float weights.
    this.#scales = scalesOf(this.#grid);
    this.#soft = kernel.f32(home.map((w, i) => {
      const t = w / this.#scales[i], rest = t - Math.floor(t);
      const p = Math.min(0.999, Math.max(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
      return -Math.log(1 / p - 1);
    }));
    this.#moments = { m: kernel.f32(home.length), v: kernel.f32(home.length) };
  }

  #rounded(hard: boolean): Float32Array {
    const kernel = this.#kernel, mark = kernel.mark();
    const out = kernel.f32(this.#soft.length);
    kernel.adaroundForward({ ...this.#grid, soft: this.#soft, hard, out });
    const values = out.view.slice();
    kernel.reset(mark);
    return values;
  }

  value(final: boolean): Value {
    const { target } = this.#layer;
    const data = toTensorOrder(target, this.#rounded(final));
    return { type: "float32", dims: [...target.shape], data };
  }

  step(gradient: Float32Array, step: number, { remaining }: Pace): void {
    const kernel = this.#kernel, mark = kernel.mark();
    const slopes = toMatrixOrder(this.#layer.target, gradient);
    let squares = 0;
    for (let i = 0; i < slopes.length; i++) squares += (slopes[i] * this.#scales[i]) ** 2;
    // β falls from 20 to 2 once the warm-up is over.
    const progress = (1 - remaining - WARM_UP) / (1 - WARM_UP);
    kernel.adaroundStep({
      ...this.#grid,
      ...this.#moments,
      soft: this.#soft,
      gradient: kernel.f32(slopes),
      lossScale: 1 / Math.max(1e-30, Math.sqrt(squares / slopes.length)),
      beta: 2 + 9 * (1 + Math.cos(Math.PI * progress)),
      regularisation: progress > 0 ? REGULARISATION : 0,
      rate: RATE,
      step,
    });
    kernel.reset(mark);
  }

  save(): () => void {
    return saved(this.#soft);
  }

  rounding(): Rounding {
    return { ...this.#rounding, levels: levelsOf(this.#grid, this.#rounded(true)) };
  }
}
