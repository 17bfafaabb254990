/**
 * `attune quantize`: a model and samples in, a smaller model out.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import process from "node:process";
import type { CheckpointStore } from "../calibrate/checkpoint.ts";
import { checkpointFile } from "../calibrate/checkpoint_file.ts";
import { checkOutputs, writeFileAtomic } from "../files/output.ts";
import { lengthOf, modelChunks } from "../onnx/chunks.ts";
import { dataFiles, readModel, writeModel } from "../onnx/file.ts";
import { makePlan, type Plan } from "../plan/plan.ts";
import { printable } from "../printable.ts";
import { quantize, type Quantized } from "../quantize/quantize.ts";
import type { QuantizeOptions } from "../quantize/options.ts";
import { renderReport } from "../report/html.ts";
import {
  type Command,
  type Context,
  type ExitCode,
  flagsIn,
  modelPath,
  type Parsed,
  required,
} from "./command.ts";
import { describeResult } from "./describe.ts";
import { dryRun } from "./dry_run.ts";
import { bitsFlags } from "./options/bits.ts";
import { BLOCK_FLAGS, reconstructionOf } from "./options/blocks.ts";
import { formatFlags, PLAN_FLAGS, planOptionsOf } from "./options/plan.ts";
import { RANGE_FLAGS, rangeOf } from "./options/range.ts";
import { asksForRounding, roundingFlags, roundingOf } from "./options/rounding.ts";
import { boundOf, FAIL_FLAGS, verdictOf, worstError } from "./options/verdict.ts";
import { createProgress } from "./progress.ts";
import { quoted } from "./remedies.ts";
import { reportText } from "./report_file.ts";
import { isWithoutSamples, roundWeights } from "./round_weights.ts";
import { batchingOf, DATA_FLAGS, inputFiles, poolOf, RUN_FLAGS, samplesOf } from "./shared.ts";
import { runSweep, SWEEP_FLAGS } from "./sweep.ts";

/** The command. */
export const quantizeCommand: Command = {
  name: "quantize",
  summary: "Quantize a float32 ONNX model on sample inputs",
  usage: "<model.onnx> --data PATH -o OUT.onnx",
  examples: [
    ["Weights in 4 bits, activations in 8", "attune model.onnx --data ./images -o model.q.onnx"],
    [
      "A report to look at",
      "attune model.onnx --data ./images --report report.html -o model.q.onnx",
    ],
    [
      "Weights only, in 3 bits",
      "attune model.onnx --data ./images --bits 3 --activation-bits none -o q.onnx",
    ],
    [
      "Some layers in 8 bits",
      "attune model.onnx --data ./images --override 'head*=8' -o model.q.onnx",
    ],
    [
      "Blocks learned together, in ten minutes",
      "attune model.onnx --data ./images --bits 3 --time-budget 10m -o model.q.onnx",
    ],
    [
      "A file of 3 bits per weight, at the speed of integers",
      "attune model.onnx --data ./images --bits 3 --format packed -o model.q.onnx",
    ],
    [
      "Bits for each layer, such that the file has 2 MB",
      "attune model.onnx --data ./images --max-size 2MB --format packed -o q.onnx",
    ],
    [
      "Size against accuracy, from one calibration",
      "attune model.onnx --data ./images --sweep 2..8 --report sweep.html",
    ],
    [
      "Without samples, weights only: less accurate",
      "attune model.onnx --bits 8 --activation-bits none -o model.q.onnx",
    ],
    ["What would be done, without doing it", "attune model.onnx --bits 4 --dry-run"],
  ],
  common: [
    ...["data", "output", "bits", "activation-bits", "max-size", "format", "preprocess", "limit"],
    ...["report", "dry-run"],
  ],
  // Methods and strategies are asked for when the help is.
  get flags() {
    return {
      ...DATA_FLAGS,
      ...bitsFlags(),
      ...SWEEP_FLAGS,
      ...PLAN_FLAGS,
      ...roundingFlags(),
      ...RANGE_FLAGS,
      ...flagsIn("Rounding", {
        shift: { help: "layers repair the error of those before them [on; --no-shift]" },
        "bias-correction": { help: "biases set the means right [on; --no-bias-correction]" },
        refit: { help: "scales are fitted to the levels [on; --no-refit]" },
        damping: { value: "X", help: "pull towards the original weights, relative [0.01]" },
      }),
      ...BLOCK_FLAGS,
      ...flagsIn("Output", {
        output: { value: "PATH", help: "where the quantized model goes", short: "o" },
        report: {
          value: "PATH",
          help: "write a page with every layer; as .json, what --json prints",
        },
        json: { help: "print the report as JSON to stdout" },
        "dry-run": { help: "print the plan and stop" },
      }),
      ...FAIL_FLAGS,
      ...formatFlags(),
      ...flagsIn("Running", {
        resume: { help: "go on where an interrupted run with the same output stopped" },
        seed: { value: "N", help: "decides every random choice [0]" },
      }),
      ...RUN_FLAGS,
    };
  },
  async run(parsed, context) {
    const path = modelPath(quantizeCommand, parsed);
    const model = readModel(path);
    boundOf(parsed);
    const options = planOptionsOf(parsed);
    // A sweep is about size, which only packed files have at every width.
    const format = options.format ?? (parsed.text("sweep") === undefined ? undefined : "packed");
    const plan = makePlan(model, { ...options, format });
    if (parsed.on("dry-run")) return await dryRun(plan, parsed, context);
    if (parsed.text("sweep") === undefined) return await runQuantize(plan, parsed, context, path);
    await runSweep(plan, parsed, context, {
      // Levels by the default method would take long for every width.
      rounding: asksForRounding(parsed) ? roundingOf(parsed) : undefined,
      inputs: inputFiles(parsed, path, model),
      range: rangeOf(parsed),
    });
  },
};

