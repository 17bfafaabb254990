/**
 * Flags of how levels are found, from the table of rounding methods.
 *
 * @module
 */

import { AttuneError } from "../../errors.ts";
import {
  type AnyMethod,
  DEFAULT_METHOD,
  methodOf,
  METHODS,
  type RoundingMethod,
} from "../../round/methods.ts";
import { type Flag, flagsIn, type Parsed } from "../command.ts";

/** The flags of the methods as they are when this is called. */
export function roundingFlags(): Record<string, Flag> {
  const methods: readonly AnyMethod[] = Object.values(METHODS);
  const options = methods.flatMap(({ options }) => Object.entries(options));
  const flags = options.filter(([, { flag }]) => flag).map(([name, option]) => {
    const blocks = name === "iterations" ? ", of a block [300; all that a time budget allows]" : "";
    const formerly = name === "iterations" ? "steps" : undefined;
    const help = `${option.doc} [${option.default}]${blocks}`;
    return [name, { value: "N", help, formerly }] as const;
  });
  return flagsIn("Rounding", {
    rounding: {
      value: "METHOD",
      help: `how levels are found [${DEFAULT_METHOD.kind}]`,
      choices: Object.fromEntries(methods.map(({ kind, doc }) => [kind, doc])),
    },
    ...Object.fromEntries(flags),
  });
}

/** Whether a flag says how levels are found. */
export function asksForRounding(parsed: Parsed): boolean {
  return Object.keys(roundingFlags()).some((name) => parsed.text(name) !== undefined);
}

/** The method that the flags name, with what they say of it. */
export function roundingOf(parsed: Parsed): RoundingMethod {
  const kinds = Object.keys(METHODS) as RoundingMethod["kind"][];
  const kind = parsed.choice("rounding", kinds) ?? DEFAULT_METHOD.kind,
    { options } = methodOf({ kind });
  const told: Record<string, number> = {};
  for (const name of Object.keys(roundingFlags()).filter((name) => name !== "rounding")) {
    const value = parsed.number(name);
    if (value === undefined) continue;
    if (name in options) told[name] = value;
    else if (name !== "iterations") {
      throw new AttuneError("bad-option", `Cannot use --${name} with --rounding ${kind}`);
    } else if (!learnsBlocks(parsed)) {
      throw new AttuneError(
        "bad-option",
        `Cannot use --iterations with --rounding ${kind}: give --blocks, too, or a learned method`,
      );
    }
  }
  return { kind, ...told } as RoundingMethod;
}

/** The iterations that the flags ask for where they are not those of a layer. */
export function blockIterations(parsed: Parsed): number | undefined {
  return "iterations" in methodOf(roundingOf(parsed)).options
    ? undefined
    : parsed.number("iterations");
}

/** Whether the flags ask for blocks to be learned. */
export function learnsBlocks(parsed: Parsed): boolean {
  return parsed.on("blocks") || parsed.text("time-budget") !== undefined;
}
