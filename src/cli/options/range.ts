/**
 * The flag of how ranges of activations are found.
 *
 * @module
 */

import { AttuneError } from "../../errors.ts";
import type { RangeMethod } from "../../plan/options.ts";
import { flagsIn, type Parsed } from "../command.ts";

/** The flag. */
export const RANGE_FLAGS = flagsIn("Rounding", {
  range: {
    value: "METHOD",
    help: "minmax, mse or percentile:P activation ranges [minmax; mse for 4 bits]",
  },
});

/** How ranges are found; undefined where the flag is not given. */
export function rangeOf(parsed: Parsed): RangeMethod | undefined {
  const text = parsed.text("range");
  if (text === undefined) return undefined;
  if (text === "mse" || text === "minmax") return { kind: text };
  const [kind, share] = text.split(":");
  const percentile = share === undefined ? undefined : Number(share);
  const valid = percentile === undefined || (percentile > 50 && percentile <= 100);
  if (kind === "percentile" && valid) return { kind, percentile };
  throw new AttuneError(
    "bad-option",
    `Cannot use --range ${text}: give mse, minmax or percentile:P, as in percentile:99.9`,
  );
}
