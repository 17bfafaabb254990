/**
 * Attention Round's sequential form: a row's levels are found one after another, each weight drawn
 * around what the ones before it leave to be wished for; the best of some candidates is polished.
 *
 * @module
 */

import type { Buffer } from "../../kernel/arena.ts";
import type { Method, RoundingContext } from "../method.ts";

/** Attention Round, sequential form: Gaussian draws around conditional targets. */
export interface AttentionRounding {
  /** The method. */
  readonly kind: "attention";
  /** Candidates per row; 1 is the deterministic nearest plane. Default: 16. */
  readonly candidates?: number;
  /**
   * Spread of the widest draws, in steps of the grid, where an error costs least. Default: 0.8.
   */
  readonly tau?: number;
}

/** Sweeps of coordinate descent; it stops sooner where nothing moves. */
const POLISH_SWEEPS = 20;

/** Attention Round, sequential form. */
export const attention: Method<AttentionRounding> = {
  kind: "attention",
  doc: "Gaussian draws around conditional targets",
  options: {
    candidates: {
      doc: "candidates per row of attention rounding",
      default: 16,
      check: "count",
      flag: true,
    },
    tau: { doc: "spread of the widest draws, in steps of the grid", default: 0.8, check: "size" },
  },
  learned: false,
  grids: ["uniform", "piecewise", "nested"],
  // deno-lint-ignore require-yield
  *round(context, options) {
    const { kernel, rows, u, grid } = context, defaults = attention.options;
    const { candidates = defaults.candidates.default, tau = defaults.tau.default } = options;
    // Candidate 0 is the nearest plane; the others draw wider and wider.
    const taus = Float32Array.from({ length: candidates }, (_, k) => tau * k / candidates);
    grid.sequential(kernel, { ...rows, u, spread: spreadOf(context), taus, sweeps: POLISH_SWEEPS });
  },
};

/** How far draws spread per input: sharper where an error costs more, U_jj² being its price. */
function spreadOf({ kernel, rows: { groups, d }, u }: RoundingContext): Buffer {
  const spread = kernel.f32(groups * d), factors = u.view, out = spread.view;
  for (let g = 0; g < groups; g++) {
    let least = Infinity;
    for (let j = 0; j < d; j++) least = Math.min(least, factors[(g * d + j) * d + j]);
    for (let j = 0; j < d; j++) out[g * d + j] = least / factors[(g * d + j) * d + j];
  }
  return spread;
}
