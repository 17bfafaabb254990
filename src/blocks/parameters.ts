/**
 * What is learned in a block: the rounding of its weights, its biases, the steps of its
 * activations.
 *
 * @module
 */

import { onGrid } from "../layer/bias.ts";
import type { ActivationGrid, Rounding } from "../emit/build.ts";
import { scalesPerRow } from "../kernel/arguments.ts";
import type { Buffer, Kernel } from "../kernel/kernel.ts";
import type { LearnRule } from "./options.ts";
import type { Value } from "../runtime/session.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toMatrixOrder, toTensorOrder } from "../weights/matrix.ts";

/** How roundings are learned. */
export interface LearnTuning {
  /** What α's gradient is scaled by: the erf rule, or nothing; or AdaRound instead. */
  readonly rule: LearnRule;
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
  /** Its value for the next run; `final` is what would be written. */
  value(final: boolean): Value;
  /** Takes step `step` (from 0) by the gradient of its value. */
  step(gradient: Float32Array, step: number, pace: Pace): void;
  /** A copy of what has been learned, to come back to. */
  save(): () => void;
}

/** How far a step goes. */
export interface Pace {
  /** The share of the work that is left. */
  readonly remaining: number;
  /** What all step sizes are multiplied by: few steps must be long ones. */
  readonly speed: number;
}

/** The rounding of a weight. */
export interface RoundingParameter extends Parameter {
  /** The levels and scales as they are. */
  rounding(): Rounding;
}

/** Half a cosine from `speed` down to nothing, so that the last steps settle. */
function factorOf({ remaining, speed }: Pace): number {
  return speed * 0.5 * (1 - Math.cos(Math.PI * remaining));
}

/** Adam's state of one tensor in kernel memory. */
function momentsOf(kernel: Kernel, size: number): { readonly m: Buffer; readonly v: Buffer } {
  return { m: kernel.f32(size), v: kernel.f32(size) };
}

/** Remembers what is in `buffers`; returns how to get it back. */
export function saved(...buffers: readonly Buffer[]): () => void {
  const copies = buffers.map((buffer) => buffer.view.slice());
  return () => buffers.forEach((buffer, i) => buffer.view.set(copies[i]));
}

/** A layer's weights W in kernel memory, with one scale per row and group. */
export interface WeightGrid {
  /** W: rows × d. */
  readonly w: Buffer;
  /** Scales: rows × ⌈d / groupSize⌉, all the same where the layer has one. */
  readonly scale: Buffer;
  /** Weights that share a scale along a row. */
  readonly groupSize: number;
  /** Smallest level of each row. */
  readonly lo: Buffer;
  /** Largest level of a row less its smallest. */
  readonly span: number;
  /** Rows of all groups. */
  readonly rows: number;
  /** Weights per row. */
  readonly d: number;
}

/** The grid of `layer` as `rounding` has it, around the weights `w`, (groups·rows) × depth. */
export function weightGrid(
  kernel: Kernel,
  { target: { groups, rows, depth }, windows, groupsPerRow, groupSize }: LayerPlan,
  { scales, lows }: Pick<Rounding, "scales" | "lows">,
  w: Float32Array,
): WeightGrid {
  const scale = kernel.f32(groups * rows * groupsPerRow);
  const grid = { w: kernel.f32(w), scale, groupSize, rows: groups * rows, d: depth };
  setScales(grid, scales);
  return { ...grid, lo: kernel.f32(Float32Array.from(lows)), span: windows.span };
}

/** Gives every row and group its scale, where all share one. */
function setScales({ scale }: Pick<WeightGrid, "scale">, scales: Float32Array): void {
  if (scales.length === 1) scale.view.fill(scales[0]);
  else scale.view.set(scales);
}

/** The scale of each element of W. */
export function scalesOf({ scale, groupSize, rows, d }: WeightGrid): Float32Array {
  const scales = scale.view, perRow = scalesPerRow(d, groupSize);
  return Float32Array.from(
    { length: rows * d },
    (_, i) => scales[Math.floor(i / d) * perRow + Math.floor(i % d / groupSize)],
  );
}

/** The levels of values on a grid. */
export function levelsOf(grid: WeightGrid, values: Float32Array): Int8Array {
  const scales = scalesOf(grid);
  return Int8Array.from(values, (value, i) => Math.round(value / scales[i]));
}

/**
 * The rounding of a layer's weight: ŵ = s · clip(round(w/s + α)). Its buffers live with `kernel`.
 */
export class WeightParameter implements RoundingParameter {
  readonly #kernel: Kernel;
  readonly #layer: LayerPlan;
  readonly #tuning: LearnTuning;
  readonly #rounding: Rounding;
  readonly #grid: WeightGrid;
  readonly #alpha: Buffer;
  readonly #moments: { readonly m: Buffer; readonly v: Buffer };
  /** log s of every scale that is learned, and its gradient: as many as the rounding has. */
  readonly #logs: Buffer;
  readonly #logMoments: { readonly m: Buffer; readonly v: Buffer };

