/**
 * What is known of the layers of a plan before their widths are chosen. Weights alone tell some of
 * it; `measure.ts` finds the rest on samples.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { isFree, type LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import { type Problem, problemOf, sharesOf } from "../round/problem.ts";
import { MOST_ROWS, type SpectrumProblem } from "../round/spectrum.ts";
import { type Measures, WIDTHS } from "../strategies/measures.ts";
import type { Spectrum } from "../strategies/spectrum.ts";
import { Progress, type WatchOptions } from "../progress.ts";
import type { EnginePool } from "../workers/pool.ts";

/** What is known of a layer of a plan. */
export interface LayerMeasures extends Measures {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Whether its width is to be chosen. */
  readonly free: boolean;
}

/** Measures the layers of `plan` by their weights alone, with the engines of `pool`. */
export async function measureWeights(
  plan: Plan,
  pool: EnginePool,
  { signal, onProgress }: WatchOptions = {},
): Promise<LayerMeasures[]> {
  const layers = distinctLayers(plan),
    progress = new Progress(onProgress, "measure", layers.length);
  return await pool.run(layers.map((layer) => async (client) => {
    checkAborted(signal);
    const weight = readWeight(plan.graph, layer.target);
    const { weight: errors } = await client.call("widthErrors", [
      weightProblems(plan, layer, weight),
      undefined,
    ]);
    const eigenvalues = await client.call("spectrum", [spectrumProblem(layer, weight)]);
    progress.add(1, layer.target.name);
    return weightMeasures(layer, eigenvalues, errors);
  }));
}

/**
 * The layers of `plan` whose weights no layer before them has: those that share one have one width.
 */
export function distinctLayers(plan: Plan): LayerPlan[] {
  const first = new Map(plan.layers.toReversed().map((layer) => [layer.target.weight, layer]));
  return plan.layers.filter((layer) => first.get(layer.target.weight) === layer);
}

/** What the weights of `layer` tell, from what the kernel found. */
export function weightMeasures(
  layer: LayerPlan,
  eigenvalues: Float64Array,
  errors: Float64Array,
): LayerMeasures {
  const { groups, rows, depth } = layer.target;
  return {
    layer,
    weights: groups * rows * depth,
    free: isFree(layer),
    spectrum: spectrumFrom(layer, eigenvalues),
    weightErrors: [...errors],
  };
}

/** The spectrum problem of `layer`; of many rows it keeps evenly spread ones. */
export function spectrumProblem(
  { target, gram }: LayerPlan,
  weight: Float32Array,
  moments?: { readonly gram: Float32Array; readonly damping: number },
): SpectrumProblem {
  const { groups, depth } = target, rows = rowsOf(target);
  const all = rows === target.rows ? weight : new Float32Array(groups * rows * depth);
  for (let r = 0; all !== weight && r < groups * rows; r++) {
    const g = Math.floor(r / rows), row = Math.floor((r % rows) * target.rows / rows);
    const from = (g * target.rows + row) * depth;
    all.set(weight.subarray(from, from + depth), r * depth);
  }
  return {
    groups,
    rows,
    depth,
    weight: all,
    gram: moments?.gram,
    gramTile: gram.kind === "full" ? depth : gram.size,
    damping: moments?.damping ?? 0,
  };
}

/** `eigenvalues` of the problem that {@linkcode spectrumProblem} made of `layer`. */
export function spectrumFrom({ target }: LayerPlan, eigenvalues: Float64Array): Spectrum {
  return { groups: target.groups, rows: rowsOf(target), depth: target.depth, eigenvalues };
}

function rowsOf({ rows, depth }: LayerPlan["target"]): number {
  return Math.min(rows, depth) > MOST_ROWS ? MOST_ROWS : rows;
}

/** The rounding problems of a layer at each of {@linkcode WIDTHS}, without inputs. */
function weightProblems(plan: Plan, layer: LayerPlan, weight: Float32Array): Problem[] {
  const [share] = sharesOf(layer, 1), none = new Float32Array(0);
  const options = {
    rounding: { kind: "nearest" },
    floatTargetShift: false,
    biasCorrection: false,
    scaleRefit: false,
    damping: 0,
    seed: 0,
    index: 0,
    strength: Infinity,
  } as const;
  return WIDTHS.map((bits) => ({
    ...problemOf(
      layerAtWidth(plan, layer, bits),
      share,
      weight,
      { gram: none, cross: none },
      options,
    ),
    gram: none,
  }));
}
