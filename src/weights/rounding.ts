/**
 * What is known of a quantized model: rounded weights and the grids of activations, as plain
 * values.
 *
 * @module
 */

import type { LayerPlan } from "./layer.ts";

/** The grid of an activation: x ≈ scale · (q − zeroPoint), q from 0 to 2^bits − 1. */
export interface ActivationGrid {
  /** Bits of a level. */
  readonly bits: 4 | 8;
  /** The step, positive. */
  readonly scale: number;
  /** The level of zero. */
  readonly zeroPoint: number;
}

/** Bits of the levels of activations; `"none"` where they stay in float. */
export type ActivationBits = 4 | 8 | "none";

/** The rounded weight of a layer. */
export interface Rounding {
  /** Integer levels, (groups·rows) × depth, row-major. */
  readonly levels: Int8Array;
  /** One scale for all, or per row and group: (groups·rows) × groupsPerRow. */
  readonly scales: Float32Array;
  /** Smallest level of each row's window, groups·rows values. */
  readonly lows: Int8Array;
  /** The bias that goes with it, groups·rows values; undefined leaves the layer's own. */
  readonly bias?: Float32Array;
  /**
   * The levels of a row that begins where they do, rising, where they are not all integers of a
   * range: at most 2^bits of them, 7 bits at most. Those of other rows are moved along with their
   * smallest. A packed file keeps the number of a level in it.
   */
  readonly codebook?: Int8Array;
  /** The biases in models that are cut to fewer bits, where the plan has nested grids. */
  readonly cuts?: readonly Cut[];
}

/** The bias of a layer in a model that is cut to fewer bits. */
export interface Cut extends Pick<Rounding, "bias"> {
  /** Bits that the model is cut to. */
  readonly width: number;
}

/** What is known of the quantized model so far. */
export interface Parts {
  /**
   * Rounded weights by the layer's output, which no other has. Layers without one stay in float.
   */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** Grids by tensor name. Activations without one stay in float. */
  readonly grids: ReadonlyMap<string, ActivationGrid>;
  /** Rounded embedding tables by the initializer's name. Default: none, they stay in float. */
  readonly tables?: ReadonlyMap<string, Rounding>;
}

/** The real weights that `rounding` stands for: levels times scales, (groups·rows) × depth. */
export function dequantize(
  layer: Pick<LayerPlan, "groupSize" | "groupsPerRow"> & {
    readonly target: { readonly depth: number };
  },
  { levels, scales }: Pick<Rounding, "levels" | "scales">,
): Float32Array {
  const { depth } = layer.target;
  const { groupSize, groupsPerRow } = layer;
  const values = new Float32Array(levels.length);
  for (let row = 0, i = 0; i < levels.length; row++) {
    for (let j = 0; j < depth; j++, i++) {
      const block = row * groupsPerRow + Math.floor(j / groupSize);
      values[i] = levels[i] * scales[scales.length === 1 ? 0 : block];
    }
  }
  return values;
}

/**
 * The scale of a bias level per channel: input scale × weight scale; undefined where it is float.
 */
export function biasScales(
  layer: LayerPlan,
  scales: Float32Array,
  inputGrid: ActivationGrid | undefined,
): Float32Array | undefined {
  if (inputGrid === undefined || layer.groupsPerRow > 1) return undefined;
  const { groups, rows } = layer.target;
  return Float32Array.from(
    { length: groups * rows },
    (_, row) => inputGrid.scale * (scales.length === 1 ? scales[0] : scales[row]),
  );
}