/** Where the results of a job go. */
interface Outputs {
  /** The model's path. */
  readonly model: string;
  /** The files of the float model: itself, and its data files. */
  readonly before: readonly string[];
  /** That of the page; undefined writes none. */
  readonly report?: string;
  /** Where the job's state goes. */
  readonly checkpoint: CheckpointStore;
  /** What is not written over. */
  readonly inputs: readonly string[];
}

/** The outputs that the flags name, for the model at `path`. */
function outputsOf(parsed: Parsed, path: string, plan: Plan): Outputs {
  const model = required(
    parsed,
    "output",
    "where the quantized model goes, as in -o model.q.onnx",
  );
  const report = parsed.text("report"), checkpoint = checkpointFile(model);
  const inputs = inputFiles(parsed, path, plan.model);
  checkOutputs([model, checkpoint.name, ...(report === undefined ? [] : [report])], inputs);
  const before = [path, ...dataFiles(plan.model, path)];
  return { model, before, report, checkpoint, inputs };
}

/** What the flags say of the job. */
function optionsOf(
  parsed: Parsed,
  { checkpoint, inputs }: Outputs,
  { signal }: Context,
): QuantizeOptions {
  return {
    ...batchingOf(parsed),
    rounding: roundingOf(parsed),
    reconstruction: reconstructionOf(parsed, inputs),
    checkpoint,
    resume: parsed.on("resume"),
    range: rangeOf(parsed),
    floatTargetShift: parsed.on("shift"),
    biasCorrection: parsed.on("bias-correction"),
    scaleRefit: parsed.on("refit"),
    damping: parsed.number("damping"),
    seed: parsed.number("seed"),
    // The time that a user waits began with the program.
    started: 0,
    signal,
  };
}

/** Quantizes the model of `plan`, which lies at `path`, and writes what comes of it. */
async function runQuantize(
  plan: Plan,
  parsed: Parsed,
  context: Context,
  path: string,
): Promise<ExitCode> {
  const outputs = outputsOf(parsed, path, plan), { checkpoint } = outputs;
  if (isWithoutSamples(plan, parsed)) {
    return await finish(await roundWeights(plan, parsed, context), outputs, parsed, context);
  }
  const options = optionsOf(parsed, outputs, context);
  const samples = await samplesOf(parsed, plan.graph.inputs, context, {
    what: "a folder of images, a .npy, .npz or .jsonl file; or --activation-bits none, without",
  });
  if (!parsed.on("json")) {
    for (const line of plan.prepared) context.say(printable(line));
  }
  using pool = await poolOf(parsed, context);
  using progress = createProgress();
  const result = await quantize(plan, samples.samples(), pool, {
    ...options,
    onProgress: progress.update,
  }).catch((error) => {
    if (existsSync(checkpoint.name)) {
      context.say(`${checkpoint.name} keeps what was found so far: go on by --resume`);
    }
    throw error;
  });
  progress.finish();
  const { report } = result, skipped = samples.warnings.length;
  const counted = { ...report, samples: { ...report.samples, skipped } };
  return await finish({ ...result, report: counted }, outputs, parsed, context);
}

/** Writes what came of the model, and says so. */
async function finish(
  { model, report }: Quantized,
  outputs: Outputs,
  parsed: Parsed,
  context: Context,
): Promise<ExitCode> {
  const bound = boundOf(parsed);
  context.signal.throwIfAborted();
  const { model: output } = outputs;
  const sizes = await Promise.all(outputs.before.map(async (each) => (await stat(each)).size));
  const before = sizes.reduce((sum, size) => sum + size, 0);
  const file = { output, before, after: lengthOf(modelChunks(model)) };
  const complete = {
    ...report,
    file,
    command: commandOf(parsed),
    peakMemory: process.resourceUsage().maxRSS * 1024,
  };
  writeResult({ model, report: complete }, outputs);
  if (parsed.on("json")) context.print(JSON.stringify(complete));
  else context.say(describeResult(complete, output, file));
  const compared = report.check?.outputs.map(({ evaluation }) => evaluation) ?? [];
  return verdictOf(worstError(compared), bound, context);
}

/** Writes the model, then the page; the checkpoint has done its duty in between. */
function writeResult(
  { model, report }: Quantized,
  { model: output, report: page, checkpoint, inputs }: Outputs,
): void {
  writeModel(model, output);
  checkpoint.clear();
  if (page === undefined) return;
  // Some file systems take two names for one: now that the model is there, that shows.
  checkOutputs([output, page], inputs);
  writeFileAtomic(page, [new TextEncoder().encode(reportText(page, report, renderReport))]);
}

/** The command that was given, as a shell reads it. */
function commandOf({ args }: Parsed): string {
  return ["attune", ...args.map((arg) => /^[\w./:=,-]+$/.test(arg) ? arg : quoted(arg))].join(" ");
}
