/**
 * The allocation strategies. To add one: a file in this room, and a line in the table.
 *
 * @module
 */

import { codingLength, jointCodingLength } from "./coding_length.ts";
import { gradient } from "./gradient.ts";
import { hessianTrace } from "./hessian_trace.ts";
import { measured } from "./measured.ts";
import type { Measures } from "./measures.ts";
import { nuclear } from "./nuclear.ts";
import type { AllocationStrategy, Needs } from "./strategy.ts";

/** How a budget is spread over layers: the name of a strategy. */
export type Strategy =
  | "coding-length"
  | "coding-length:joint"
  | "nuclear"
  | "gradient"
  | "hessian-trace"
  | "measured";

/** Every strategy by its name, as the help lists them. */
export const STRATEGIES: Readonly<Record<Strategy, AllocationStrategy>> = {
  "coding-length": codingLength,
  "coding-length:joint": jointCodingLength,
  "nuclear": nuclear,
  "gradient": gradient,
  "hessian-trace": hessianTrace,
  "measured": measured,
};

/** The strategy where nothing is said. */
export const DEFAULT_STRATEGY: Strategy = "coding-length";

/** The names of all strategies. */
export function strategyNames(): Strategy[] {
  return Object.keys(STRATEGIES) as Strategy[];
}

/** Whether `name` is that of a strategy. */
export function isStrategy(name: string): name is Strategy {
  return Object.hasOwn(STRATEGIES, name);
}

/** Whether `measures` hold what a strategy `needs`. */
export function suffices({ outputs }: Measures, needs: Needs): boolean {
  if (needs === "weights") return true;
  return needs === "outputs" ? outputs !== undefined : outputs?.gradient !== undefined;
}
