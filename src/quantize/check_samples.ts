/**
 * Held-out samples one by one: accuracy where they have labels, and which of them come out worst.
 *
 * @module
 */

import { Comparison } from "../evaluate/metrics.ts";
import { largest } from "../evaluate/output_comparison.ts";
import type { HeldOutReport, SampleReport } from "../report/held_out_report.ts";
import type { Sample } from "../samples/sample.ts";
import { thumbnail } from "./thumbnail.ts";

/** Samples that are shown. */
const MOST_SHOWN = 8;

/** Gathers what both models say to held-out samples. */
export class HeldOutSamples {
  readonly #answers = new Comparison();
  /** The worst ones, the worst first; pictures are made of them alone. */
  #worst: { readonly sample: Sample; readonly report: SampleReport }[] = [];
  #count = 0;
  #labelled = true;

  /** Adds `sample`, with one row of the first output of each model, which can be compared. */
  add(sample: Sample, float: Float32Array, quantized: Float32Array): void {
    const index = this.#count++, { label, source } = sample;
    let error = 0, power = 0;
    for (let i = 0; i < float.length; i++) {
      if (Object.is(float[i], quantized[i])) {
        if (Number.isFinite(float[i])) power += float[i] ** 2;
        continue;
      }
      error += (quantized[i] - float[i]) ** 2;
      power += float[i] ** 2;
    }
    // A label of another task than classes is none of these scores.
    const isClass = label !== undefined && Number.isInteger(label) && label >= 0 &&
      label < float.length && float.length > 1;
    this.#labelled &&= isClass;
    if (this.#labelled) this.#answers.add(float, quantized, label);
    const relative = power > 0 ? error / power : error > 0 ? Number.MAX_VALUE : 0;
    const report = {
      source,
      index,
      error: relative,
      ...(isClass && { label }),
      ...(isClass && { answers: { float: largest(float), quantized: largest(quantized) } }),
    };
    this.#worst.push({ sample, report });
    this.#worst.sort((a, b) => b.report.error - a.report.error || a.report.index - b.report.index);
    this.#worst = this.#worst.slice(0, MOST_SHOWN);
  }

  /** What came of all of them; undefined without any. */
  report(): HeldOutReport | undefined {
    if (this.#count === 0) return undefined;
    const worst = this.#worst.map(({ sample, report }) => {
      const picture = thumbnail(sample.inputs);
      return { ...report, ...(picture !== undefined && { thumbnail: picture }) };
    });
    if (!this.#labelled) return { worst };
    const { top1, reference, interval } = this.#answers.result();
    const accuracy = { float: reference.top1!, quantized: top1!, change: interval.top1! };
    return { accuracy, worst };
  }
}
