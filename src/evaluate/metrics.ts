/**
 * How far a model's outputs are from a reference's, and what that costs in accuracy.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { bootstrap, type Interval, wilson } from "./interval.ts";
import { largest } from "./output_comparison.ts";

/** The figures of a comparison. */
export interface Evaluation {
  /** Number of samples. */
  readonly samples: number;
  /** Percent of samples whose first answer is right; null unless all samples have labels. */
  readonly top1: number | null;
  /** Percent of samples with the right answer among the first five; null as `top1` is. */
  readonly top5: number | null;
  /** The same for the reference. */
  readonly reference: { readonly top1: number | null; readonly top5: number | null };
  /** Percent of samples with the same first answer as the reference. */
  readonly agreement: number;
  /** Σ (q − r)² / Σ r² over all outputs. */
  readonly mse: number;
  /**
   * Mean Kullback–Leibler divergence of the answer's distribution from the reference's, in nats.
   */
  readonly kl: number;
  /**
   * 95 % intervals by bootstrap over paired samples, of the agreement Wilson's; of accuracy, the
   * change against the reference.
   */
  readonly interval: {
    /** Of top1 − reference.top1, in points. */
    readonly top1: Interval | null;
    /** Of top5 − reference.top5, in points. */
    readonly top5: Interval | null;
    /** Of the agreement. */
    readonly agreement: Interval;
    /** Of the relative squared error. */
    readonly mse: Interval;
    /** Of the divergence. */
    readonly kl: Interval;
  };
}

/**
 * Figures of a sample, whatever the size of its outputs: Σ (q − r)², Σ r², the divergence, 1
 * where the first answers agree; then 1 where right within one and within five, of the model and of
 * the reference, NaN without a label.
 */
const FIGURES = 8;

/**
 * Gathers the outputs of two models, sample by sample.
 *
 * A sample's output is one vector, taken as the scores of its classes: logits, or probabilities,
 * which are told by the reference being ≥ 0 with the sum 1. Of other outputs (a regression, a map
 * of positions × classes) `mse` is the figure to go by.
 *
 * @example
 * ```ts
 * import { Comparison } from "./metrics.ts";
 *
 * const comparison = new Comparison();
 * comparison.add(new Float32Array([1, 3, 2]), new Float32Array([1, 2, 3]), 1);
 * const { top1, reference, agreement } = comparison.result();
 * if (top1 !== 0 || reference.top1 !== 100 || agreement !== 0) throw new Error("unexpected");
 * ```
 */
export class Comparison {
  readonly #figures: number[] = [];

  /**
   * Adds a sample: the output vectors of the reference and of the model, and the right class.
   *
   * An infinity that both give is no difference: what a mask rules out has no score.
   *
   * @throws {AttuneError} `bad-data` where the outputs differ in length, one alone is not finite,
   * or the label is no class.
   */
  add(reference: Float32Array, candidate: Float32Array, label?: number): void {
    const sample = this.#figures.length / FIGURES, { length } = reference;
    if (candidate.length !== length) {
      throw new AttuneError(
        "bad-data",
        `Cannot compare sample ${sample}: the reference gives ${length} values and the model ` +
          `${candidate.length}, give two models of the same outputs`,
      );
    }
    let error = 0, power = 0;
    for (let i = 0; i < length; i++) {
      if (isSameInfinity(reference[i], candidate[i])) continue;
      const difference = candidate[i] - reference[i];
      error += difference * difference;
      power += reference[i] * reference[i];
    }
    if (!Number.isFinite(error)) {
      const at = reference.findIndex((value, i) =>
        !Number.isFinite(value - candidate[i]) && !isSameInfinity(value, candidate[i])
      );
      const [which, values] = Number.isFinite(reference[at])
        ? ["model", candidate] as const
        : ["reference", reference] as const;
      throw new AttuneError(
        "bad-data",
        `Cannot compare sample ${sample}: output ${at} of the ${which} is ${values[at]}, ` +
          `look for overflow in the ${which}`,
      );
    }
    if (label !== undefined && !(Number.isInteger(label) && label >= 0 && label < length)) {
      throw new AttuneError(
        "bad-data",
        `Cannot use label ${label} of sample ${sample}: give a whole number from 0 to ` +
          `${length - 1}, the model has ${length} classes`,
      );
    }
    const place = label === undefined ? NaN : rank(candidate, label);
    const otherPlace = label === undefined ? NaN : rank(reference, label);
    const within = (place: number, count: number) =>
      Number.isNaN(place) ? NaN : Number(place < count);
    this.#figures.push(
      error,
      power,
      divergence(reference, candidate),
      Number(largest(reference) === largest(candidate)),
      within(place, 1),
      within(place, 5),
      within(otherPlace, 1),
      within(otherPlace, 5),
    );
  }

  /**
   * The figures of all samples so far.
   *
   * @throws {AttuneError} `bad-data` where there are none.
   */
  result(options: { /** Seed of the bootstrap. Default: 0. */ seed?: number } = {}): Evaluation {
    const figures = Float64Array.from(this.#figures), samples = figures.length / FIGURES;
    if (samples === 0) {
      throw new AttuneError("bad-data", "Cannot compare two models on 0 samples: give some");
    }
    const whole = summary(figures, (i) => i);
    const interval = bootstrap(samples, (draw) => summary(figures, draw), options.seed ?? 0);
    const labelled = !Number.isNaN(whole.top1);
    return {
      samples,
      top1: labelled ? whole.top1 : null,
      top5: labelled ? whole.top5 : null,
      reference: { top1: labelled ? whole.ref1 : null, top5: labelled ? whole.ref5 : null },
      agreement: whole.agreement,
      mse: whole.mse,
      kl: whole.kl,
      interval: {
        top1: labelled ? interval((s) => s.top1 - s.ref1) : null,
        top5: labelled ? interval((s) => s.top5 - s.ref5) : null,
        agreement: wilson(Math.round(whole.agreement * samples / 100), samples),
        mse: interval((s) => s.mse),
        kl: interval((s) => s.kl),
      },
    };
  }
}

