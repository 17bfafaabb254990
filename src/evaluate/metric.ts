/**
 * Figures of the user's own: what counts for a detector, a tagger, a language model.
 *
 * @module
 */

import type { Sample, TensorValue } from "../samples/sample.ts";
import { bootstrap, type Interval } from "./interval.ts";

/** What a model says to one sample: its outputs by name, without the axis that counts samples. */
export type SampleOutputs = Readonly<Record<string, TensorValue>>;

/**
 * A figure of the user's own.
 *
 * - `mean`: a score for each sample; their mean is the figure, with its interval.
 * - `whole`: one figure of all samples, as mean average precision: `start` is called for each of
 *   the two models, and what it gives hears of every sample.
 *
 * @example How often the right class is among the first three
 * ```ts
 * import type { Metric } from "./metric.ts";
 *
 * const top3: Metric = {
 *   kind: "mean",
 *   name: "top-3",
 *   score({ logits: { data } }, { label = -1 }) {
 *     const order = Array.from(data, Number).map((score, i) => [score, i]);
 *     const first = order.sort(([a], [b]) => b - a).slice(0, 3);
 *     return Number(first.some(([, i]) => i === label));
 *   },
 * };
 * const outputs = { logits: { dims: [4], data: Float32Array.of(4, 3, 2, 1) } };
 * const score = top3.score(outputs, { inputs: {}, label: 2, source: "mine" });
 * if (score !== 1) throw new Error("unexpected");
 * ```
 */
export type Metric =
  | {
    readonly kind: "mean";
    /** What to call it. */
    readonly name: string;
    /** The score of one sample. */
    score(outputs: SampleOutputs, sample: Sample): number;
  }
  | {
    readonly kind: "whole";
    /** What to call it. */
    readonly name: string;
    /** Begins to count, for one model. */
    start(): MetricCount;
  };

/** What counts a {@linkcode Metric} of one model. */
export interface MetricCount {
  /** Hears of a sample. */
  add(outputs: SampleOutputs, sample: Sample): void;
  /** The figure of all samples. */
  result(): number;
}

/** What came of a metric. */
export interface MetricResult {
  /** Its name. */
  readonly name: string;
  /** The figure of the model. */
  readonly model: number;
  /** The figure of the reference. */
  readonly reference: number;
  /** The 95 % interval of the model's minus the reference's; null where none is known. */
  readonly change: Interval | null;
}

/** Counts `metric` of a model and its reference. */
export class MetricComparison {
  readonly #metric: Metric;
  readonly #counts: readonly MetricCount[];
  readonly #scores: readonly number[][] = [[], []];

  /** Begins to count. */
  constructor(metric: Metric) {
    this.#metric = metric;
    this.#counts = metric.kind === "whole" ? [metric.start(), metric.start()] : [];
  }

  /** Adds what both say to a sample. */
  add(model: SampleOutputs, reference: SampleOutputs, sample: Sample): void {
    const metric = this.#metric;
    for (const [i, outputs] of [model, reference].entries()) {
      if (metric.kind === "mean") this.#scores[i].push(metric.score(outputs, sample));
      else this.#counts[i].add(outputs, sample);
    }
  }

  /** The figures of all samples so far. */
  result(): MetricResult {
    const { kind, name } = this.#metric;
    if (kind === "whole") {
      const [model, reference] = this.#counts.map((count) => count.result());
      return { name, model, reference, change: null };
    }
    const [mine, others] = this.#scores, { length } = mine;
    const mean = (scores: readonly number[]) => scores.reduce((sum, s) => sum + s, 0) / length;
    const change = bootstrap(length, (draw) => {
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const at = draw();
        sum += mine[at] - others[at];
      }
      return sum / length;
    }, 0)((value) => value);
    return { name, model: mean(mine), reference: mean(others), change };
  }
}
