/**
 * `attune quantize`: a model and samples in, a smaller model out.
 *
 * @module
 */

import { existsSync, mkdirSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { AttuneError } from "../errors.ts";
import type { Reconstruction } from "../blocks/options.ts";
import { checkpointFile } from "../calibrate/checkpoint_file.ts";
import { checkOutputs, writeFileAtomic } from "../files/output.ts";
import { readModel, writeModel } from "../onnx/file.ts";
import { type ActivationBits, FORMATS, type Override, type RangeMethod } from "../plan/options.ts";
import type { RoundingMethod } from "../round/methods.ts";
import type { Granularity } from "../weights/granularity.ts";
import { plan as makePlan } from "../plan/plan.ts";
import { printable } from "../printable.ts";
import { quantize } from "../quantize/quantize.ts";
import { renderReport } from "../report/html.ts";
import { BITS_FLAGS, bitsOf } from "./bit_budget.ts";
import { type Command, modelPath, type Parsed, required } from "./command.ts";
import { createProgress } from "./progress.ts";
import { batchingOf, DATA_FLAGS, inputFiles, poolOf, RUN_FLAGS, samplesOf } from "./shared.ts";
import { describeResult } from "./describe.ts";
import { dryRun } from "./dry_run.ts";
import { runSweep, SWEEP_FLAGS } from "./sweep.ts";

/** The command. */
export const quantizeCommand: Command = {
  name: "quantize",
  summary: "Quantize a float32 ONNX model on sample inputs",
  usage: "<model.onnx> --data PATH -o OUT.onnx",
  examples: [
    ["Weights in 4 bits, activations in 8", "attune model.onnx --data ./images -o model.q.onnx"],
    [
      "Weights only, in 3 bits, and a report to look at",
      "attune model.onnx --data ./images --bits 3 --activation-bits none --report r.html -o m.onnx",
    ],
    [
      "Some layers in 8 bits, one left in float",
      "attune model.onnx --data ./images --override '*/head/*=8' --override conv1=skip -o m.onnx",
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
      "attune model.onnx --data ./images --max-size 2MB --format packed -o model.q.onnx",
    ],
    [
      "Size against accuracy, from one calibration",
      "attune model.onnx --data ./images --sweep 2..8 --report sweep.html",
    ],
    ["What would be done, without doing it", "attune model.onnx --bits 4 --dry-run"],
  ],
  flags: {
    output: { value: "PATH", help: "where the quantized model goes", short: "o" },
    ...DATA_FLAGS,
    ...BITS_FLAGS,
    ...SWEEP_FLAGS,
    "activation-bits": { value: "N", help: "8, 4, or none for float activations [8]" },
    grid: { value: "KIND", help: "uniform, or piecewise: dense middle, sparse tails [uniform]" },
    nested: { value: "N,N,…", help: "widths, as 8,6,4,3, that attune cut makes of one file" },
    "edge-bits": { value: "N", help: "bits of the first and last layers [8]" },
    granularity: {
      value: "KIND",
      help: "tensor, channel or block:N weights share a scale [channel]",
    },
    symmetric: { help: "levels of a weight reach equally far to both sides of zero" },
    override: {
      value: "NAME=N",
      help: "bits, ternary or skip for the layers that match",
      repeat: true,
    },
    rounding: {
      value: "METHOD",
      help: "attention, attention:gradient, adaround, stochastic, nearest [attention]",
    },
    candidates: { value: "N", help: "candidates per row of attention rounding [16]" },
    iterations: {
      value: "N",
      help:
        "gradient steps of learned rounding [1000], of a block [300; all that a time budget allows]",
    },
    blocks: { help: "learn blocks of layers by gradients once they are rounded" },
    "time-budget": { value: "TIME", help: "as 90s or 10m: learn blocks, but end on time" },
    range: {
      value: "METHOD",
      help: "minmax, mse or percentile:P activation ranges [minmax; mse for 4 bits]",
    },
    shift: { help: "layers repair the error of those before them [on; --no-shift]" },
    "bias-correction": { help: "biases set the means right [on; --no-bias-correction]" },
    refit: { help: "scales are fitted to the levels [on; --no-refit]" },
    damping: { value: "X", help: "pull towards the original weights, relative [0.01]" },
    format: {
      value: "NAME",
      help: "qdq, packed (true size), matmulnbits, or float to study rounding [qdq]",
    },
    resume: { help: "go on where an interrupted run with the same output stopped" },
    "debug-graphs": { value: "DIR", help: "write the gradient graph of each block there" },
    "dry-run": { help: "print the plan and stop" },
    report: { value: "PATH", help: "write a page with every layer" },
    json: { help: "print the report as JSON to stdout" },
    seed: { value: "N", help: "decides every random choice [0]" },
    ...RUN_FLAGS,
  },
  async run(parsed, context) {
    const path = modelPath(quantizeCommand, parsed);
    const model = readModel(path);
    const plan = makePlan(model, {
      bits: bitsOf(parsed),
      grid: parsed.choice("grid", ["uniform", "piecewise"]),
      nested: parsed.text("nested")?.split(",").map(Number),
      activationBits: activationBits(parsed),
      edgeBits: parsed.number("edge-bits"),
      granularity: granularity(parsed),
      symmetric: parsed.on("symmetric"),
      overrides: parsed.texts("override").map(override),
      format: parsed.choice("format", FORMATS),
    });
    if (parsed.on("dry-run")) {
      return await dryRun(plan, parsed, context);
    }
    if (parsed.text("sweep") !== undefined) {
      // Levels by the default method would take long for every width.
      const given = parsed.text("rounding") ?? parsed.text("candidates");
      const method = given === undefined ? undefined : rounding(parsed);
      const inputs = inputFiles(parsed, path, model);
      return await runSweep(plan, parsed, context, {
        rounding: method,
        range: range(parsed),
        inputs,
      });
    }
    const output = required(
      parsed,
      "output",
      "where the quantized model goes, as in -o model.q.onnx",
    );
    const reportPath = parsed.text("report");
    const checkpoint = checkpointFile(output), inputs = inputFiles(parsed, path, model);
    checkOutputs(
      [output, checkpoint.name, ...(reportPath === undefined ? [] : [reportPath])],
      inputs,
    );
    const options = {
      ...batchingOf(parsed),
      rounding: rounding(parsed),
      reconstruction: reconstruction(parsed, inputs),
      checkpoint,
      resume: parsed.on("resume"),
      range: range(parsed),
      floatTargetShift: parsed.on("shift"),
      biasCorrection: parsed.on("bias-correction"),
      scaleRefit: parsed.on("refit"),
      damping: parsed.number("damping"),
      seed: parsed.number("seed"),
      // The time that a user waits began with the program.
      started: 0,
      signal: context.signal,
    };
    const samples = await samplesOf(parsed, plan.graph.inputs, context, {
      what: "a folder of sample images, a .npy or a .npz file",
    });
    if (!parsed.on("json")) {
      for (const line of plan.prepared) context.say(printable(line));
    }
    using pool = await poolOf(parsed, context);
    using progress = createProgress();
    const { model: quantized, report } = await quantize(plan, samples.samples(), pool, {
      ...options,
      onProgress: progress.update,
    }).catch((error) => {
      if (existsSync(checkpoint.name)) {
        context.say(`${checkpoint.name} keeps what was found so far: go on by --resume`);
      }
      throw error;
    });
    progress.finish();
    context.signal.throwIfAborted();
    const complete = {
      ...report,
      samples: { ...report.samples, skipped: samples.warnings.length },
      peakMemory: process.resourceUsage().maxRSS * 1024,
    };
    writeModel(quantized, output);
    checkpoint.clear();
    if (reportPath !== undefined) {
      // Some file systems take two names for one: now that the model is there, that shows.
      checkOutputs([output, reportPath], inputs);
      writeFileAtomic(reportPath, [new TextEncoder().encode(renderReport(complete))]);
    }
    const bytes = { before: (await stat(path)).size, after: (await stat(output)).size };
    if (parsed.on("json")) {
      context.print(JSON.stringify({ ...complete, file: { output, ...bytes } }));
    } else context.say(describeResult(complete, output, bytes));
  },
};

function activationBits(parsed: Parsed): ActivationBits | undefined {
  const choice = parsed.choice("activation-bits", ["8", "4", "none"]);
  return choice === "8" ? 8 : choice === "4" ? 4 : choice;
}

function granularity(parsed: Parsed): Granularity | undefined {
  const text = parsed.text("granularity");
  if (text === undefined) return undefined;
  if (text === "tensor" || text === "channel") return { kind: text };
  const size = /^block:(\d+)$/.exec(text)?.[1];
  if (size !== undefined) return { kind: "block", size: Number(size) };
  throw new AttuneError(
    "bad-option",
    `Cannot use --granularity ${text}: give tensor, channel or block:N, as in block:32`,
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

function rounding(parsed: Parsed): RoundingMethod {
  const kind = parsed.choice("rounding", [
    "attention",
    "attention:gradient",
    "adaround",
    "stochastic",
    "nearest",
  ]) ?? "attention";
  const candidates = parsed.number("candidates"), iterations = parsed.number("iterations");
  const learned = kind === "adaround" || kind === "attention:gradient";
  if (candidates !== undefined && kind !== "attention") {
    throw new AttuneError("bad-option", `Cannot use --candidates with --rounding ${kind}`);
  }
  const blocks = parsed.on("blocks") || parsed.text("time-budget") !== undefined;
  if (iterations !== undefined && !learned && !blocks) {
    throw new AttuneError(
      "bad-option",
      `Cannot use --iterations with --rounding ${kind}: give --blocks, too, or a learned method`,
    );
  }
  if (kind === "attention") return { kind, candidates };
  return learned ? { kind, iterations } : { kind };
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

function reconstruction(parsed: Parsed, inputs: readonly string[]): Reconstruction | undefined {
  const budget = parsed.text("time-budget"), folder = parsed.text("debug-graphs");
  if (!parsed.on("blocks") && budget === undefined) {
    if (folder === undefined) return undefined;
    throw new AttuneError("bad-option", `Cannot use --debug-graphs without --blocks: give it, too`);
  }
  if (folder !== undefined) makeFolder(folder);
  const { kind } = rounding(parsed);
  return {
    kind: "blocks",
    // Of the learned methods, iterations are those of a layer.
    iterations: kind === "adaround" || kind === "attention:gradient"
      ? undefined
      : parsed.number("iterations"),
    timeBudget: budget === undefined ? undefined : seconds("time-budget", budget),
    onGraph: folder === undefined ? undefined : (name, model) => {
      const path = join(folder, `${name}.onnx`);
      checkOutputs([path], inputs);
      writeModel(model, path);
    },
  };
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

function range(parsed: Parsed): RangeMethod | undefined {
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
