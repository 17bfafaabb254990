/**
 * The report of a run as a plain value: what was done, and what was lost.
 *
 * @module
 */

import type { Remedy } from "../errors.ts";
import type { Interval } from "../evaluate/interval.ts";
import type { OutputEvaluation } from "../evaluate/output_comparison.ts";
import type { Allocation } from "../plan/allocation.ts";
import type { HeldOutReport } from "./held_out_report.ts";

/** One layer of a report. */
export interface LayerReport {
  /** The node's name. */
  readonly name: string;
  /** Its operator. */
  readonly op: string;
  /** The weight's name. */
  readonly weight: string;
  /** The weight's shape. */
  readonly shape: readonly number[];
  /** Groups of a convolution. */
  readonly groups: number;
  /** Bits of a level. */
  readonly bits: number;
  /** The grid in a few letters: the bits, or `ternary`. */
  readonly grid: string;
  /** Bits that the file keeps per level. */
  readonly storedBits: number;
  /** How the file keeps it: `integer`, `packed` or `matmulnbits`. */
  readonly storage: string;
  /** How many weights share a scale: `tensor`, `channel` or `group:N`. */
  readonly granularity: string;
  /** Bytes of the float weight. */
  readonly bytesBefore: number;
  /** Bytes of levels and scales. */
  readonly bytesAfter: number;
  /** Why the width is not the one asked for, where it is not. */
  readonly note?: string;
  /**
   * Squared output error on calibration data, relative to the output's power; of weights at their
   * nearest 8-bit levels, as if the layer's inputs did not depend on one another.
   */
  readonly error: { readonly nearest: number; readonly final: number };
  /** Weights in steps of their scale, counted between `lo` and `hi`. */
  readonly histogram: {
    readonly lo: number;
    readonly hi: number;
    readonly counts: readonly number[];
  };
  /** The levels of the grid. */
  readonly levels: { readonly lo: number; readonly hi: number };
  /** The grid of the layer's input, where it is quantized. */
  readonly activation?: {
    readonly lo: number;
    readonly hi: number;
    readonly bits: number;
    readonly scale: number;
    readonly zeroPoint: number;
    /** The share of calibration values outside of the range; undefined where nobody has counted. */
    readonly clipped?: number;
    /** The widest channel over the median one; undefined where there are none to compare. */
    readonly spread?: number;
  };
}

/** One embedding table of a report. */
export interface TableReport {
  /** The names of the nodes that take rows of it. */
  readonly nodes: readonly string[];
  /** The initializer. */
  readonly weight: string;
  /** Rows, and values per row. */
  readonly shape: readonly number[];
  /** Bits of a level. */
  readonly bits: number;
  /** How many values share a scale: `group:N`. */
  readonly granularity: string;
  /** Bytes of the float table. */
  readonly bytesBefore: number;
  /** Bytes of levels and scales. */
  readonly bytesAfter: number;
  /** Squared error of its values, relative to their power. */
  readonly error: number;
}

/**
 * What came of a block that was to be learned.
 *
 * - `learned`: it is better than its layers were as they had been rounded. In all other cases they
 *   stay so.
 * - `no gain`: learning did not make it better.
 * - `no time`: the time budget was spent.
 * - `too few samples`: there are too few to learn from some and judge by others.
 * - `no single samples`: samples cannot be picked out of the tensors around it.
 * - `enough bits`: all of its layers have so many that there is nothing to learn.
 * - `no gradient`: it cannot be differentiated: a node has no gradient here, or samples do not lie
 *   along the first axis of a tensor within.
 */
export type BlockOutcome =
  | "learned"
  | "no gain"
  | "no time"
  | "too few samples"
  | "no single samples"
  | "enough bits"
  | "no gradient";

/** Every {@linkcode BlockOutcome}. */
export const BLOCK_OUTCOMES: readonly BlockOutcome[] = [
  "learned",
  "no gain",
  "no time",
  "too few samples",
  "no single samples",
  "enough bits",
  "no gradient",
];

