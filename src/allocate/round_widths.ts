/**
 * Layers rounded to every width they may get, while their statistics are at hand: later any choice
 * of widths can be put together from these. They take a byte per weight and width.
 *
 * @module
 */

import { biasOf } from "../layer/bias.ts";
import { roundLayer } from "../layer/round_layer.ts";
import type { Statistics } from "../engine/statistics.ts";
import type { ActivationGrid, Rounding } from "../emit/build.ts";
import { checkAborted } from "../errors.ts";
import type { RoundingMethod } from "../round/methods.ts";
import type { Plan } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { isFree, type LayerPlan } from "../weights/layer.ts";
import type { EnginePool } from "../workers/pool.ts";
import { WIDTHS } from "../strategies/measures.ts";

/** What each distinct weight becomes at each width, by the weight's name. */
export type RoundedWidths = Map<string, ReadonlyMap<number, Rounding>>;

/** How {@linkcode roundToWidths} rounds. */
export interface RoundWidthsOptions {
  /** How levels are found. */
  readonly rounding: RoundingMethod;
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
  /** Decides every random choice. */
  readonly seed: number;
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** Rounds `layer` to every width that it may get, given what samples tell of its inputs. */
export async function roundToWidths(
  plan: Plan,
  layer: LayerPlan,
  { statistics, centred, grid }: {
    readonly statistics: Statistics;
    /** Whether means were taken out of the statistics. */
    readonly centred: boolean;
    /** The grid of its input. */
    readonly grid: ActivationGrid | undefined;
  },
  pool: EnginePool,
  options: RoundWidthsOptions,
): Promise<ReadonlyMap<number, Rounding>> {
  const roundings = new Map<number, Rounding>();
  const variants = isFree(layer) ? WIDTHS.map((bits) => layerAtWidth(plan, layer, bits)) : [layer];
  for (const variant of variants) {
    checkAborted(options.signal);
    const { error: _, ...rounding } = await roundLayer(plan, variant, undefined, statistics, pool, {
      ...options,
      floatTargetShift: false,
      biasCorrection: centred,
      scaleRefit: true,
      offset: { centred },
    });
    const { bias } = biasOf(plan, variant, rounding, statistics, centred, grid);
    roundings.set(variant.bits, { ...rounding, bias });
  }
  return roundings;
}

/** The roundings of all layers of `plan` at the widths that it gives them. */
export function pickRoundings(plan: Plan, rounded: RoundedWidths): Map<string, Rounding> {
  const seen = new Set<string>();
  return new Map(plan.layers.map(({ target, bits }) => {
    const rounding = rounded.get(target.weight)!.get(bits)!;
    // A layer that shares the weight of one before it has its own bias, which stays.
    const picked = seen.has(target.weight) ? { ...rounding, bias: undefined } : rounding;
    seen.add(target.weight);
    return [target.output, picked];
  }));
}
