/**
 * The rounding problem of a layer, and how it is split over engines.
 *
 * Find levels q and scales s so that ŵ = s∘q minimises, for every row,
 *
 *     (ŵ − w′) (H + λI) (ŵ − w′)ᵀ,   w′ = (E[y x̂ᵀ] + λ w) (H + λI)⁻¹,
 *
 * which is E[(y − ŵ x̂)²] + λ‖ŵ − w‖² up to a constant: the layer repairs the error of the layers
 * before it as far as the data supports that, and stays near its own weights w elsewhere. Without
 * the float-target shift w′ is w.
 *
 * @module
 */

import type { RoundingMethod } from "../plan/options.ts";
import type { LayerPlan } from "../plan/plan.ts";
import type { Statistics } from "../calibrate/statistics.ts";

/** What a caller can choose about rounding. */
export interface RoundingOptions {
  /** How levels are found. */
  readonly rounding: RoundingMethod;
  /** Whether layers repair the error of those before them. */
  readonly floatTargetShift: boolean;
  /** Whether the means are set right by the bias. */
  readonly biasCorrection: boolean;
  /** Whether scales are fitted again once the levels are known. */
  readonly scaleRefit: boolean;
  /** λ relative to the mean of H's diagonal. */
  readonly damping: number;
}

/** Some rows of a layer to round. A plain value: it is sent to a worker. */
export interface Problem {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly depth: number;
  /** Smallest and largest level. */
  readonly lo: number;
  /** Largest level. */
  readonly hi: number;
  /** Weights that share a scale along a row. */
  readonly blockSize: number;
  /** Whether all rows share one scale. */
  readonly oneScale: boolean;
  /** w: (groups·rows) × depth. */
  readonly weight: Float32Array;
  /** H: groups × depth × depth. */
  readonly gram: Float32Array;
  /** E[y x̂ᵀ]: (groups·rows) × depth; undefined without the float-target shift. */
  readonly cross?: Float32Array;
  /** λ relative to the mean of H's diagonal. */
  readonly damping: number;
  /** How levels are found. */
  readonly method: RoundingMethod;
  /** Whether scales are fitted again. */
  readonly refit: boolean;
  /** Decides every random choice, together with `stream`. */
  readonly seed: number;
  /** The number of the first row among all rows of all layers. */
  readonly stream: number;
}

/** Random streams of one layer: row r of layer l draws from stream l · 2²⁰ + r. */
const ROWS_PER_LAYER = 2 ** 20;

/** The problem of `layer` in at most `parts` pieces; the pieces' rows, in order, are the layer's. */
export function problemsOf(
  layer: LayerPlan,
  weight: Float32Array,
  statistics: Statistics,
  parts: number,
  options: RoundingOptions & { readonly seed: number; readonly stream: number },
): Problem[] {
  const { groups, rows, depth } = layer.target;
  const oneScale = layer.granularity.kind === "tensor";
  const common = {
    depth,
    lo: -(2 ** (layer.bits - 1)),
    hi: 2 ** (layer.bits - 1) - 1,
    blockSize: layer.blockSize,
    oneScale,
    damping: options.damping,
    method: options.rounding,
    refit: options.scaleRefit,
    seed: options.seed,
  };
  const split = groups > 1 ? groups : rows;
  const count = oneScale ? 1 : Math.min(parts, split);
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor(i * split / count), to = Math.floor((i + 1) * split / count);
    const first = groups > 1 ? from * rows : from, last = groups > 1 ? to * rows : to;
    const slice = (matrix: Float32Array) => matrix.slice(first * depth, last * depth);
    return {
      ...common,
      groups: groups > 1 ? to - from : 1,
      rows: groups > 1 ? rows : to - from,
      weight: slice(weight),
      gram: groups > 1
        ? statistics.gram.slice(from * depth * depth, to * depth * depth)
        : statistics.gram,
      cross: options.floatTargetShift ? slice(statistics.cross) : undefined,
      stream: options.stream * ROWS_PER_LAYER + first,
    };
  });
}
