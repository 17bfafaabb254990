/**
 * Flags of how blocks of layers are learned.
 *
 * @module
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Reconstruction } from "../../blocks/options.ts";
import { AttuneError } from "../../errors.ts";
import { checkOutputs } from "../../files/output.ts";
import { writeModel } from "../../onnx/file.ts";
import { flagsIn, type Parsed } from "../command.ts";
import { blockIterations, learnsBlocks } from "./rounding.ts";

/** The flags that ask for it, and the one that shows how it is done. */
export const BLOCK_FLAGS = flagsIn("Blocks", {
  blocks: { help: "learn blocks of layers by gradients once they are rounded" },
  "time-budget": { value: "TIME", help: "as 90s or 10m: learn blocks, but end on time" },
  "debug-graphs": { value: "DIR", help: "write the gradient graph of each block there" },
});

/** How blocks are learned; undefined where they are not. Graphs are not written over `inputs`. */
export function reconstructionOf(
  parsed: Parsed,
  inputs: readonly string[],
): Reconstruction | undefined {
  const budget = parsed.text("time-budget"), folder = parsed.text("debug-graphs");
  if (!learnsBlocks(parsed)) {
    if (folder === undefined) return undefined;
    throw new AttuneError("bad-option", `Cannot use --debug-graphs without --blocks: give it, too`);
  }
  if (folder !== undefined) makeFolder(folder);
  return {
    kind: "blocks",
    iterations: blockIterations(parsed),
    timeBudget: budget === undefined ? undefined : seconds("time-budget", budget),
    onGraph: folder === undefined ? undefined : (name, model) => {
      const path = join(folder, `${name}.onnx`);
      checkOutputs([path], inputs);
      writeModel(model, path);
    },
  };
}

/** Seconds of a text as 90s, 10m or 2h. */
function seconds(name: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text);
  if (match) return Number(match[1]) * { s: 1, m: 60, h: 3600 }[match[2] ?? "s"]!;
  throw new AttuneError(
    "bad-option",
    `Cannot use --${name} ${text}: give a time, as in 90s, 10m or 2h`,
  );
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new AttuneError(
      "bad-output",
      `Cannot use --debug-graphs ${folder}: ${(cause as Error).message}; give another folder`,
      { cause },
    );
  }
}
