/**
 * One output of two models side by side, by what suits it: scores of classes by their answers,
 * other floats by angle and noise, integers by equality.
 *
 * @module
 */

import { type Interval, wilson } from "./interval.ts";

/** What every output is told by. */
export interface OutputFigures {
  /** The output's name. */
  readonly name: string;
  /** Samples that could be compared: lengths that differ cannot, nor what is not finite in one. */
  readonly samples: number;
}

/** How far floats are from those of the reference. */
export interface FloatFigures extends OutputFigures {
  /** Σ (q − r)² / Σ r². */
  readonly mse: number;
  /** The same as a signal-to-noise ratio, −10 log₁₀ of it, in dB; null where nothing differs. */
  readonly sqnr: number | null;
  /** Cosine between the two outputs of a sample: the mean over samples, and the least. */
  readonly cosine: { readonly mean: number; readonly least: number };
}

/**
 * One output beside the reference's.
 *
 * - `scores`: a vector of floats for each sample, taken as scores of classes: the share of samples
 *   with the same first answer counts. Of an embedding, which looks alike, the cosine does.
 * - `values`: any other floats, as maps, boxes, or one number.
 * - `integers`: classes, tokens, truth values: the share of equal ones counts.
 */
export type OutputEvaluation =
  | FloatFigures & {
    readonly kind: "scores";
    /** Percent of samples with the same first answer, with its 95 % interval. */
    readonly agreement: number;
    readonly interval: Interval;
  }
  | FloatFigures & { readonly kind: "values" }
  | OutputFigures & {
    readonly kind: "integers";
    /** Percent of values that are the same. */
    readonly equal: number;
  };

/**
 * What kind of output has elements of `type` and the shape `dims`, batch included, of which
 * `length` elements belong to each sample.
 */
export function kindOf(
  type: string,
  dims: readonly number[],
  length: number,
): OutputEvaluation["kind"] {
  if (!type.startsWith("float")) return "integers";
  // The last axis alone is a sample's: not one number each, nor boxes of one image.
  return dims.length <= 2 && length > 1 && length === dims.at(-1) ? "scores" : "values";
}

/** Gathers one output of two models, sample by sample. */
export class OutputComparison {
  readonly #name: string;
  readonly #kind: OutputEvaluation["kind"];
  #samples = 0;
  #error = 0;
  #power = 0;
  #cosines = 0;
  #least = 1;
  /** Of scores samples, of integers values. */
  #same = 0;
  #values = 0;

  /** Nothing so far of the output `name`. */
  constructor(name: string, kind: OutputEvaluation["kind"]) {
    this.#name = name;
    this.#kind = kind;
  }

  /** Adds what the reference and the model say to a sample; false where that is no pair. */
  add(reference: Float32Array, candidate: Float32Array): boolean {
    if (reference.length !== candidate.length) return false;
    let error = 0, power = 0, other = 0, product = 0, same = 0;
    for (let i = 0; i < reference.length; i++) {
      const r = reference[i], q = candidate[i];
      if (Object.is(r, q)) same++;
      // An infinity, or no number, that both give is no difference.
      if (!Number.isFinite(r) && Object.is(r, q)) continue;
      error += (q - r) ** 2;
      power += r * r;
      other += q * q;
      product += q * r;
    }
    if (!Number.isFinite(error)) return false;
    this.#samples++;
    this.#error += error;
    this.#power += power;
    const norm = Math.sqrt(power * other), cosine = norm > 0 ? product / norm : Number(error === 0);
    this.#cosines += cosine;
    this.#least = Math.min(this.#least, cosine);
    this.#values += reference.length;
    this.#same += this.#kind === "integers"
      ? same
      : Number(largest(reference) === largest(candidate));
    return true;
  }

  /** The figures of all samples so far; undefined where there are none. */
  result(): OutputEvaluation | undefined {
    const samples = this.#samples, figures = { name: this.#name, samples };
    if (samples === 0) return undefined;
    if (this.#kind === "integers") {
      const equal = this.#values === 0 ? 100 : 100 * this.#same / this.#values;
      return { ...figures, kind: "integers", equal };
    }
    const mse = this.#power > 0 ? this.#error / this.#power : this.#error > 0 ? Infinity : 0;
    const floats = {
      ...figures,
      mse,
      sqnr: mse > 0 && mse < Infinity ? -10 * Math.log10(mse) : null,
      cosine: { mean: this.#cosines / samples, least: this.#least },
    };
    if (this.#kind === "values") return { ...floats, kind: "values" };
    const agreement = 100 * this.#same / samples;
    return { ...floats, kind: "scores", agreement, interval: wilson(this.#same, samples) };
  }
}

/** The index of the largest value; of equal ones, the first. */
export function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
