/**
 * What becomes of one layer: its width, its levels, how the file keeps them, and what that takes.
 *
 * @module
 */

import type { Grid } from "./grid.ts";
import type { Granularity } from "./granularity.ts";
import type { LevelWindows } from "./levels.ts";
import type { Storage } from "./storage.ts";
import type { Target } from "./target.ts";

/** The second moments that are kept of a layer's inputs. */
export type GramPlan =
  | { /** All of H, and the products with the float outputs. */ readonly kind: "full" }
  | {
    /**
     * Squares of H along its diagonal: as if inputs of different tiles did not depend on one
     * another. Without the float-target shift and refitted scales.
     */
    readonly kind: "tiles";
    /** Inputs per tile; it divides the depth. */
    readonly size: number;
  };

/** What becomes of one layer's weight. */
export interface LayerPlan {
  /** The layer. */
  readonly target: Target;
  /** Bits of a level; 2 where it is ternary. */
  readonly bits: number;
  /** Which levels there are. */
  readonly grid: Grid;
  /** The levels that a row may have; of a piecewise grid, before its tails are spread out. */
  readonly windows: LevelWindows;
  /** How the file keeps it. */
  readonly storage: Storage;
  /** How many weights share a scale. */
  readonly granularity: Granularity;
  /** Scales per row of the matrix: 1, or one per block of `groupSize` inputs. */
  readonly groupsPerRow: number;
  /** Inputs (times kernel positions) that share a scale. */
  readonly groupSize: number;
  /** The second moments that are kept of its inputs. */
  readonly gram: GramPlan;
  /** Bytes of the weight in the model, and in the result with its scales. */
  readonly bytesBefore: number;
  /** Bytes of levels and scales in the result. */
  readonly bytesAfter: number;
  /** Whether its width is the one asked for, and so for a budget to choose. */
  readonly free: boolean;
  /** Why its width is another one, where it is. */
  readonly note?: "first or last layer" | "override";
}

/** How many scales `layer` has. */
export function scaleCount(
  { target: { groups, rows }, granularity, groupsPerRow }: Pick<
    LayerPlan,
    "target" | "granularity" | "groupsPerRow"
  >,
): number {
  return granularity.kind === "tensor" ? 1 : groups * rows * groupsPerRow;
}

/** Whether the width of `layer` is for a budget to choose. */
export function isFree({ free }: LayerPlan): boolean {
  return free;
}
