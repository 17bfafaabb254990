/**
 * Flags of what a plan decides by: widths, grids, granularity, and exceptions by name.
 *
 * @module
 */

import { AttuneError } from "../../errors.ts";
import { formatNames, formatOf } from "../../formats/formats.ts";
import type { Override, PlanOptions } from "../../plan/options.ts";
import type { Granularity } from "../../weights/granularity.ts";
import type { ActivationBits } from "../../weights/rounding.ts";
import { type Flag, flagsIn, type Parsed } from "../command.ts";
import { bitsOf } from "./bits.ts";

/** The flags beside those of `bits.ts` and the format. */
export const PLAN_FLAGS: Record<string, Flag> = {
  ...flagsIn("Bits", {
    "activation-bits": { value: "N", help: "8, 4, or none for float activations [8]" },
    nested: { value: "N,N,…", help: "widths, as 8,6,4,3, that attune cut makes of one file" },
    "edge-bits": { value: "N", help: "bits of the first and last layers [8]" },
    override: {
      value: "NAME=N",
      help: "bits, ternary or skip for the layers that match; repeatable",
      repeat: true,
    },
  }),
  ...flagsIn("Rounding", {
    grid: { value: "KIND", help: "uniform, or piecewise: dense middle, sparse tails [uniform]" },
    granularity: {
      value: "KIND",
      help: "tensor, channel or group:N weights share a scale [channel]",
    },
    symmetric: { help: "levels of a weight reach equally far to both sides of zero" },
  }),
};

/** The flag of the format; the formats as they are when this is called. */
export function formatFlags(): Record<string, Flag> {
  return flagsIn("Output", {
    format: {
      value: "NAME",
      help: "what is written [qdq]",
      choices: Object.fromEntries(formatNames().map((name) => [name, formatOf(name).doc])),
    },
  });
}

/** What the flags say of the plan. */
export function planOptionsOf(parsed: Parsed): PlanOptions {
  return {
    bits: bitsOf(parsed),
    grid: parsed.choice("grid", ["uniform", "piecewise"]),
    nested: parsed.text("nested")?.split(",").map(Number),
    activationBits: activationBits(parsed),
    edgeBits: parsed.number("edge-bits"),
    granularity: granularity(parsed),
    symmetric: parsed.on("symmetric"),
    overrides: parsed.texts("override").map(override),
    format: parsed.choice("format", formatNames()),
  };
}

function activationBits(parsed: Parsed): ActivationBits | undefined {
  const choice = parsed.choice("activation-bits", ["8", "4", "none"]);
  return choice === "8" ? 8 : choice === "4" ? 4 : choice;
}

function granularity(parsed: Parsed): Granularity | undefined {
  const text = parsed.text("granularity");
  if (text === undefined) return undefined;
  if (text === "tensor" || text === "channel") return { kind: text };
  // ONNX calls such groups blocks.
  const size = /^(?:group|block):(\d+)$/.exec(text)?.[1];
  if (size !== undefined) return { kind: "group", size: Number(size) };
  throw new AttuneError(
    "bad-option",
    `Cannot use --granularity ${text}: give tensor, channel or group:N, as in group:32`,
  );
}

function override(text: string): Override {
  const split = text.lastIndexOf("=");
  const pattern = text.slice(0, split), value = text.slice(split + 1);
  if (split > 0 && (value === "skip" || value === "ternary")) return { pattern, bits: value };
  if (split > 0 && /^\d+$/.test(value)) return { pattern, bits: Number(value) };
  throw new AttuneError(
    "bad-option",
    `Cannot use --override ${text}: give NAME=BITS, NAME=ternary or NAME=skip, as in 'conv1=8'`,
  );
}