  /** Starts from `rounding`, around the weights `home`, (groups·rows) × depth. */
  constructor(
    kernel: Kernel,
    layer: LayerPlan,
    rounding: Rounding,
    home: Float32Array,
    tuning: LearnTuning,
  ) {
    this.#kernel = kernel;
    this.#layer = layer;
    this.#tuning = tuning;
    this.#rounding = rounding;
    this.#grid = weightGrid(kernel, layer, rounding, home);
    this.#logs = kernel.f32(rounding.scales.map(Math.log));
    // In the middle of the level: from its edge, noise would take many weights away at once.
    const scales = scalesOf(this.#grid);
    this.#alpha = kernel.f32(home.map((w, i) => rounding.levels[i] - w / scales[i]));
    this.#moments = momentsOf(kernel, home.length);
    this.#logMoments = momentsOf(kernel, rounding.scales.length);
  }

  get #scales(): Float32Array {
    return this.#logs.view.map(Math.exp);
  }

  /** ŵ as the matrix W. */
  #rounded(): Float32Array {
    const kernel = this.#kernel, { rows, d } = this.#grid;
    const mark = kernel.mark(), out = kernel.f32(rows * d);
    kernel.attentionForward({ ...this.#grid, alpha: this.#alpha, out });
    const values = out.view.slice();
    kernel.reset(mark);
    return values;
  }

  value(): Value {
    const { target } = this.#layer;
    const data = toTensorOrder(target, this.#rounded());
    return { type: "float32", dims: [...target.shape], data };
  }

  step(gradient: Float32Array, step: number, pace: Pace): void {
    const kernel = this.#kernel, mark = kernel.mark();
    const { tau, learningRate, rule } = this.#tuning;
    const slopes = kernel.f32(this.#grid.scale.length);
    kernel.attentionStep({
      ...this.#grid,
      ...this.#moments,
      alpha: this.#alpha,
      gradient: kernel.f32(toMatrixOrder(this.#layer.target, gradient)),
      tau: rule === "erf" ? tau : 0,
      rate: learningRate * factorOf(pace),
      step,
      slopes,
    });
    const n = this.#logs.length;
    if (n < slopes.length) slopes.view[0] = slopes.view.reduce((a, b) => a + b);
    const moments = { ...this.#logMoments, step, rate: SCALE_RATE * factorOf(pace) };
    kernel.adam({ ...moments, x: this.#logs, g: slopes, n });
    setScales(this.#grid, this.#scales);
    kernel.reset(mark);
  }

  save(): () => void {
    const restore = saved(this.#alpha, this.#logs);
    return () => {
      restore();
      setScales(this.#grid, this.#scales);
    };
  }

  rounding(): Rounding {
    const levels = levelsOf(this.#grid, this.#rounded());
    return { ...this.#rounding, levels, scales: this.#scales };
  }
}

/** A layer's bias, on its int32 grid where it has one; the gradient goes straight through that. */
export class BiasParameter implements Parameter {
  readonly #kernel: Kernel;
  readonly #steps: Float32Array | undefined;
  readonly #bias: Buffer;
  readonly #moments: { readonly m: Buffer; readonly v: Buffer };
  readonly #rate: number;

  /** Starts from `bias`; `steps` are those of its grid. */
  constructor(kernel: Kernel, bias: Float32Array, steps: Float32Array | undefined) {
    this.#kernel = kernel;
    this.#steps = steps;
    this.#bias = kernel.f32(bias);
    this.#moments = momentsOf(kernel, bias.length);
    this.#rate = BIAS_RATE *
      Math.sqrt(bias.reduce((sum, value) => sum + value * value, 0) / bias.length);
  }

  value(): Value {
    return { type: "float32", dims: [this.#bias.length], data: onGrid(this.bias, this.#steps) };
  }

  /** The bias as it is, off the grid. */
  get bias(): Float32Array {
    return this.#bias.view.slice();
  }

  step(gradient: Float32Array, step: number, pace: Pace): void {
    const kernel = this.#kernel, mark = kernel.mark();
    const moments = { ...this.#moments, step, rate: this.#rate * factorOf(pace) };
    kernel.adam({ ...moments, x: this.#bias, g: kernel.f32(gradient), n: gradient.length });
    kernel.reset(mark);
  }

  save(): () => void {
    return saved(this.#bias);
  }
}

/** The step of an activation's grid. */
export class StepParameter implements Parameter {
  readonly #kernel: Kernel;
  /** log s: a step stays positive. */
  readonly #log: Buffer;
  readonly #moments: { readonly m: Buffer; readonly v: Buffer };

  /** Starts from `grid`. */
  constructor(kernel: Kernel, grid: ActivationGrid) {
    this.#kernel = kernel;
    this.#log = kernel.f32(Float32Array.of(Math.log(grid.scale)));
    this.#moments = momentsOf(kernel, 1);
  }

  value(): Value {
    return { type: "float32", dims: [], data: Float32Array.of(this.scale) };
  }

  step([slope]: Float32Array, step: number, pace: Pace): void {
    const kernel = this.#kernel, mark = kernel.mark();
    const g = kernel.f32(Float32Array.of(slope * this.scale));
    kernel.adam({
      ...this.#moments,
      step,
      rate: STEP_RATE * factorOf(pace),
      x: this.#log,
      g,
      n: 1,
    });
    kernel.reset(mark);
  }

  save(): () => void {
    return saved(this.#log);
  }

  /** The step as it is. */
  get scale(): number {
    return Math.fround(Math.exp(this.#log.view[0]));
  }
}
