/**
 * Flags that say how many bits weights get: one width, widths to choose from, or a budget.
 *
 * @module
 */

import { AttuneError } from "../../errors.ts";
import type { BitBudget, MixedBits } from "../../plan/bits.ts";
import { DEFAULT_STRATEGY, STRATEGIES, strategyNames } from "../../strategies/strategies.ts";
import type { Width } from "../../plan/options.ts";
import { type Flag, flagsIn, type Parsed } from "../command.ts";

/** The flags, `--bits` among them; those of the strategies as they are when this is called. */
export function bitsFlags(): Record<string, Flag> {
  const strategies = strategyNames().map((name) => [name, STRATEGIES[name].doc]);
  return flagsIn("Bits", {
    bits: {
      value: "N",
      help: "bits of a weight, 2 to 8, or ternary; or mixed:2,3,4,6,8 to choose from per layer [4]",
    },
    "average-bits": { value: "N", help: "choose each layer's bits, N on average" },
    "max-size": { value: "SIZE", help: "choose each layer's bits for a file of 2MB, 500kB, …" },
    "max-loss": { value: "X", help: "choose each layer's bits for an output error of X, as 0.01" },
    allocate: {
      value: "HOW",
      help: `what a budget makes least in sum over layers [${DEFAULT_STRATEGY}]`,
      choices: {
        ...Object.fromEntries(strategies),
        clusters: "without a budget: widths by clusters of coding lengths",
      },
    },
  });
}

/** Bytes of the units that sizes are given in. */
const UNITS: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };

/** The bits that the flags ask for; undefined where none is given. */
export function bitsOf(parsed: Parsed): Width | MixedBits | undefined {
  const text = parsed.text("bits");
  const widths = text?.startsWith("mixed") ? widthsOf(text) : undefined;
  const budget = budgetOf(parsed);
  const how = parsed.choice("allocate", [...strategyNames(), "clusters"]);
  const mixed = text?.startsWith("mixed") ?? false;
  if (text !== undefined && !mixed) {
    const other = budget ? budget.flag : how ? "allocate" : undefined;
    if (other === undefined) return text === "ternary" ? text : parsed.number("bits");
    throw refuse(`--bits ${text} with --${other}`, "give one of them, or --bits mixed:2,3,4,6,8");
  }
  if (budget) {
    if (how !== "clusters") {
      return { kind: "budget", budget: budget.budget, strategy: how, widths };
    }
    throw refuse(`--allocate clusters with --${budget.flag}`, "clusters follow no budget");
  }
  if (how !== undefined && how !== "clusters") {
    throw refuse(
      `--allocate ${how} without a budget`,
      "give --average-bits, --max-size or --max-loss",
    );
  }
  return mixed || how ? { kind: "clusters", widths } : undefined;
}

/** The budget that is given, with its flag. */
function budgetOf(parsed: Parsed): { flag: string; budget: BitBudget } | undefined {
  const flags = ["average-bits", "max-size", "max-loss"] as const;
  const given = flags.filter((flag) => parsed.text(flag) !== undefined);
  if (given.length > 1) {
    throw refuse(given.map((flag) => `--${flag}`).join(" with "), "give one budget");
  }
  const [flag] = given;
  if (flag === "average-bits") {
    return { flag, budget: { kind: "average", bits: parsed.number(flag)! } };
  }
  if (flag === "max-loss") return { flag, budget: { kind: "loss", error: parsed.number(flag)! } };
  return flag && { flag, budget: { kind: "size", bytes: bytesOf(flag, parsed.text(flag)!) } };
}

/** The widths of `mixed:2,3,4`; undefined of `mixed` alone. */
function widthsOf(text: string): number[] | undefined {
  if (text === "mixed") return undefined;
  const list = /^mixed:(\d+(?:,\d+)*)$/.exec(text)?.[1];
  if (list !== undefined) return list.split(",").map(Number);
  throw refuse(`--bits ${text}`, "give a width, or mixed: and widths, as in mixed:2,3,4,6,8");
}

/** Bytes of a text as 2MB, 500kB or 1000000. */
function bytesOf(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kMG]?B)?$/i.exec(text);
  if (match) return Math.floor(Number(match[1]) * UNITS[match[2]?.toLowerCase() ?? "b"]);
  throw refuse(`--${flag} ${text}`, "give a size, as in 2MB, 500kB or 1000000");
}

function refuse(what: string, remedy: string): AttuneError {
  return new AttuneError("bad-option", `Cannot use ${what}: ${remedy}`);
}
