/**
 * What is learned in a block: the rounding of its weights, its biases, the steps of its activations.
 *
 * @module
 */

import type { ActivationGrid, Rounding } from "../emit/build.ts";
import type { Value } from "../runtime/session.ts";
import type { LayerPlan } from "../plan/plan.ts";
import { toMatrixOrder, toTensorOrder } from "../plan/targets.ts";

/** How roundings are learned. */
export interface LearnTuning {
  /** What α's gradient is scaled by: the erf rule, or nothing. */
  readonly rule: "erf" | "straight-through";
  /** Radius of the erf rule, in steps of the grid. */
  readonly tau: number;
  /** Adam's first step size for α, in steps of the grid. */
  readonly learningRate: number;
}

/** Adam's first step size for biases, relative to the root of their mean square. */
const BIAS_RATE = 0.002;
/** For scales of weights, relative. */
const SCALE_RATE = 0.001;
/** For steps of activations, relative. */
const STEP_RATE = 0.01;

/** A tensor that is learned. */
export interface Parameter {
  /** Its value for the next run. */
  value(): Value;
  /** Takes the step `step` (from 0) by the gradient with respect to that value. */
  step(gradient: Float32Array, step: number, decay: number): void;
  /** A copy of what has been learned, to come back to. */
  save(): () => void;
}

const BETA1 = 0.9, BETA2 = 0.999;

/** Adam's moments, and what they say. */
class Adam {
  readonly #first: Float32Array;
  readonly #second: Float32Array;

  constructor(size: number) {
    this.#first = new Float32Array(size);
    this.#second = new Float32Array(size);
  }

  /** The change of element i, for a step size of 1. */
  change(i: number, slope: number, step: number): number {
    const first = this.#first[i] = BETA1 * this.#first[i] + (1 - BETA1) * slope;
    const second = this.#second[i] = BETA2 * this.#second[i] + (1 - BETA2) * slope * slope;
    const mean = first / (1 - BETA1 ** (step + 1)), spread = second / (1 - BETA2 ** (step + 1));
    return mean / (Math.sqrt(spread) + 1e-12);
  }
}

/** The rounding of a layer's weight: ŵ = s · clip(round(w/s + α)). */
export class WeightParameter implements Parameter {
  readonly #layer: LayerPlan;
  readonly #tuning: LearnTuning;
  readonly #home: Float32Array;
  #scales: Float32Array;
  #alpha: Float32Array;
  readonly #adam: Adam;
  readonly #scaleAdam: Adam;
  readonly #lo: number;
  readonly #hi: number;

