/**
 * How far a model's outputs are from a reference's, and what that costs in accuracy.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";

/** A 95 % interval. */
export type Interval = readonly [low: number, high: number];

/** The figures of a comparison. */
export interface Evaluation {
  /** Number of samples. */
  readonly samples: number;
  /** Percent of labelled samples whose first answer is right; null without labels. */
  readonly top1: number | null;
  /** Percent of labelled samples with the right answer among the first five; null without labels. */
  readonly top5: number | null;
  /** The same for the reference. */
  readonly reference: { readonly top1: number | null; readonly top5: number | null };
  /** Percent of samples with the same first answer as the reference. */
  readonly agreement: number;
  /** Σ (q − r)² / Σ r² over all outputs. */
  readonly mse: number;
  /** Mean Kullback–Leibler divergence of the answer's distribution from the reference's, in nats. */
  readonly kl: number;
  /** 95 % intervals by bootstrap over paired samples; of accuracy, the change against the reference. */
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

/** What is kept of a sample: a few numbers, whatever the size of the outputs. */
interface Row {
  readonly error: number;
  readonly power: number;
  readonly kl: number;
  readonly agrees: number;
  /** Right within one and within five, of model and reference; undefined without a label. */
  readonly right?: {
    readonly top1: number;
    readonly top5: number;
    readonly ref1: number;
    readonly ref5: number;
  };
}

/** Resamples of the bootstrap. */
const RESAMPLES = 2000;

/**
 * Gathers the outputs of two models, sample by sample.
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
  readonly #rows: Row[] = [];

  /**
   * Adds a sample: the output vectors of the reference and of the model, and the right class.
   *
   * @throws {AttuneError} `bad-data` where an output is not a number or the label is no class.
   */
  add(reference: Float32Array, candidate: Float32Array, label?: number): void {
    let error = 0, power = 0;
    for (let i = 0; i < reference.length; i++) {
      const difference = candidate[i] - reference[i];
      error += difference * difference;
      power += reference[i] * reference[i];
    }
    if (!Number.isFinite(error)) {
      const which = reference.every(Number.isFinite) ? "quantized model" : "reference";
      throw new AttuneError(
        "bad-data",
        `Cannot compare sample ${this.#rows.length}: the ${which} gives outputs that are not finite`,
      );
    }
    if (label !== undefined && !(label < reference.length)) {
      throw new AttuneError(
        "bad-data",
        `Cannot use label ${label} of sample ${this.#rows.length}: the model has ` +
          `${reference.length} classes`,
      );
    }
    this.#rows.push({
      error,
      power,
      kl: divergence(reference, candidate),
      agrees: Number(largest(reference) === largest(candidate)),
      right: label === undefined ? undefined : {
        top1: Number(rank(candidate, label) < 1),
        top5: Number(rank(candidate, label) < 5),
        ref1: Number(rank(reference, label) < 1),
        ref5: Number(rank(reference, label) < 5),
      },
    });
  }

  /** The figures of all samples so far; there must be one at least. */
  result(options: { /** Seed of the bootstrap. Default: 0. */ seed?: number } = {}): Evaluation {
    const rows = this.#rows;
    const labelled = rows.every((row) => row.right !== undefined);
    const whole = summary(rows, labelled);
    const random = generator(options.seed ?? 0);
    const draws = Array.from(
      { length: RESAMPLES },
      () => summary(Array.from(rows, () => rows[Math.floor(random() * rows.length)]), labelled),
    );
    const interval = (value: (s: Summary) => number): Interval => {
      const sorted = draws.map(value).sort((a, b) => a - b);
      return [sorted[Math.floor(RESAMPLES * 0.025)], sorted[Math.floor(RESAMPLES * 0.975)]];
    };
    return {
      samples: rows.length,
      top1: labelled ? whole.top1 : null,
      top5: labelled ? whole.top5 : null,
      reference: { top1: labelled ? whole.ref1 : null, top5: labelled ? whole.ref5 : null },
      agreement: whole.agreement,
      mse: whole.mse,
      kl: whole.kl,
      interval: {
        top1: labelled ? interval((s) => s.top1 - s.ref1) : null,
        top5: labelled ? interval((s) => s.top5 - s.ref5) : null,
        agreement: interval((s) => s.agreement),
        mse: interval((s) => s.mse),
        kl: interval((s) => s.kl),
      },
    };
  }
}

type Summary = ReturnType<typeof summary>;

function summary(rows: readonly Row[], labelled: boolean) {
  let error = 0, power = 0, kl = 0, agrees = 0, top1 = 0, top5 = 0, ref1 = 0, ref5 = 0;
  for (const row of rows) {
    error += row.error;
    power += row.power;
    kl += row.kl;
    agrees += row.agrees;
    if (!labelled) continue;
    top1 += row.right!.top1;
    top5 += row.right!.top5;
    ref1 += row.right!.ref1;
    ref5 += row.right!.ref5;
  }
  const percent = 100 / rows.length;
  return {
    mse: power > 0 ? error / power : error > 0 ? Infinity : 0,
    kl: kl / rows.length,
    agreement: agrees * percent,
    top1: top1 * percent,
    top5: top5 * percent,
    ref1: ref1 * percent,
    ref5: ref5 * percent,
  };
}

/** The index of the largest value; of equal ones, the first. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** How many classes come before `label`; of equal ones, the first comes first. */
function rank(values: Float32Array, label: number): number {
  let before = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] > values[label] || (values[i] === values[label] && i < label)) before++;
  }
  return before;
}

/** KL(reference ‖ candidate) of the two distributions. */
function divergence(reference: Float32Array, candidate: Float32Array): number {
  const p = logProbabilities(reference), q = logProbabilities(candidate);
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i]) * (p[i] - q[i]);
  return Math.max(0, sum);
}

/** Log-softmax; of values that are probabilities already (≥ 0, sum 1), their logarithms. */
function logProbabilities(values: Float32Array): Float64Array {
  let sum = 0, least = Infinity, most = -Infinity;
  for (const value of values) {
    sum += value;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  if (least >= 0 && Math.abs(sum - 1) < 1e-3) {
    return Float64Array.from(values, (value) => Math.log(Math.max(value, 1e-12)));
  }
  let total = 0;
  for (const value of values) total += Math.exp(value - most);
  const shift = most + Math.log(total);
  return Float64Array.from(values, (value) => value - shift);
}

/** Numbers from 0 to 1, the same on every engine: SplitMix32 (Steele, Lea, Flood 2014). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}
