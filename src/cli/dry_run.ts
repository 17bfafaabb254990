/**
 * `--dry-run`: what would become of each layer, and with a budget what each would pay.
 *
 * @module
 */

import { chooseBits, isOpen } from "../allocate/choose.ts";
import type { Plan } from "../plan/plan.ts";
import { summarize } from "../plan/summary.ts";
import type { Context, Parsed } from "./command.ts";
import { describePlan } from "./describe.ts";
import { createProgress } from "./progress.ts";
import { batchingOf, poolOf, samplesOf } from "./shared.ts";

/** Prints `plan`. */
export async function dryRun(plan: Plan, parsed: Parsed, context: Context): Promise<void> {
  const chosen = await chosenPlan(plan, parsed, context);
  context.print(parsed.on("json") ? JSON.stringify(summarize(chosen)) : describePlan(chosen));
}

/** `plan` with the widths that it leaves open: by samples where some are given. */
async function chosenPlan(plan: Plan, parsed: Parsed, context: Context): Promise<Plan> {
  if (!isOpen(plan) || parsed.text("data") === undefined) return await chooseBits(plan);
  const samples = await samplesOf(parsed, plan.graph.inputs, context, { what: "samples" });
  using pool = await poolOf(parsed, context);
  using progress = createProgress();
  const chosen = await chooseBits(plan, { source: samples.samples(), pool }, {
    ...batchingOf(parsed),
    seed: parsed.number("seed"),
    damping: parsed.number("damping"),
    signal: context.signal,
    onProgress: progress.update,
  });
  progress.finish();
  return chosen;
}
