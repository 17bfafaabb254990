/**
 * What a report says of held-out samples, as plain values.
 *
 * @module
 */

import type { Evaluation } from "../evaluate/metrics.ts";

/** One held-out sample, by the first output of the model. */
export interface SampleReport {
  /** Where it comes from: a file's path, or `array[index]`. */
  readonly source: string;
  /** Its number among the held-out samples. */
  readonly index: number;
  /** Σ (q − r)² / Σ r² of the written model against the float model. */
  readonly error: number;
  /**
   * The first answers of both, by their indices; undefined where the output is no list of scores.
   */
  readonly answers?: { readonly float: number; readonly quantized: number };
  /** Its class, where that is known. */
  readonly label?: number;
  /** A small picture of its input as a `data:` URL, where that looks like an image. */
  readonly thumbnail?: string;
}

/** Held-out samples. */
export interface HeldOutReport {
  /** Accuracy of both models in percent, with the change's interval, where all have labels. */
  readonly accuracy?: {
    readonly float: number;
    readonly quantized: number;
    /** 95 % interval of the change, in points. */
    readonly change: NonNullable<Evaluation["interval"]["top1"]>;
  };
  /** Those with the largest errors, the worst first. */
  readonly worst: readonly SampleReport[];
}
