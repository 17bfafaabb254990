/**
 * Rounds one layer on all engines: the strength of its float-target shift first, then its rows.
 *
 * @module
 */

import type { LayerPlan, Plan } from "../plan/plan.ts";
import { leastShares } from "../plan/memory.ts";
import { readWeight } from "../plan/targets.ts";
import { problemOf, type RoundingOptions, type Share, sharesOf } from "../round/problem.ts";
import { bestStrength } from "../round/shift.ts";
import type { Solution } from "../round/solve.ts";
import type { EnginePool } from "../runtime/pool.ts";
import { addSums, copySums, finish, type LayerSums, type Statistics } from "./statistics.ts";

/** The shift's strength where there are too few samples to judge it. */
const UNTESTED_STRENGTH = 0.25;

/** The sums of a layer, apart for the lanes to learn from and those to judge by. */
export interface SplitSums {
  /** Of the lanes to learn from. */
  readonly training: LayerSums;
  /** Of the lanes to judge by; undefined where there are too few samples. */
  readonly validation?: LayerSums;
}

/** A layer's levels, grids and errors. */
export interface RoundedLayer {
  /** Levels, (groups·rows) × depth. */
  readonly levels: Int8Array;
  /** One scale, or one per row and block. */
  readonly scales: Float32Array;
  /** Smallest level of each row's window, groups·rows values. */
  readonly lows: Int8Array;
  /** Squared output error over calibration data, relative to the output's power. */
  readonly error: {
    /** Of nearest rounding. */
    readonly nearest: number;
    /** Of the result. */
    readonly final: number;
  };
}

/** The sums of all lanes. */
export function allSums({ training, validation }: SplitSums): LayerSums {
  const sums = copySums(training);
  if (validation) addSums(sums, validation);
  return sums;
}

/**
 * Rounds `layer` by its `statistics` over all lanes; `split`, which the float-target shift is found on, is
 * used up. Without it there is no shift.
 */
export async function roundLayer(
  plan: Plan,
  layer: LayerPlan,
  split: SplitSums | undefined,
  statistics: Statistics,
  pool: EnginePool,
  options: RoundingOptions & {
    readonly seed: number;
    /** Whether means were taken out of the statistics. */
    readonly centred: boolean;
  },
): Promise<RoundedLayer> {
  const weight = readWeight(plan.graph, layer.target);
  const shares = sharesOf(layer, Math.max(pool.clients.length, leastShares(layer.target)));
  const strength = options.floatTargetShift && split && layer.gram.kind === "full"
    ? await strengthOf(layer, shares, weight, split, pool, options.centred)
    : Infinity;
  const index = plan.layers.findIndex(({ target }) => target === layer.target);
  const solutions = await pool.run(shares.map((share) => {
    const problem = problemOf(layer, share, weight, statistics, { ...options, index, strength });
    return (client) => client.call("solve", [problem]);
  }));
  return join(layer, solutions);
}

/** The strength of the float-target shift that does best on the validation lanes. */
async function strengthOf(
  { target }: LayerPlan,
  shares: readonly Share[],
  weight: Float32Array,
  { training, validation }: SplitSums,
  pool: EnginePool,
  centred: boolean,
): Promise<number> {
  if (validation === undefined) return UNTESTED_STRENGTH;
  const seen = finish(training, target, centred), unseen = finish(validation, target, centred);
  return bestStrength(
    await pool.run(shares.map((share) => {
      const moments = ({ gram, cross }: Statistics) => ({
        gram: share.ofGroups(gram),
        cross: share.ofRows(cross),
      });
      const problem = {
        groups: share.groups,
        rows: share.rows,
        depth: target.depth,
        weight: share.ofRows(weight),
        training: moments(seen),
        validation: moments(unseen),
      };
      return (client) => client.call("shiftErrors", [problem]);
    })),
  );
}

/** Puts the rows that several engines rounded back together. */
function join(
  layer: LayerPlan,
  solutions: readonly Solution[],
): RoundedLayer {
  const { groups, rows, depth } = layer.target;
  const levels = new Int8Array(groups * rows * depth);
  const scales = new Float32Array(solutions.reduce((sum, s) => sum + s.scales.length, 0));
  const lows = new Int8Array(groups * rows);
  let level = 0, scale = 0, row = 0, nearest = 0, final = 0, power = 0;
  for (const solution of solutions) {
    levels.set(solution.levels, level);
    scales.set(solution.scales, scale);
    lows.set(solution.lows, row);
    level += solution.levels.length;
    scale += solution.scales.length;
    row += solution.lows.length;
    nearest += solution.error.nearest;
    final += solution.error.final;
    power += solution.power;
  }
  const relative = (error: number) => power > 0 ? error / power : 0;
  return { levels, scales, lows, error: { nearest: relative(nearest), final: relative(final) } };
}
