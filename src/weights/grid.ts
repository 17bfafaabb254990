/**
 * Grids: which levels the weights of a layer can take.
 *
 * @module
 */

import { type LevelWindows, levelWindows } from "./levels.ts";

/** The levels that a weight can take, beside the width of the layer. */
export type Grid =
  | {
    /** As many consecutive integers as the width has. */ readonly kind: "uniform";
  }
  | { /** −1, 0 and 1. */ readonly kind: "ternary" }
  | {
    /** All integers of the width, whose high bits are a level of each narrower width, too. */
    readonly kind: "nested";
    /** The widths, falling; the first one is the layer's own. */
    readonly widths: readonly number[];
  }
  | {
    /**
     * As many as of the width, dense in the middle and sparse in the tails, found when rounding.
     */
    readonly kind: "piecewise";
  };

/** A layer's grid with its width, as in a `LayerPlan`. */
export interface GridOfBits {
  /** The levels. */
  readonly grid: Grid;
  /** Bits of a level. */
  readonly bits: number;
}

/**
 * The windows of levels that rows of a layer may have; of a piecewise grid, as long as its levels
 * are not spread out. Nested ones lie around zero, where their high bits lie, too.
 *
 * @example
 * ```ts
 * import { windowsOf } from "./grid.ts";
 *
 * const { span, lows } = windowsOf({ kind: "ternary" }, 2, false);
 * if (span !== 2 || lows.join() !== "-1") throw new Error("unexpected");
 * ```
 */
export function windowsOf({ kind }: Grid, bits: number, symmetric: boolean): LevelWindows {
  return kind === "ternary"
    ? { span: 2, lows: [-1] }
    : levelWindows(bits, symmetric || kind === "nested");
}

/** A layer's grid in a few letters, as a table shows it. */
export function gridName({ grid, bits }: GridOfBits): string {
  if (grid.kind === "nested") return grid.widths.join("/");
  if (grid.kind === "piecewise") return `${bits} piecewise`;
  return grid.kind === "ternary" ? "ternary" : `${bits}`;
}

/** The bits that a layer has in a model that is cut to `bits`: only nested ones have fewer. */
export function cutBits({ grid, bits: full }: GridOfBits, bits: number): number {
  return grid.kind === "nested" ? grid.widths.findLast((width) => width >= bits) ?? full : full;
}

/**
 * The level that the high `to` bits of a level of `from` bits are, rounded half to even (half up
 * would raise all weights a little) and clipped.
 *
 * @example
 * ```ts
 * import { cutLevel } from "./grid.ts";
 *
 * const levels = [-128, -17, -16, 15, 16, 127].map((level) => cutLevel(level, 8, 3));
 * if (levels.join() !== "-4,-1,0,0,0,3") throw new Error("unexpected");
 * ```
 */
export function cutLevel(level: number, from: number, to: number): number {
  const exact = level / 2 ** (from - to), up = Math.floor(exact + 0.5);
  const even = up - exact === 0.5 && up % 2 !== 0 ? up - 1 : up;
  return Math.min(even, 2 ** (to - 1) - 1);
}
