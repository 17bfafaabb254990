/**
 * Rounds one layer on all engines: the strength of its float-target shift first, then its rows.
 *
 * @module
 */

import { cutBits } from "../weights/grid.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { leastShares } from "../plan/memory.ts";
import { readWeight } from "../weights/matrix.ts";
import { codebookProblem, codebooksOf } from "../round/codebook.ts";
import {
  type Problem,
  problemOf,
  type RoundingOptions,
  type Share,
  sharesOf,
} from "../round/problem.ts";
import { bestStrength } from "../round/shift.ts";
import type { Solution } from "../round/solve.ts";
import type { EnginePool } from "../workers/pool.ts";
import { momentsOf, type Offset, type SplitSums, type Statistics } from "../engine/statistics.ts";

/** The shift's strength where there are too few samples to judge it. */
const UNTESTED_STRENGTH = 0.25;

/** What was seen of a layer in the model that is cut to fewer bits. */
export interface CutSums {
  /** Bits that the model is cut to. */
  readonly width: number;
  /** Apart for the lanes to learn from and those to judge by. Default: there is no shift. */
  readonly split?: SplitSums;
  /** Over all lanes. */
  readonly statistics: Statistics;
}

/** A layer's levels, grids and errors. */
export interface RoundedLayer {
  /** Levels, (groups·rows) × depth. */
  readonly levels: Int8Array;
  /** One scale, or one per row and group. */
  readonly scales: Float32Array;
  /** Smallest level of each row's window, groups·rows values. */
  readonly lows: Int8Array;
  /**
   * The levels of a row that begins where they do, where they are not all integers of the window.
   */
  readonly codebook?: Int8Array;
  /** Squared output error over calibration data, relative to the output's power. */
  readonly error: {
    /** Of nearest rounding. */
    readonly nearest: number;
    /** Of the result. */
    readonly final: number;
  };
}

/**
 * Rounds `layer` by its `statistics` over all lanes; `split`, which the float-target shift is found
 * on. Without it there is no shift.
 */
export async function roundLayer(
  plan: Plan,
  layer: LayerPlan,
  split: SplitSums | undefined,
  statistics: Statistics,
  pool: EnginePool,
  options: RoundingOptions & {
    readonly seed: number;
    /** How the statistics were finished. */
    readonly offset: Offset;
    /** Of the narrower widths, where the grid is nested. */
    readonly cuts?: readonly CutSums[];
  },
): Promise<RoundedLayer> {
  const weight = readWeight(plan.graph, layer.target);
  const shares = sharesOf(layer, Math.max(pool.clients.length, leastShares(layer.target)));
  const strength = async (split: SplitSums | undefined) =>
    options.floatTargetShift && split && split.training.cross.length > 0
      ? await strengthOf(layer, shares, weight, split, pool, options.offset)
      : Infinity;
  const settings = {
    ...options,
    index: plan.layers.findIndex(({ target }) => target === layer.target),
    strength: await strength(split),
    cuts: options.cuts && await Promise.all(options.cuts.map(async (cut) => ({
      ...cut.statistics,
      bits: cutBits(layer, cut.width),
      strength: await strength(cut.split),
    }))),
  };
  const problems = shares.map((share) => problemOf(layer, share, weight, statistics, settings));
  const codebook = layer.grid.kind === "piecewise"
    ? await codebookFor(layer, problems, pool)
    : undefined;
  const solutions = await pool.run(
    problems.map((problem) => (client) => client.call("solve", [{ ...problem, ...codebook }])),
  );
  return { ...join(layer, solutions), codebook: codebook?.grid.codebook };
}

/** The codebook that suits the weights of all shares best; undefined where even levels do. */
async function codebookFor(
  { bits, windows }: LayerPlan,
  problems: readonly Problem[],
  pool: EnginePool,
): Promise<ReturnType<typeof codebookProblem> | undefined> {
  const codebooks = codebooksOf(bits);
  const errors = await pool.run(
    problems.map((problem) => (client) => client.call("codebookErrors", [problem, codebooks])),
  );
  // Row by row, so that the sum does not depend on how they are shared.
  const sums = errors[0].map((_, c) =>
    errors.reduce((sum, share) => share[c].reduce((sum, row) => sum + row, sum), 0)
  );
  const best = sums.indexOf(Math.min(...sums));
  return best === 0 ? undefined : codebookProblem(codebooks[best - 1], windows.lows.length === 1);
}

/** The strength of the float-target shift that does best on the validation lanes. */
async function strengthOf(
  { target }: LayerPlan,
  shares: readonly Share[],
  weight: Float32Array,
  { training, validation }: SplitSums,
  pool: EnginePool,
  offset: Offset,
): Promise<number> {
  if (training.count === 0) return Infinity;
  if (validation === undefined || validation.count === 0) return UNTESTED_STRENGTH;
  const seen = momentsOf([training], target, offset);
  const unseen = momentsOf([validation], target, offset);
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
