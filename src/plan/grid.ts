/**
 * Grids: which levels the weights of a layer can take.
 *
 * @module
 */

/** The levels that a weight can take, beside the width of the layer. */
export type Grid =
  | {
    /** All integers of the width, from −2^(bits−1) to 2^(bits−1) − 1. */ readonly kind: "uniform";
  }
  | { /** −1, 0 and 1. */ readonly kind: "ternary" };

/** A layer's grid with its width, as in a `LayerPlan`. */
export interface GridOfBits {
  /** The levels. */
  readonly grid: Grid;
  /** Bits of a level. */
  readonly bits: number;
}

/**
 * The smallest and the largest level.
 *
 * @example
 * ```ts
 * import { levelRange } from "./grid.ts";
 *
 * const { lo, hi } = levelRange({ grid: { kind: "uniform" }, bits: 4 });
 * if (lo !== -8 || hi !== 7) throw new Error("unexpected");
 * ```
 */
export function levelRange(
  { grid, bits }: GridOfBits,
): { readonly lo: number; readonly hi: number } {
  if (grid.kind === "ternary") return { lo: -1, hi: 1 };
  return { lo: -(2 ** (bits - 1)), hi: 2 ** (bits - 1) - 1 };
}

/** A layer's grid in a few letters, as a table shows it. */
export function gridName({ grid, bits }: GridOfBits): string {
  return grid.kind === "ternary" ? "ternary" : `${bits}`;
}