/** The figures of as many samples as there are, the i-th being sample `pick(i)`. */
function summary(figures: Float64Array, pick: (i: number) => number) {
  const sums = new Float64Array(FIGURES), samples = figures.length / FIGURES;
  for (let i = 0; i < samples; i++) {
    const at = pick(i) * FIGURES;
    for (let k = 0; k < FIGURES; k++) sums[k] += figures[at + k];
  }
  const [error, power, kl, agrees, top1, top5, ref1, ref5] = sums;
  const percent = 100 / samples;
  return {
    mse: power > 0 ? error / power : error > 0 ? Infinity : 0,
    kl: kl / samples,
    agreement: agrees * percent,
    top1: top1 * percent,
    top5: top5 * percent,
    ref1: ref1 * percent,
    ref5: ref5 * percent,
  };
}

function isSameInfinity(a: number, b: number): boolean {
  return a === b && !Number.isFinite(a);
}

/** How many classes come before `label`; of equal ones, the first comes first. */
function rank(values: Float32Array, label: number): number {
  let before = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] > values[label] || (values[i] === values[label] && i < label)) before++;
  }
  return before;
}

/** KL(reference ‖ candidate) of the two distributions, in nats. */
function divergence(reference: Float32Array, candidate: Float32Array): number {
  // The reference decides for both: rounding keeps the model's probabilities from a sum of 1.
  const logOf = isDistribution(reference) ? logNormalized : logSoftmax;
  const p = logOf(reference), q = logOf(candidate);
  let sum = 0;
  // What has no share adds nothing, whatever its logarithm.
  for (let i = 0; i < p.length; i++) if (p[i] > -Infinity) sum += Math.exp(p[i]) * (p[i] - q[i]);
  return Math.max(0, sum);
}

/** Whether `values` are probabilities already: all ≥ 0, with the sum 1. */
function isDistribution(values: Float32Array): boolean {
  let sum = 0;
  for (const value of values) {
    if (value < 0) return false;
    sum += value;
  }
  return Math.abs(sum - 1) < 1e-3;
}

/** The logarithms of probabilities, of at least 1e-12 and scaled to the sum 1. */
function logNormalized(values: Float32Array): Float64Array {
  const floored = Float64Array.from(values, (value) => Math.max(value, 1e-12));
  const shift = Math.log(floored.reduce((sum, value) => sum + value, 0));
  return floored.map((value) => Math.log(value) - shift);
}

/** The logarithms of the softmax, with the largest logit taken out before the exponential. */
function logSoftmax(values: Float32Array): Float64Array {
  let most = -Infinity, total = 0;
  for (const value of values) most = Math.max(most, value);
  // An infinite score takes all, several share it; where all are ruled out, so do all.
  if (!Number.isFinite(most)) {
    const share = -Math.log(values.filter((value) => value === most).length);
    return Float64Array.from(values, (value) => value === most ? share : -Infinity);
  }
  for (const value of values) total += Math.exp(value - most);
  const shift = most + Math.log(total);
  return Float64Array.from(values, (value) => value - shift);
}
