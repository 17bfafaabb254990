/**
 * Options of the jobs that calibrate, with their checks and defaults.
 *
 * @module
 */

import { type BlockSettings, type Reconstruction, resolveBlocks } from "../blocks/options.ts";
import type { CheckpointStore } from "../calibrate/checkpoint.ts";
import { AttuneError } from "../errors.ts";
import type { BatchingOptions } from "../forward/probe.ts";
import { checkCount, type RangeMethod } from "../plan/options.ts";
import type { Plan } from "../plan/plan.ts";
import type { WatchOptions } from "../progress.ts";
import type { GridKind } from "../round/method.ts";
import { checkMethod, DEFAULT_METHOD, gridRefusal, type RoundingMethod } from "../round/methods.ts";

/** Options of every job that calibrates. */
export interface CalibrationOptions extends BatchingOptions, WatchOptions {
  /**
   * How levels are found. Default: attention, as each job says with how many candidates per row.
   */
  rounding?: RoundingMethod;
  /**
   * How ranges of activations are found. Default: the smallest and largest value; of 4 bits, mse.
   */
  range?: RangeMethod;
  /** Pull towards the original weights, relative to the mean of H's diagonal. Default: 0.01. */
  damping?: number;
  /** Samples kept out of calibration to judge by. Default: as each job says. */
  heldOut?: number;
  /** Decides every random choice. Default: 0. */
  seed?: number;
}

/**
 * Options of {@linkcode quantize}: 16 candidates per row; 32 samples held out, at most one in 16.
 */
export interface QuantizeOptions extends CalibrationOptions {
  /** Whether layers repair the error of those before them. Default: true. */
  floatTargetShift?: boolean;
  /** Whether the means are set right by the bias. Default: true. */
  biasCorrection?: boolean;
  /** Whether scales are fitted again once the levels are known. Default: true. */
  scaleRefit?: boolean;
  /** Whether blocks are learned after their layers were rounded. Default: not. */
  reconstruction?: Reconstruction;
  /**
   * Where the job's state goes after each segment; clear it once the result is written. Default:
   * nowhere.
   */
  checkpoint?: CheckpointStore;
  /** Goes on from the state in `checkpoint`, if there is one. Default: false. */
  resume?: boolean;
  /** When the job began, by `performance.now()`: what a time budget counts from. Default: now. */
  started?: number;
}

/** {@linkcode CalibrationOptions}, checked, with defaults. */
export interface CalibrationSettings extends BatchingOptions, WatchOptions {
  /** How levels are found. */
  readonly rounding: RoundingMethod;
  /** How ranges of activations are found. */
  readonly range: RangeMethod;
  /** Pull towards the original weights. */
  readonly damping: number;
  /** Samples kept out of calibration, at most. */
  readonly heldOut: number;
  /** Decides every random choice. */
  readonly seed: number;
}

/** {@linkcode QuantizeOptions} that decide the result, checked, with defaults. */
export interface QuantizeSettings extends CalibrationSettings {
  /** Whether layers repair the error of those before them. */
  readonly floatTargetShift: boolean;
  /** Whether the means are set right by the bias. */
  readonly biasCorrection: boolean;
  /** Whether scales are fitted again once the levels are known. */
  readonly scaleRefit: boolean;
  /** How blocks are learned; undefined where they are not. */
  readonly blocks: BlockSettings | undefined;
}

/** Pull towards the original weights where nobody says otherwise. */
const DAMPING = 0.01, MOST_DAMPING = 10;
/** Samples that {@linkcode quantize} keeps out. */
const HELD_OUT = 32;

/**
 * Checks what all jobs that calibrate take; `defaults` are those in which they differ.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 */
export function resolveCalibration(
  plan: Plan,
  options: CalibrationOptions,
  defaults: Pick<CalibrationSettings, "rounding" | "heldOut">,
): CalibrationSettings {
  const { batch, batchAxis, signal, onProgress } = options;
  const { rounding = defaults.rounding, damping = DAMPING, heldOut, seed = 0 } = options;
  checkMethod(rounding, gridKind(plan));
  if (!(damping > 0 && damping <= MOST_DAMPING)) {
    throw new AttuneError(
      "bad-option",
      `Cannot use damping ${damping}: give a number up to ${MOST_DAMPING}`,
    );
  }
  return {
    rounding,
    // With 16 levels a single outlier would cost more than clipping it.
    range: options.range ?? { kind: plan.options.activationBits === 4 ? "mse" : "minmax" },
    damping,
    heldOut: checkCount("held-out samples", heldOut ?? defaults.heldOut, 0),
    seed: checkCount("seed", seed, 0),
    batch,
    batchAxis,
    signal,
    onProgress,
  };
}

/**
 * Checks `options` for the model of `plan` and fills in the defaults.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 */
export function resolveOptions(plan: Plan, options: QuantizeOptions): QuantizeSettings {
  const { reconstruction = { kind: "none" } } = options;
  const { floatTargetShift = true, biasCorrection = true, scaleRefit = true } = options;
  const defaults = { rounding: DEFAULT_METHOD, heldOut: HELD_OUT };
  const settings = resolveCalibration(plan, options, defaults);
  const grid = gridKind(plan);
  if (reconstruction.kind === "blocks" && grid !== "uniform") {
    throw gridRefusal("learned blocks", grid);
  }
  const blocks = reconstruction.kind === "blocks" ? resolveBlocks(reconstruction) : undefined;
  return { ...settings, floatTargetShift, biasCorrection, scaleRefit, blocks };
}

/** The levels that rounding has to find for `plan`. */
function gridKind({ options: { nested, grid } }: Plan): GridKind {
  return nested ? "nested" : grid;
}
