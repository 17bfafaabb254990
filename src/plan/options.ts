/**
 * What a caller can ask for, and the checks of it.
 *
 * @module
 */

import type { Granularity } from "../weights/granularity.ts";
import { type FormatName, formatNames, formatOf } from "../formats/formats.ts";
import type { ActivationBits } from "../weights/rounding.ts";
import { AttuneError } from "../errors.ts";
import { type MixedBits, type ResolvedMixedBits, resolveMixedBits } from "./bits.ts";

/** How the range of an activation is found. */
export type RangeMethod =
  | { /** The smallest and the largest value seen. */ readonly kind: "minmax" }
  | {
    /** The share of values that the range must hold. */
    readonly kind: "percentile";
    /** In percent. Default: 99.99. */
    readonly percentile?: number;
  }
  | { /** The range of least squared error. */ readonly kind: "mse" };

/** Bits of a level, 2 to 8; or `"ternary"`: the levels −1, 0 and 1. */
export type Width = number | "ternary";

/** A width for the layers whose name matches. */
export interface Override {
  /** A node's or weight's name, or a glob: `*` and `?`. */
  readonly pattern: string;
  /** Their width, or leave them in float. */
  readonly bits: Width | "skip";
}

/** What {@linkcode plan} decides by; all of it has a default. */
export interface PlanOptions {
  /** Bits of a weight, 2 to 8, or `"ternary"`; or how they are found layer by layer. Default: 4. */
  bits?: Width | MixedBits;
  /**
   * Bits of an activation, or `"none"` to keep activations in float. What the first and last layers
   * read keeps 8. Default: 8.
   */
  activationBits?: ActivationBits;
  /** How many weights share a scale. Default: one per output channel. */
  granularity?: Granularity;
  /** Bits of the first and the last layer, 2 to 8, or `bits` where that is more. Default: 8. */
  edgeBits?: number;
  /**
   * Whether levels reach equally far to both sides of zero, for runtimes that know no zero points
   * of weights; otherwise each row has the levels that suit it. Default: false.
   */
  symmetric?: boolean;
  /** Widths by name; the last that matches wins. Default: none. */
  overrides?: readonly Override[];
  /**
   * The spacing of levels: even, or `"piecewise"`, dense in the middle and sparse in the tails,
   * where that fits the weights better. Default: `"uniform"`.
   */
  grid?: "uniform" | "piecewise";
  /**
   * Widths, falling, for which one file serves: the high bits of its levels are a level of each
   * narrower width. It replaces `bits`. Default: none.
   */
  nested?: readonly number[];
  /** What is written. Default: `"qdq"`. */
  format?: FormatName;
}

/** {@linkcode PlanOptions} with every default filled in. */
export type ResolvedPlanOptions =
  & Required<Omit<PlanOptions, "bits" | "nested">>
  & Pick<PlanOptions, "nested">
  & {
    /** Bits of a weight; or how they are found layer by layer. */
    readonly bits: Width | ResolvedMixedBits;
  };

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 *
 * @example
 * ```ts
 * import { resolvePlanOptions } from "./options.ts";
 *
 * if (resolvePlanOptions({ bits: 3 }).edgeBits !== 8) throw new Error("unexpected");
 * ```
 */
export function resolvePlanOptions(options: PlanOptions = {}): ResolvedPlanOptions {
  const nested = checkNested(options);
  const { bits: asked = nested?.[0] ?? 4 } = options;
  const bits = typeof asked === "object" ? resolveMixedBits(asked) : checkWidth("bits", asked);
  const activationBits = options.activationBits ?? 8;
  if (![4, 8, "none"].includes(activationBits)) {
    throw new AttuneError(
      "bad-option",
      `Cannot use activation bits ${activationBits}: give 8, 4 or none`,
    );
  }
  const granularity = options.granularity ?? { kind: "channel" };
  if (granularity.kind === "group") checkCount("group size", granularity.size, 8);
  const overrides = options.overrides ?? [];
  for (const { pattern, bits } of overrides) {
    if (bits !== "skip") checkWidth(`the override of "${pattern}"`, bits);
  }
  const edgeBits = checkBits("edge bits", options.edgeBits ?? 8);
  const { symmetric = false, grid = "uniform", format = "qdq" } = options;
  if (!formatNames().includes(format)) {
    throw new AttuneError(
      "bad-option",
      `Cannot write the format ${format}: give one of ${formatNames().join(", ")}`,
    );
  }
  const { cutAs, simulation } = formatOf(format);
  if (nested !== undefined && cutAs === undefined && !simulation) {
    throw new AttuneError(
      "bad-option",
      `Cannot use nested widths with the format ${format}: its files cannot be cut`,
    );
  }
  return {
    bits,
    activationBits,
    granularity,
    edgeBits,
    symmetric,
    overrides,
    grid,
    nested,
    format,
  };
}

/** Returns `value` if it is a whole number from 2 to 8. */
export function checkBits(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 2 && value <= 8) return value;
  throw new AttuneError("bad-option", `Cannot use ${value} as ${what}: give a width from 2 to 8`);
}

/** The widths of nested grids, if they fall and nothing contradicts them. */
function checkNested({ nested, bits, grid }: PlanOptions): readonly number[] | undefined {
  if (nested === undefined) return undefined;
  nested.forEach((width) => checkBits("a nested width", width));
  if (grid === "piecewise") {
    throw new AttuneError(
      "bad-option",
      "Cannot use a piecewise grid with nested widths: the high bits of its levels are no levels",
    );
  }
  if (nested.length < 2 || nested.some((width, i) => i > 0 && width >= nested[i - 1])) {
    throw new AttuneError(
      "bad-option",
      `Cannot use ${nested.join()} as nested widths: give two or more, falling, as in 8,6,4,3`,
    );
  }
  if (bits === undefined) return nested;
  const asked = typeof bits === "object" ? "chosen layer by layer" : bits;
  throw new AttuneError(
    "bad-option",
    `Cannot use bits ${asked} with nested widths ${nested.join()}: the widths say it; leave bits out`,
  );
}

/** Returns `value` if it is a width. */
function checkWidth(what: string, value: Width): Width {
  return value === "ternary" ? value : checkBits(what, value);
}

/** Returns `value` if it is a whole number of at least `least`. */
export function checkCount(what: string, value: number, least = 1): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new AttuneError(
    "bad-option",
    `Cannot use ${value} as ${what}: give a whole number of at least ${least}`,
  );
}

/**
 * Whether `name` matches `pattern`, in which `*` stands for any text and `?` for one character.
 * Only the last `*` is ever gone back to, so time is at most their lengths' product.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  let p = 0, n = 0, star = -1, from = 0;
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = p++;
      from = n;
    } else if (pattern[p] === "?" || pattern[p] === name[n]) {
      p++;
      n++;
    } else if (star >= 0) {
      // The last star takes one character more.
      p = star + 1;
      n = ++from;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
