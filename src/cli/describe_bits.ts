/**
 * How bits were chosen, and what each layer pays, in words and tables.
 *
 * @module
 */

import { budgetName } from "../plan/bits.ts";
import type { Allocation } from "../plan/allocation.ts";
import { bytes, percent } from "../report/format.ts";

/** Columns of a plan's table that say what each layer pays. */
export const SHARE_HEAD: readonly string[] = ["length", "error", "adds"];

/**
 * What layer `i` pays: coding length per weight, error of its outputs, error of the model's
 * outputs.
 */
export function shareCells({ layers }: Allocation, i: number): string[] {
  const { codingLength, error, loss } = layers[i];
  return [
    codingLength.toFixed(2),
    error === undefined ? "" : percent(error),
    loss === undefined ? "" : percent(loss),
  ];
}

/** How widths were chosen, in a line. */
export function describeAllocation(allocation: Allocation): string {
  const { strategy, budget, basis, averageBits, loss } = allocation;
  return [
    `bits by ${strategy}${budget ? ` for ${budgetName(budget)}` : ""}`,
    basis === "outputs"
      ? "going by outputs on samples"
      : "going by the weights alone, without --data",
    `${averageBits.toFixed(2)} on average`,
    `a file of about ${bytes(allocation.bytes)}`,
    ...(loss === undefined ? [] : [`output error about ${percent(loss)}`]),
  ].join(", ");
}
