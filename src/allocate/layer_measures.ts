/**
 * What is known of the layers of a plan before their widths are chosen. Weights alone tell some of it;
 * `measure.ts` finds the rest on samples.
 *
 * @module
 */

import { Kernel } from "../kernel/kernel.ts";
import type { Plan } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { isFree, type LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import { type Problem, problemOf, sharesOf } from "../round/problem.ts";
import { MOST_ROWS, spectrumOf, type SpectrumProblem, widthErrors } from "../round/width_errors.ts";
import type { Spectrum } from "../round/spectrum.ts";
import { finish } from "../round/work.ts";

/** The widths that are measured, in rising order. */
export const WIDTHS: readonly number[] = [2, 3, 4, 5, 6, 7, 8];

/** What is known of a layer. Lists by width are in the order of {@linkcode WIDTHS}. */
export interface LayerMeasures {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Its number of weights. */
  readonly weights: number;
  /** Whether its width is to be chosen. */
  readonly free: boolean;
  /** The spectrum of W Wᵀ. */
  readonly spectrum: Spectrum;
  /** ‖ŵ − w‖² of nearest rounding, by width. */
  readonly weightErrors: readonly number[];
  /** What samples tell; undefined without them. */
  readonly outputs?: OutputMeasures;
}

/** What samples tell of a layer. */
export interface OutputMeasures {
  /** The spectrum of W H Wᵀ, H being the second moments of its inputs. */
  readonly spectrum: Spectrum;
  /** Squared output error of the nearest plane relative to the output's power, by width. */
  readonly errors: readonly number[];
  /** The mean of H's diagonal: of the Hessian of a layer's squared output error. */
  readonly trace: number;
  /** What a small relative squared error of this layer adds to that of the model's outputs, per unit. */
  readonly sensitivity: number;
  /** Σ |∂loss/∂w|, averaged over samples; only where it was asked for. */
  readonly gradient?: number;
}

/** Measures the layers of `plan` by their weights alone. */
export function measureWeights(plan: Plan, kernel: Kernel = Kernel.create()): LayerMeasures[] {
  return distinctLayers(plan).map((layer) => {
    const weight = readWeight(plan.graph, layer.target);
    const errors = finish(widthErrors(kernel, weightProblems(plan, layer, weight)));
    const eigenvalues = spectrumOf(kernel, spectrumProblem(layer, weight));
    return weightMeasures(layer, eigenvalues, errors.weight);
  });
}

/** The layers of `plan` whose weights no layer before them has: those that share one have one width. */
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
    gramBlock: gram.kind === "full" ? depth : gram.size,
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
