/**
 * `--sweep`: many budgets from one calibration, as a table and a page.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { checkOutputs, writeFileAtomic } from "../files/output.ts";
import { writeModel } from "../onnx/file.ts";
import { strategyNames } from "../strategies/strategies.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { RoundingMethod } from "../round/methods.ts";
import type { Plan } from "../plan/plan.ts";
import { bytes, duration, percent } from "../report/format.ts";
import { renderSweep } from "../report/sweep.ts";
import { sweep } from "../quantize/sweep.ts";
import type { SweepReport } from "../report/sweep_report.ts";
import { type Context, flagsIn, type Parsed } from "./command.ts";
import { reportText } from "./report_file.ts";
import { createProgress } from "./progress.ts";
import { batchingOf, poolOf, samplesOf } from "./shared.ts";
import { share } from "./describe.ts";
import { table } from "./table.ts";

/** The flag. */
export const SWEEP_FLAGS = flagsIn("Bits", {
  sweep: { value: "FROM..TO", help: "compare average bits, as 2..8, from one calibration" },
});

/** Averages of a sweep: halves while each bit counts most. */
const AVERAGES = [2, 2.5, 3, 3.5, 4, 5, 6, 7, 8];

/** Flags of a job that has one budget, or none. */
const NOT_OF_SWEEPS = [
  ...["average-bits", "max-size", "max-loss", "blocks", "time-budget", "resume", "fail-above"],
];

/**
 * Tries `plan` at the budgets that `--sweep` names; files are written only where `-o` has a `*`.
 */
export async function runSweep(
  plan: Plan,
  parsed: Parsed,
  context: Context,
  { inputs, ...options }: {
    readonly rounding?: RoundingMethod;
    readonly range?: RangeMethod;
    /** What is not written over. */
    readonly inputs: readonly string[];
  },
): Promise<void> {
  const averages = averagesOf(parsed.text("sweep")!);
  for (const flag of NOT_OF_SWEEPS) {
    if (parsed.text(flag) === undefined && !parsed.on(flag)) continue;
    throw new AttuneError("bad-option", `Cannot use --sweep with --${flag}: give one of them`);
  }
  const output = parsed.text("output"), report = parsed.text("report");
  if (output !== undefined && !output.includes("*")) {
    throw new AttuneError(
      "bad-option",
      `Cannot write all models of a sweep to ${output}: give a name with * for the bits, as in ` +
        "-o 'model.*.onnx', or none",
    );
  }
  const pathOf = (asked: number) => output!.replaceAll("*", `${asked}`);
  const outputs = [...(output === undefined ? [] : averages.map(pathOf)), report];
  checkOutputs(outputs.filter((path) => path !== undefined), inputs);
  const strategy = parsed.choice("allocate", strategyNames());
  const samples = await samplesOf(parsed, plan.graph.inputs, context, {
    what: "a folder of sample images, a .npy, .npz or .jsonl file",
  });
  using pool = await poolOf(parsed, context);
  using progress = createProgress();
  const result = await sweep(plan, samples.samples(), pool, {
    averages,
    strategies: strategy && [strategy],
    ...options,
    ...batchingOf(parsed),
    damping: parsed.number("damping"),
    seed: parsed.number("seed"),
    onModel: output === undefined
      ? undefined
      : (model, { asked }) => writeModel(model, pathOf(asked)),
    signal: context.signal,
    onProgress: progress.update,
  });
  progress.finish();
  const complete = {
    ...result,
    samples: { ...result.samples, skipped: samples.warnings.length },
  };
  if (report !== undefined) {
    writeFileAtomic(report, [new TextEncoder().encode(reportText(report, complete, renderSweep))]);
  }
  context.print(parsed.on("json") ? JSON.stringify(complete) : describeSweep(complete));
}

/** The averages between the two ends of `2..8`, ends included. */
function averagesOf(text: string): number[] {
  const match = /^(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)$/.exec(text);
  const [from, to] = [Number(match?.[1]), Number(match?.[2])];
  if (from >= 2 && to <= 8 && from <= to) {
    const inner = AVERAGES.filter((bits) => bits > from && bits < to);
    return [...new Set([from, ...inner, to])];
  }
  throw new AttuneError(
    "bad-option",
    `Cannot use --sweep ${text}: give two numbers of bits from 2 to 8, as in 2..8`,
  );
}

/** The points of a sweep as a table; those with a star are worth having. */
function describeSweep({ points, samples, stages }: SweepReport): string {
  const { top1 } = points[0].evaluation.reference;
  const rows = points.map((point) => [
    point.best ? "*" : "",
    point.strategy,
    `${point.asked}`,
    point.averageBits.toFixed(2),
    bytes(point.bytes),
    percent(point.evaluation.mse),
    share(point.evaluation.agreement, point.evaluation.samples),
    ...(top1 === null ? [] : [`${point.evaluation.top1!.toFixed(1)} %`]),
  ]);
  const head = ["", "bits by", "asked", "average", "file", "output error", "same answer"];
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return [
    table(top1 === null ? head : [...head, "top-1"], rows),
    "",
    `* nothing else is smaller with less error, on ${samples.heldOut} samples held out` +
    (top1 === null ? "" : `; the float model is right on ${top1.toFixed(1)} %`),
    `${samples.calibration} samples to calibrate on, ${duration(seconds)}: ` +
    stages.map((stage) => `${stage.name} ${duration(stage.seconds)}`).join(", "),
  ].join("\n");
}