  /** Starts from `rounding`, around the weights `home`, (groups·rows) × depth. */
  constructor(layer: LayerPlan, rounding: Rounding, home: Float32Array, tuning: LearnTuning) {
    this.#layer = layer;
    this.#tuning = tuning;
    this.#home = home;
    this.#scales = rounding.scales.slice();
    this.#adam = new Adam(home.length);
    this.#scaleAdam = new Adam(this.#scales.length);
    this.#lo = -(2 ** (layer.bits - 1));
    this.#hi = 2 ** (layer.bits - 1) - 1;
    this.#alpha = home.map((w, i) => {
      const t = w / this.#scale(i), q = rounding.levels[i];
      // In the middle of the level: from its edge, noise would take many weights away at once.
      return q - t;
    });
  }

  #scaleIndex(i: number): number {
    if (this.#scales.length === 1) return 0;
    const { target: { depth }, blocksPerRow, blockSize } = this.#layer;
    const row = Math.floor(i / depth);
    return row * blocksPerRow + Math.floor((i - row * depth) / blockSize);
  }

  #scale(i: number): number {
    return this.#scales[this.#scaleIndex(i)];
  }

  #level(i: number): number {
    const t = this.#home[i] / this.#scale(i) + this.#alpha[i];
    let q = Math.round(t);
    if (Math.abs(t - Math.trunc(t)) === 0.5) q = 2 * Math.round(t / 2);
    return Math.min(this.#hi, Math.max(this.#lo, q));
  }

  value(): Value {
    const matrix = this.#home.map((_, i) => this.#scale(i) * this.#level(i));
    const { shape } = this.#layer.target;
    return { type: "float32", dims: [...shape], data: toTensorOrder(this.#layer.target, matrix) };
  }

  step(gradient: Float32Array, step: number, decay: number): void {
    const slopes = toMatrixOrder(this.#layer.target, gradient);
    const { tau, learningRate, rule } = this.#tuning;
    const ofScale = new Float64Array(this.#scales.length);
    for (let i = 0; i < slopes.length; i++) {
      const s = this.#scale(i), q = this.#level(i);
      ofScale[this.#scaleIndex(i)] += slopes[i] * q * s;
      let slope = slopes[i] * s;
      const t = this.#home[i] / s + this.#alpha[i];
      // Beyond the grid only the way back counts.
      if ((t > this.#hi + 0.5 && slope < 0) || (t < this.#lo - 0.5 && slope > 0)) slope = 0;
      if (rule === "erf") {
        const e = 0.5 * erf(this.#alpha[i] / (Math.SQRT2 * tau));
        slope *= slope > 0 ? 0.5 + e : 0.5 - e;
      }
      this.#alpha[i] -= learningRate * decay * this.#adam.change(i, slope, step);
    }
    for (let b = 0; b < this.#scales.length; b++) {
      this.#scales[b] *= Math.exp(
        -SCALE_RATE * decay * this.#scaleAdam.change(b, ofScale[b], step),
      );
    }
  }

  save(): () => void {
    const alpha = this.#alpha.slice(), scales = this.#scales.slice();
    return () => {
      this.#alpha = alpha;
      this.#scales = scales;
    };
  }

  /** The levels and scales as they are. */
  rounding(): Rounding {
    const levels = Int8Array.from(this.#home, (_, i) => this.#level(i));
    return { levels, scales: this.#scales };
  }
}

function erf(x: number): number {
  // Abramowitz and Stegun 7.1.26: error below 2e-7; only gradients use it.
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t +
        0.254829592) * t * Math.exp(-x * x);
  return x < 0 ? -y : y;
}

/** A layer's bias. */
export class BiasParameter implements Parameter {
  #bias: Float32Array;
  readonly #adam: Adam;
  readonly #rate: number;

  /** Starts from `bias`. */
  constructor(bias: Float32Array) {
    this.#bias = bias.slice();
    this.#adam = new Adam(bias.length);
    this.#rate = BIAS_RATE *
      Math.sqrt(bias.reduce((sum, value) => sum + value * value, 0) / bias.length);
  }

  value(): Value {
    return { type: "float32", dims: [this.#bias.length], data: this.#bias };
  }

  step(gradient: Float32Array, step: number, decay: number): void {
    this.#bias = this.#bias.map((value, i) =>
      value - this.#rate * decay * this.#adam.change(i, gradient[i], step)
    );
  }

  save(): () => void {
    const bias = this.#bias;
    return () => void (this.#bias = bias);
  }
}

/** The step of an activation's grid. */
export class StepParameter implements Parameter {
  #scale: number;
  readonly #adam = new Adam(1);

  /** Starts from `grid`. */
  constructor(grid: ActivationGrid) {
    this.#scale = grid.scale;
  }

  value(): Value {
    return { type: "float32", dims: [], data: Float32Array.of(this.#scale) };
  }

  step([slope]: Float32Array, step: number, decay: number): void {
    this.#scale = Math.fround(
      this.#scale *
        Math.exp(-STEP_RATE * decay * this.#adam.change(0, slope * this.#scale, step)),
    );
  }

  save(): () => void {
    const scale = this.#scale;
    return () => void (this.#scale = scale);
  }

  /** The step as it is. */
  get scale(): number {
    return this.#scale;
  }
}