/** One block of a report: layers that were learned together. */
export interface BlockReport {
  /** The layers' names. */
  readonly layers: readonly string[];
  /** Gradient steps that were done. */
  readonly iterations: number;
  /**
   * Squared error of its outputs on samples that it did not learn from, relative to their power;
   * undefined where nothing was tried.
   */
  readonly error?: { readonly before: number; readonly after: number };
  /** What came of it. */
  readonly outcome: BlockOutcome;
  /** Why it stays as its layers were rounded, where it does, in words. */
  readonly note?: string;
}

/** One width of nested grids: the file that is cut to it, on held-out samples. */
export interface NestedReport {
  /** Bits of a weight. */
  readonly bits: number;
  /** Bytes of the file that is cut to it. */
  readonly bytes: number;
  /** Σ (q − r)² / Σ r² of its first output against the float model's; null without samples. */
  readonly mse: number | null;
  /** Percent of samples with the float model's answer; null without samples. */
  readonly agreement: number | null;
}

/** The report of a run. */
export interface Report {
  /** The version of attune. */
  readonly version: string;
  /** The model's file name. */
  readonly model: string;
  /** The rounding method. */
  readonly method: string;
  /** The options of the run. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The seed. */
  readonly seed: number;
  /** Samples used for calibration and kept out of it; unreadable ones, where somebody counted. */
  readonly samples: {
    readonly calibration: number;
    readonly heldOut: number;
    readonly skipped?: number;
  };
  /** Bytes of all initializers. */
  readonly size: { readonly before: number; readonly after: number };
  /** Bytes of the model's files, data files included, where whoever runs the job knows them. */
  readonly file?: { readonly before: number; readonly after: number };
  /**
   * How widths were chosen layer by layer, and what each layer pays; undefined where they were
   * given.
   */
  readonly allocation?: Allocation;
  /** The quantized layers. */
  readonly layers: readonly LayerReport[];
  /** The quantized embedding tables; none where the format has no operator for them. */
  readonly tables: readonly TableReport[];
  /** The blocks that were learned, or tried; none where layers stay as they were rounded. */
  readonly blocks: readonly BlockReport[];
  /** The layers, and all other nodes with a weight of more than 1 kB, that stay in float. */
  readonly skipped: readonly {
    readonly name: string;
    readonly op: string;
    readonly reason: string;
    /** The weight that it keeps, where that takes more than 1 kB. */
    readonly weight?: string;
    /** Bytes of that weight. */
    readonly bytes?: number;
  }[];
  /** What the user should know. */
  readonly warnings: readonly string[];
  /** The written model on held-out samples; null where there were none. */
  readonly check: {
    /** Σ (q − r)² / Σ r² against the float model. */
    readonly mseToFloat: number;
    /** Percent of samples with the float model's answer. */
    readonly agreementToFloat: number;
    /** Σ (q − s)² / Σ s² against the simulation that calibration ran. */
    readonly mseToSimulation: number;
    /** 95 % intervals: of the error to the float model, and of the agreement. */
    readonly interval: { readonly mseToFloat: Interval; readonly agreementToFloat: Interval };
    /** The errors of every output; those above are of the first. */
    readonly outputs: readonly {
      readonly name: string;
      readonly mseToFloat: number;
      readonly mseToSimulation: number;
      /** The output beside the float model's, by what suits it; none where none can be compared. */
      readonly evaluation?: OutputEvaluation;
    }[];
  } | null;
  /** What to try where the result is bad: options of a next job, the best first. */
  readonly remedies?: readonly Remedy[];
  /** What each width of nested grids comes to; undefined where there is one alone. */
  readonly nested?: readonly NestedReport[];
  /** Held-out samples one by one; undefined where none were compared. */
  readonly heldOut?: HeldOutReport;
  /** The command that repeats the job, where it was one. */
  readonly command?: string;
  /** Seconds by kind of work. */
  readonly stages: readonly { readonly name: string; readonly seconds: number }[];
  /** Largest resident memory seen, in bytes, where that was measured. */
  readonly peakMemory?: number;
}
