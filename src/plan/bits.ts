/**
 * How the bits of weights are asked for: one width for all layers, or a rule that finds a width for
 * each.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import {
  DEFAULT_STRATEGY,
  isStrategy,
  type Strategy,
  strategyNames,
} from "../strategies/strategies.ts";

/** What the widths must meet. */
export type BitBudget =
  | {
    /** Bits of a weight, on average over the layers whose width is free. */
    readonly kind: "average";
    /** From 2 to 8, fractions allowed. */
    readonly bits: number;
  }
  | {
    /** Bytes of the written file, as predicted. */
    readonly kind: "size";
    /** Bytes. */
    readonly bytes: number;
  }
  | {
    /** Squared error of the outputs relative to their power, as predicted; needs samples. */
    readonly kind: "loss";
    /** As 0.01. */
    readonly error: number;
  };

/**
 * Widths that are found layer by layer. The first and last layers keep `edgeBits`, overrides
 * theirs.
 */
export type MixedBits =
  | {
    /** Clusters of coding lengths per weight, the shortest getting the smallest width. */
    readonly kind: "clusters";
    /** Widths to give. Default: 2, 3, 4, 6, 8. */
    readonly widths?: readonly number[];
  }
  | {
    /** A budget for the whole model. */
    readonly kind: "budget";
    /** What to meet. */
    readonly budget: BitBudget;
    /** How to spread it. Default: `"coding-length"`. */
    readonly strategy?: Strategy;
    /** Widths to give. Default: 2 to 8. */
    readonly widths?: readonly number[];
  };

/** {@linkcode MixedBits} with every default filled in. */
export type ResolvedMixedBits = Required<MixedBits>;

/** Widths of clusters, and of a budget, where none are given. */
const CLUSTER_WIDTHS = [2, 3, 4, 6, 8], BUDGET_WIDTHS = [2, 3, 4, 5, 6, 7, 8];

/**
 * Checks `mixed` and fills in the defaults.
 *
 * @throws {AttuneError} `bad-option` naming the value and what is allowed.
 *
 * @example
 * ```ts
 * import { resolveMixedBits } from "./bits.ts";
 *
 * const mixed = resolveMixedBits({ kind: "budget", budget: { kind: "average", bits: 3.5 } });
 * if (mixed.kind !== "budget" || mixed.strategy !== "coding-length") throw new Error("unexpected");
 * ```
 */
export function resolveMixedBits(mixed: MixedBits): ResolvedMixedBits {
  const widths = checkWidths(
    mixed.widths ?? (mixed.kind === "clusters" ? CLUSTER_WIDTHS : BUDGET_WIDTHS),
  );
  if (mixed.kind === "clusters") return { kind: "clusters", widths };
  const { budget, strategy = DEFAULT_STRATEGY } = mixed;
  if (!isStrategy(strategy)) {
    throw refuse(`"${strategy}" to spread bits`, `give ${strategyNames().join(", ")}`);
  }
  const [least, most] = [widths[0], widths[widths.length - 1]];
  if (budget.kind === "average" && !(budget.bits >= least && budget.bits <= most)) {
    throw refuse(`${budget.bits} bits on average`, `give a number from ${least} to ${most}`);
  }
  if (budget.kind === "size" && !(budget.bytes > 0)) {
    throw refuse(`a size of ${budget.bytes} bytes`, "give a positive number");
  }
  if (budget.kind === "loss" && !(budget.error > 0 && budget.error < 1)) {
    throw refuse(`a loss of ${budget.error}`, "give a share of the output between 0 and 1");
  }
  return { kind: "budget", budget, strategy, widths };
}

/** `widths` in rising order, each once, if all are whole numbers from 2 to 8 and at least two. */
function checkWidths(widths: readonly number[]): number[] {
  const sorted = [...new Set(widths)].sort((a, b) => a - b);
  const valid = sorted.every((width) => Number.isInteger(width) && width >= 2 && width <= 8);
  if (valid && sorted.length > 1) return sorted;
  throw refuse(`the widths ${widths.join(", ")}`, "give two or more whole numbers from 2 to 8");
}

function refuse(what: string, remedy: string): AttuneError {
  return new AttuneError("bad-option", `Cannot use ${what}: ${remedy}`);
}

/** A budget in words, as `4 bits on average`. */
export function budgetName(budget: BitBudget): string {
  if (budget.kind === "average") return `${budget.bits} bits on average`;
  return budget.kind === "size" ? `${budget.bytes} bytes` : `output error ${budget.error}`;
}
