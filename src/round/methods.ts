/**
 * The rounding methods. To add one: a file in `methods/`, and a line in the table.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { checkCount } from "../plan/options.ts";
import type { GridKind, Method, MethodOption } from "./method.ts";
import { adaround, type AdaRounding } from "./methods/adaround.ts";
import { attention, type AttentionRounding } from "./methods/attention.ts";
import { attentionGradient, type AttentionGradientRounding } from "./methods/attention_gradient.ts";
import { nearest, type NearestRounding } from "./methods/nearest.ts";
import { stochastic, type StochasticRounding } from "./methods/stochastic.ts";

/** How a weight gets its integer level. */
export type RoundingMethod =
  | AttentionRounding
  | AttentionGradientRounding
  | AdaRounding
  | StochasticRounding
  | NearestRounding;

/** Every method by its name, as the help lists them. */
export const METHODS: {
  readonly [Kind in RoundingMethod["kind"]]: Method<Extract<RoundingMethod, { kind: Kind }>>;
} = {
  "attention": attention,
  "attention:gradient": attentionGradient,
  "adaround": adaround,
  "stochastic": stochastic,
  "nearest": nearest,
};

/** The method where nothing is said. */
export const DEFAULT_METHOD: RoundingMethod = { kind: "attention" };

/** A method of the table, whichever it is. */
export type AnyMethod = Omit<Method<RoundingMethod>, "options"> & {
  /** What it can be told, by name. */
  readonly options: Readonly<Record<string, MethodOption>>;
};

/** The method that `rounding` names. */
export function methodOf({ kind }: { readonly kind: string }): AnyMethod {
  const methods = METHODS as unknown as Readonly<Record<string, AnyMethod>>;
  if (Object.hasOwn(methods, kind)) return methods[kind];
  throw new AttuneError(
    "bad-option",
    `Cannot round by ${kind}: give one of ${Object.keys(METHODS).join(", ")}`,
  );
}

/**
 * Checks that there is such a method, that it can do what it is told, and that it works on `grid`.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 */
export function checkMethod(rounding: RoundingMethod, grid: GridKind): void {
  const { options, grids } = methodOf(rounding);
  const given = rounding as unknown as Readonly<Record<string, number | undefined>>;
  for (const [name, { check }] of Object.entries(options)) {
    const value = given[name];
    if (value === undefined) continue;
    if (check === "count") checkCount(name, value);
    else if (!(value >= 0 && value < Infinity)) {
      throw new AttuneError(
        "bad-option",
        `Cannot use ${value} as ${name}: give a number of at least 0`,
      );
    }
  }
  if (!grids.includes(grid)) throw gridRefusal(`rounding ${rounding.kind}`, grid);
}

/** Says that `what` does not go with `grid`, whose levels only sequential rounding finds. */
export function gridRefusal(what: string, grid: GridKind): AttuneError {
  const levels = grid === "nested" ? "nested widths" : `a ${grid} grid`;
  return new AttuneError(
    "bad-option",
    `Cannot use ${what} with ${levels}: such levels are found by rounding attention; leave one ` +
      `of the two out`,
  );
}
