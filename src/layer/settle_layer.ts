/**
 * One layer, from what was seen of it to levels, scales and a bias.
 *
 * @module
 */

import { narrowRounding } from "../emit/narrow_rounding.ts";
import type { Offset, SplitSums, Statistics } from "../engine/statistics.ts";
import type { Job } from "../forward/job.ts";
import type { RoundingOptions } from "../round/problem.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { ActivationGrid, Rounding } from "../weights/rounding.ts";
import { biasOf } from "./bias.ts";
import { type CutSums, type RoundedLayer, roundLayer } from "./round_layer.ts";

/** What came of a layer. */
export interface SettledLayer {
  /** Its levels, scales and bias. */
  readonly rounding: Rounding;
  /** Squared output error over calibration data, relative to the output's power. */
  readonly error: RoundedLayer["error"];
}

/** What was seen of a layer. */
export interface SeenLayer {
  /** Over all samples. */
  readonly statistics: Statistics;
  /** How the statistics were finished. */
  readonly offset: Offset;
  /** What the float-target shift is found on. Default: there is none. */
  readonly split?: SplitSums;
  /**
   * In the models of narrower widths, where the plan has some; the layer need not be nested itself.
   */
  readonly cuts?: readonly CutSums[];
  /** The grid of its input. Default: its input is float. */
  readonly grid?: ActivationGrid;
}

/**
 * Rounds `layer` by what was `seen` of it and finds its biases; `shared` is what came of another
 * layer of the same weight, whose rounding it keeps.
 *
 * @returns what came of it, and what the user should know.
 */
export async function settleLayer(
  { plan, pool, seed }: Pick<Job, "plan" | "pool" | "seed">,
  layer: LayerPlan,
  seen: SeenLayer,
  shared: SettledLayer | undefined,
  options: RoundingOptions,
): Promise<SettledLayer & { warnings: string[] }> {
  const { statistics, offset, split, cuts = [], grid } = seen, { name } = layer.target;
  const warnings: string[] = [], reached = statistics.count > 0;
  const centred = offset.centred && reached;
  if (!reached) {
    warnings.push(
      `${name}: no sample reached this layer, so that it was rounded by its weights alone; ` +
        `give samples that do`,
    );
  }
  const { levels, scales, lows, codebook, error } = shared
    ? { ...shared.rounding, error: shared.error }
    : await roundLayer(plan, layer, split, statistics, pool, {
      ...options,
      seed,
      offset,
      cuts: layer.grid.kind === "nested" ? cuts : undefined,
    });
  const rounding = { levels, scales, lows, codebook };
  const { bias, raised } = biasOf(plan, layer, rounding, statistics, centred, grid);
  if (raised > 0) {
    warnings.push(
      `${name}: the scales of ${raised} channels with almost no weight were raised, ` +
        `so that their biases fit into 32 bits`,
    );
  }
  const narrow = cuts.map(({ width, statistics }) => {
    const rounded = narrowRounding(layer, rounding, width);
    return { width, bias: biasOf(plan, layer, rounded, statistics, centred, grid).bias };
  });
  return {
    rounding: { ...rounding, bias, ...(narrow.length > 0 && { cuts: narrow }) },
    error,
    warnings,
  };
}
