/**
 * The rounding problem of a layer, and how it is split over engines.
 *
 * Find levels q in the row's window and scales s so that ŵ = s∘q minimises, for every row,
 * (ŵ − w′) (H + μI) (ŵ − w′)ᵀ, where w′ is the row's wanted weights (see shift.ts) and μ a little
 * damping.
 *
 * @module
 */

import type { LevelWindows } from "../weights/levels.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { type RowGrid, rowGrid } from "./grids.ts";
import type { RoundingMethod } from "./methods.ts";
import type { Moments } from "./shift.ts";

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
  /** Damping of H relative to the mean of its diagonal. */
  readonly damping: number;
}

/** What rounding must know of a model that is cut to fewer bits. */
export interface CutProblem extends Pick<Problem, "gram" | "shift"> {
  /** Bits that the layer has there. */
  readonly bits: number;
}

/** The grids of some rows. */
export interface RowGrids {
  /** Scales, (groups·rows) × scales of a row. */
  readonly scales: Float32Array;
  /** Smallest levels, groups·rows. */
  readonly lows: Int8Array;
}

/** Some rows of a layer to round. A plain value: it is sent to a worker. */
export interface Problem {
  /** Independent matrices. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Weights per row. */
  readonly depth: number;
  /** The levels that a row may have: where they lie, */
  readonly windows: LevelWindows;
  /** and which of the integers there they are. */
  readonly grid: RowGrid;
  /** Weights that share a scale along a row. */
  readonly groupSize: number;
  /** Whether all rows share one scale. */
  readonly oneScale: boolean;
  /** w: (groups·rows) × depth. */
  readonly weight: Float32Array;
  /** H: groups × depth × depth; or its diagonal tiles, (groups·depth / gramTile) × gramTile². */
  readonly gram: Float32Array;
  /** Inputs of a tile of H; the depth where all of H is there. */
  readonly gramTile: number;
  /** Grids that stay as they are; undefined searches them. */
  readonly given?: RowGrids;
  /** The float-target shift; undefined keeps the layer's own weights as the target. */
  readonly shift?: {
    /** E[y x̂ᵀ]: (groups·rows) × depth. */
    readonly cross: Float32Array;
    /** λ relative to the mean of H's diagonal. */
    readonly strength: number;
  };
  /** The narrower widths that the levels serve, too, where the grid is nested. */
  readonly cuts?: readonly CutProblem[];
  /** Damping of H relative to the mean of its diagonal. */
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

/** A share of a layer's rows: whole groups, or rows of the only group. */
export interface Share {
  /** Groups of the share. */
  readonly groups: number;
  /** Rows of each. */
  readonly rows: number;
  /** Index of the first row among all of the layer's. */
  readonly first: number;
  /** The share's rows of a matrix of (groups·rows) × depth. */
  ofRows(matrix: Float32Array): Float32Array;
  /** The share's groups of matrices of which each group has as many elements. */
  ofGroups(matrix: Float32Array): Float32Array;
}

/** The layer's rows in at most `parts` shares; one scale for all rows keeps them together. */
export function sharesOf({ target, granularity }: LayerPlan, parts: number): Share[] {
  const { groups, rows, depth } = target;
  const grouped = groups > 1, split = grouped ? groups : rows;
  const count = granularity.kind === "tensor" ? 1 : Math.min(parts, split);
  return Array.from({ length: count }, (_, i) => {
    const from = Math.floor(i * split / count), to = Math.floor((i + 1) * split / count);
    const first = grouped ? from * rows : from, last = grouped ? to * rows : to;
    return {
      groups: grouped ? to - from : 1,
      rows: grouped ? rows : to - from,
      first,
      ofRows: (matrix) => matrix.slice(first * depth, last * depth),
      ofGroups: (matrix) =>
        grouped ? matrix.slice(from * matrix.length / groups, to * matrix.length / groups) : matrix,
    };
  });
}

/** The rounding problem of a share of `layer`; `strength` is that of the float-target shift. */
export function problemOf(
  layer: LayerPlan,
  share: Share,
  weight: Float32Array,
  statistics: Moments,
  options: RoundingOptions & {
    readonly seed: number;
    /** The layer's number. */
    readonly index: number;
    /** Of the float-target shift. */
    readonly strength: number;
    /** What is known of the narrower widths. */
    readonly cuts?: readonly (Moments & { readonly bits: number; readonly strength: number })[];
  },
): Problem {
  const { groups, rows, first } = share;
  const moments = ({ gram, cross }: Moments, strength: number) => ({
    gram: share.ofGroups(gram),
    shift: strength === Infinity ? undefined : { cross: share.ofRows(cross), strength },
  });
  return {
    ...moments(statistics, options.strength),
    groups,
    rows,
    depth: layer.target.depth,
    windows: layer.windows,
    grid: rowGrid(layer.grid),
    groupSize: layer.groupSize,
    oneScale: layer.granularity.kind === "tensor",
    weight: share.ofRows(weight),
    gramTile: layer.gram.kind === "full" ? layer.target.depth : layer.gram.size,
    cuts: options.cuts?.map((cut) => ({ bits: cut.bits, ...moments(cut, cut.strength) })),
    damping: options.damping,
    method: options.rounding,
    refit: options.scaleRefit,
    seed: options.seed,
    stream: options.index * ROWS_PER_LAYER + first,
  };
}
