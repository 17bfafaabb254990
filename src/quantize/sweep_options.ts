/**
 * Options of a sweep, with their checks and defaults.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { DEFAULT_STRATEGY, isStrategy, type Strategy } from "../strategies/strategies.ts";
import { checkCount } from "../plan/options.ts";
import type { Plan } from "../plan/plan.ts";
import type { SweepPoint } from "../report/sweep_report.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import {
  type CalibrationOptions,
  type CalibrationSettings,
  resolveCalibration,
} from "./options.ts";

/** Options of {@linkcode sweep}: 1 candidate per row; 128 samples held out, at most one in 4. */
export interface SweepOptions extends CalibrationOptions {
  /** Bits on average, a point for each. Default: 2, 2.5, 3, 3.5, 4, 5, 6, 8. */
  averages?: readonly number[];
  /** How budgets are spread, each with points of its own. Default: `["coding-length"]`. */
  strategies?: readonly Strategy[];
  /** Whether there are points of one width for all layers, too. Default: true. */
  uniform?: boolean;
  /** Other samples to judge points by: then none are kept out. Default: none. */
  validation?: SampleSource;
  /** Gets the model of each point that has a budget, for what it may write. Default: nobody. */
  onModel?: (model: Model, point: SweepPoint) => void;
}

/** {@linkcode SweepOptions}, checked, with defaults. */
export interface SweepSettings extends CalibrationSettings {
  /** Bits on average, a point for each. */
  readonly averages: readonly number[];
  /** How budgets are spread. */
  readonly strategies: readonly Strategy[];
  /** Whether there are points of one width for all layers, too. */
  readonly uniform: boolean;
  /** Points are compared with the means set right by the bias. */
  readonly biasCorrection: true;
  /** Gets the model of each point that has a budget. */
  readonly onModel: SweepOptions["onModel"];
}

/** Averages of a sweep, from the least to the most bits. */
const AVERAGES = [2, 2.5, 3, 3.5, 4, 5, 6, 8], LEAST_BITS = 2, MOST_BITS = 8;
/** Samples that a sweep keeps out. */
const HELD_OUT = 128;

/**
 * Checks `options` for a sweep of `plan` and fills in the defaults.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 */
export function resolveSweep(plan: Plan, options: SweepOptions): SweepSettings {
  const { averages = AVERAGES, strategies = [DEFAULT_STRATEGY], uniform = true } = options;
  for (const bits of averages) {
    if (bits >= LEAST_BITS && bits <= MOST_BITS) continue;
    throw new AttuneError(
      "bad-option",
      `Cannot sweep to ${bits} bits: give numbers from ${LEAST_BITS} to ${MOST_BITS}`,
    );
  }
  for (const strategy of strategies) {
    if (isStrategy(strategy)) continue;
    throw new AttuneError("bad-option", `Cannot spread bits by ${strategy}: use another strategy`);
  }
  const settings = resolveCalibration(plan, options, {
    rounding: { kind: "attention", candidates: 1 },
    heldOut: HELD_OUT,
  });
  return {
    ...settings,
    heldOut: options.validation ? 0 : checkCount("held-out samples", settings.heldOut),
    averages,
    strategies,
    uniform,
    biasCorrection: true,
    onModel: options.onModel,
  };
}
