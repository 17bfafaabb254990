/**
 * Flags that several commands have: what samples to read, and what to run models with.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { AttuneError } from "../errors.ts";
import type { BatchingOptions } from "../forward/probe.ts";
import { dataFiles } from "../onnx/file.ts";
import type { Model } from "../onnx/model.ts";
import { checkCount } from "../plan/options.ts";
import { startPool } from "../workers/start.ts";
import { printable } from "../printable.ts";
import type { EnginePool } from "../workers/pool.ts";
import { openSamples } from "../samples/open.ts";
import type { PreprocessOptions } from "../samples/preprocess.ts";
import type { SampleSet } from "../samples/sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import { type Context, flagsIn, type Parsed, required } from "./command.ts";

/** Flags that say which samples to read, and how images become inputs. */
export const DATA_FLAGS = flagsIn("Samples", {
  data: { value: "PATH", help: "folder of images (subfolders are classes), .npy, .npz or .jsonl" },
  preprocess: {
    value: "NAME",
    help: "imagenet, unit (0…1), signed (−1…1) or raw (0…255) [imagenet]",
  },
  mean: { value: "R,G,B", help: "mean per channel, of values from 0 to 1" },
  std: { value: "R,G,B", help: "standard deviation per channel" },
  resize: { value: "PIXELS", help: "short side before the crop, or none [256/224 of the crop]" },
  crop: { value: "PIXELS", help: "centre crop: a side, or HxW [what the model wants]" },
  layout: { value: "ORDER", help: "NCHW or NHWC [by the model's input]" },
  limit: { value: "N", help: "take N samples, spread over the set [all]" },
  batch: {
    value: "N",
    help: "run N samples at a time, at most; 1: a sample is a whole input [as fits the model]",
  },
  "batch-axis": {
    value: "K",
    repeat: true,
    help: "the axis that counts samples, from 0, or NAME=K for each input [found by a probe]",
  },
});

/** Flags that say how models are run. */
export const RUN_FLAGS = flagsIn("Running", {
  threads: { value: "N", help: `workers [the cores: ${availableParallelism()}, at most 8]` },
  memory: {
    value: "MB",
    help: "activations kept in memory; the rest goes to temporary files [0]",
  },
  "relaxed-simd": { help: "faster sums; the same bytes only on machines of one kind" },
  backend: { value: "NAME", help: "web (WebAssembly) or node (native, must be installed) [web]" },
});

/**
 * What a command reads, and so must not write: the model at `path`, its data files, the samples.
 */
export function inputFiles(parsed: Parsed, path: string, model: Model): string[] {
  const others = [parsed.text("data"), parsed.text("labels")].filter((each) => each !== undefined);
  const inputs = [path, ...dataFiles(model, path), ...others];
  // What is not there is refused when it is read.
  return inputs.filter((each) => existsSync(each));
}

/** How the flags say that samples are run. */
export function batchingOf(parsed: Parsed): BatchingOptions {
  const batch = parsed.number("batch");
  if (batch !== undefined) checkCount("--batch", batch);
  const texts = parsed.texts("batch-axis");
  if (texts.length === 0) return { batch };
  const axes = texts.map((text) => {
    const split = text.lastIndexOf("="), axis = text.slice(split + 1);
    if (split !== 0 && /^\d+$/.test(axis)) return [text.slice(0, Math.max(0, split)), Number(axis)];
    throw new AttuneError(
      "bad-option",
      `Cannot use --batch-axis ${text}: give an axis, as in 1, or one of an input, as in x=1`,
    );
  });
  if (axes.every(([name]) => name !== "")) return { batch, batchAxis: Object.fromEntries(axes) };
  if (axes.length === 1) return { batch, batchAxis: axes[0][1] as number };
  throw new AttuneError(
    "bad-option",
    `Cannot use --batch-axis ${texts.join(" and ")}: give one axis, or NAME=K for each input`,
  );
}

/** Opens the samples that the flags name, for a model with `inputs`. */
export async function samplesOf(
  parsed: Parsed,
  inputs: readonly InputSpec[],
  { signal, say }: Context,
  options: { /** What they are for. */ what: string; /** Path of the labels. */ labels?: string },
): Promise<SampleSet> {
  const limit = parsed.number("limit");
  if (limit !== undefined) checkCount("--limit", limit);
  return await openSamples(required(parsed, "data", options.what), {
    inputs,
    preprocess: preprocessOf(parsed),
    limit,
    batchAxis: batchingOf(parsed).batchAxis,
    labels: options.labels,
    signal,
    onWarning: ({ source, message }) =>
      say(printable(`warning: ${source} is left out: ${message}`)),
  });
}

function preprocessOf(parsed: Parsed): PreprocessOptions {
  const resize = parsed.text("resize");
  return {
    preset: parsed.choice("preprocess", ["imagenet", "unit", "signed", "raw"]),
    mean: numbers(parsed, "mean"),
    std: numbers(parsed, "std"),
    resize: resize === "none" ? "none" : parsed.number("resize"),
    crop: cropOf(parsed),
    layout: parsed.choice("layout", ["NCHW", "NHWC"]),
  };
}

function cropOf(parsed: Parsed): number | readonly [number, number] | undefined {
  const sides = parsed.text("crop")?.split("x").map(Number);
  if (sides === undefined) return undefined;
  for (const side of sides) checkCount("--crop", side);
  return sides.length === 2 ? [sides[0], sides[1]] : sides[0];
}

function numbers(parsed: Parsed, name: string): number[] | undefined {
  const text = parsed.text(name);
  const values = text?.split(",").map(Number);
  if (values === undefined || values.every(Number.isFinite)) return values;
  throw new AttuneError(
    "bad-option",
    `Cannot use --${name} ${text}: give numbers with commas between, as in 0.485,0.456,0.406`,
  );
}

/** Starts the workers that the flags ask for; they end at once when the signal fires. */
export async function poolOf(parsed: Parsed, { signal }: Context): Promise<EnginePool> {
  const threads = parsed.number("threads");
  if (threads !== undefined) checkCount("--threads", threads, 0);
  const backend = parsed.choice("backend", ["web", "node"]);
  const megabytes = parsed.number("memory");
  if (megabytes !== undefined) checkCount("--memory", megabytes, 0);
  return await startPool({
    threads,
    backend,
    relaxedSimd: parsed.on("relaxed-simd"),
    memory: megabytes === undefined ? undefined : megabytes * 1e6,
    signal,
  });
}
