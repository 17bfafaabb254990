/**
 * `attune quantize` without `--data`: weights alone, by what the model tells.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { printable } from "../printable.ts";
import type { Quantized } from "../quantize/quantize.ts";
import { quantizeWeights } from "../quantize/quantize_weights.ts";
import type { Context, Parsed } from "./command.ts";
import { asksForRounding, roundingOf } from "./options/rounding.ts";
import { createProgress } from "./progress.ts";

/** Flags that say something of samples, or of what needs them. */
const OF_SAMPLES = ["preprocess", "limit", "batch", "blocks", "time-budget", "range", "resume"];

/** Whether the job of `plan` is one without samples: none are given, and none are needed. */
export function isWithoutSamples({ options }: Plan, parsed: Parsed): boolean {
  return parsed.text("data") === undefined && options.activationBits === "none";
}

/** Rounds the weights of `plan` without samples. */
export async function roundWeights(
  plan: Plan,
  parsed: Parsed,
  { say, signal }: Context,
): Promise<Quantized> {
  const flag = OF_SAMPLES.find((name) => parsed.text(name) !== undefined);
  if (flag !== undefined) {
    throw new AttuneError("bad-option", `Cannot use --${flag} without samples: give --data, too`);
  }
  if (!parsed.on("json")) {
    say(
      "no samples: weights are rounded by what the model tells; --data PATH gives better results",
    );
    for (const line of plan.prepared) say(printable(line));
  }
  using progress = createProgress();
  const result = await quantizeWeights(plan, {
    rounding: asksForRounding(parsed) ? roundingOf(parsed) : undefined,
    biasCorrection: parsed.on("bias-correction"),
    scaleRefit: parsed.on("refit"),
    damping: parsed.number("damping"),
    seed: parsed.number("seed"),
    signal,
    onProgress: progress.update,
  });
  progress.finish();
  return result;
}
