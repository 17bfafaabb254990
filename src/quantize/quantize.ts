/**
 * The main job: a plan and samples in, a quantized model and a report out.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { checkResult } from "./check.ts";
import { chooseWidths, isOpen, needsGradients } from "../allocate/choose.ts";
import { calibrate } from "../calibrate/calibrate.ts";
import type { Calibrated } from "../calibrate/calibrated.ts";
import { loadSamples } from "../forward/load.ts";
import { roundTables } from "../layer/round_tables.ts";
import { buildModel } from "../emit/build.ts";
import { modelDigest } from "../onnx/chunks.ts";
import { copyModel, type Model } from "../onnx/model.ts";
import { create } from "@bufbuild/protobuf";
import { StringStringEntryProtoSchema } from "../onnx/gen/onnx_pb.ts";
import { checkCount, type RangeMethod } from "../plan/options.ts";
import { checkMethod, DEFAULT_METHOD, gridRefusal, type RoundingMethod } from "../round/methods.ts";
import type { Plan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import { layerReport } from "./layer_report.ts";
import type { Report } from "../report/report.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { BatchingOptions } from "../forward/probe.ts";
import type { SampleSource } from "../samples/sample.ts";
import { BlockLearner } from "../blocks/reconstruct.ts";
import { NO_TIME } from "../blocks/learn.ts";
import { type Reconstruction, resolveBlocks } from "../blocks/options.ts";
import {
  type CheckpointStore,
  checkState,
  decodeCheckpoint,
  encodeCheckpoint,
  type Identity,
  type JobState,
} from "../calibrate/checkpoint.ts";
import { VERSION } from "../version.ts";

/** Options of {@linkcode quantize}. */
export interface QuantizeOptions extends BatchingOptions {
  /** How levels are found. Default: attention, with 16 candidates per row. */
  rounding?: RoundingMethod;
  /** How ranges of activations are found. Default: the smallest and largest value; of 4 bits, mse. */
  range?: RangeMethod;
  /** Whether layers repair the error of those before them. Default: true. */
  floatTargetShift?: boolean;
  /** Whether the means are set right by the bias. Default: true. */
  biasCorrection?: boolean;
  /** Whether scales are fitted again once the levels are known. Default: true. */
  scaleRefit?: boolean;
  /** Pull towards the original weights, relative to the mean of H's diagonal. Default: 0.01. */
  damping?: number;
  /** Samples kept out of calibration to check the result on. Default: 32, at most one in 16. */
  heldOut?: number;
  /** Whether blocks are learned after their layers were rounded. Default: not. */
  reconstruction?: Reconstruction;
  /** Where the job's state goes after each segment; clear it once the result is kept. Default: nowhere. */
  checkpoint?: CheckpointStore;
  /** Goes on from the state in `checkpoint`, if there is one. Default: false. */
  resume?: boolean;
  /** When the job began, by `performance.now()`: what a time budget counts from. Default: now. */
  started?: number;
  /** Decides every random choice. Default: 0. */
  seed?: number;
  /** Stops the job; it then fails with `aborted`. */
  signal?: AbortSignal;
  /** Hears of progress. Default: nobody. */
  onProgress?: OnProgress;
}

/** What {@linkcode quantize} gives back. */
export interface Quantized {
  /** The quantized model. */
  readonly model: Model;
  /** What was done, and what was lost. */
  readonly report: Report;
}

/**
 * Quantizes the model of the plan `given` on `samples`, with the engines of `pool`. Widths that the
 * plan leaves open are found first.
 *
 * @throws {AttuneError} `bad-data` where there are no samples or they do not fit the model,
 * `bad-option` where a budget cannot be met, `aborted` where the signal fired.
 */
export async function quantize(
  given: Plan,
  samples: SampleSource,
  pool: EnginePool,
  options: QuantizeOptions = {},
): Promise<Quantized> {
  const settings = resolve(given, options);
  const { signal, onProgress } = settings;
  using _ = pool.stopOn(signal);
  const called = performance.now(), { started = called } = options;
  const read = await loadSamples(given, samples, pool, {
    ...settings,
    apart: settings.blocks !== undefined || needsGradients(given),
  });
  const { loaded, heldOut, digest } = read;
  const loadSeconds = (performance.now() - called) / 1000;
  checkAborted(signal);
  const plan = await chooseWidths(given, loaded, pool, settings);
  const measureSeconds = (performance.now() - called) / 1000 - loadSeconds;
  const { checkpoint, resume = false } = options;
  const backend = await pool.clients[0].call("runtimeName", []);
  const data = `${loaded.samples} (${digest})`;
  // The whole model is read for it, so not where nobody keeps it.
  const identity = checkpoint && await identityOf(plan, settings, { samples: data, backend });
  const saved = resume ? checkpoint?.load() : undefined;
  const state = saved && await decodeCheckpoint(checkpoint!.name, saved, identity!);
  const tables = await roundTables(plan, pool);
  const job = { plan, loaded, pool, seed: settings.seed, signal, onProgress };
  const learner = settings.blocks &&
    new BlockLearner(job, { ...settings.blocks, heldOut: settings.heldOut, started });
  const calibrated = await calibrate({
    plan,
    loaded,
    pool,
    seed: settings.seed,
    signal,
    onProgress,
  }, {
    ...settings,
    learner,
    tables: new Map([...tables].map(([name, { rounding }]) => [name, rounding])),
    state: state && checkState(checkpoint!.name, plan, state),
    onState: checkpoint &&
      sparingly(async (state: JobState) =>
        checkpoint.save(await encodeCheckpoint(identity!, state))
      ),
  });

  const model = withMetadata(
    buildModel(plan, calibrated.parts, plan.options.format),
    plan,
    settings,
    loaded.samples,
    digest,
  );
  const checkStarted = performance.now();
  onProgress?.({ stage: "check", done: 0, total: 1 });
  const checked = await checkResult(plan, calibrated.parts, model, pool, {
    heldOut,
    batching: loaded.batching,
    signal,
  });
  onProgress?.({ stage: "check", done: 1, total: 1 });
  const stages = [
    { name: "read samples", seconds: loadSeconds },
    ...(isOpen(given) ? [{ name: "measure", seconds: measureSeconds }] : []),
    ...[...calibrated.seconds].map(([name, seconds]) => ({ name, seconds })),
    { name: "check", seconds: (performance.now() - checkStarted) / 1000 },
  ];
  const report: Report = {
    version: VERSION,
    model: plan.model.name,
    method: settings.rounding.kind,
    options: describeOptions(plan, settings),
    seed: settings.seed,
    samples: { calibration: loaded.samples, heldOut: heldOut.length, skipped: 0 },
    size: plan.size,
    allocation: plan.allocation,
    layers: calibrated.layers.map((result) => layerReport(plan, calibrated, result)),
    tables: plan.tables.map((
      { nodes, weight, shape, bits, blockSize, bytesBefore, bytesAfter },
    ) => ({
      nodes,
      weight,
      shape,
      bits,
      granularity: `block:${blockSize}`,
      bytesBefore,
      bytesAfter,
      error: tables.get(weight)!.error,
    })),
    blocks: calibrated.blocks,
    skipped: plan.skipped,
    warnings: [
      ...read.warnings,
      ...calibrated.warnings,
      ...timeWarnings(calibrated, settings),
      ...formatWarnings(plan),
      ...checked.warnings,
    ],
    check: checked.check,
    stages,
    peakMemory: 0,
  };
  return { model, report };
}

/** Share of the time that saving may take, where it takes longer than a moment. */
const SAVING = 0.05, MOMENT = 500;

/** `save`, but for calls that come too soon after one that took long: a large model's levels are many. */
function sparingly<T>(save: (state: T) => Promise<void>): (state: T) => Promise<void> {
  let next = 0;
  return async (state) => {
    const started = performance.now();
    if (started < next) return;
    await save(state);
    const ended = performance.now(), took = ended - started;
    next = took > MOMENT ? ended + took / SAVING : 0;
  };
}

type Settings = ReturnType<typeof resolve>;

function resolve(plan: Plan, options: QuantizeOptions) {
  const { signal, onProgress, batch, batchAxis } = options;
  const { rounding = DEFAULT_METHOD } = options;
  const { reconstruction = { kind: "none" } } = options;
  checkGrid(plan, rounding, reconstruction);
  const damping = options.damping ?? 0.01;
  if (!(damping > 0 && damping <= 10)) {
    throw new AttuneError("bad-option", `Cannot use damping ${damping}: give a number up to 10`);
  }
  return {
    rounding,
    // With 16 levels a single outlier would cost more than clipping it.
    range: options.range ??
      { kind: plan.options.activationBits === 4 ? "mse" : "minmax" } as RangeMethod,
    floatTargetShift: options.floatTargetShift ?? true,
    biasCorrection: options.biasCorrection ?? true,
    scaleRefit: options.scaleRefit ?? true,
    damping,
    blocks: reconstruction.kind === "blocks" ? resolveBlocks(reconstruction) : undefined,
    heldOut: checkCount("held-out samples", options.heldOut ?? 32, 0),
    seed: checkCount("seed", options.seed ?? 0, 0),
    batch,
    batchAxis,
    signal,
    onProgress,
  };
}

/** Refuses what nested and piecewise grids do not go with: they are found by sequential rounding. */
function checkGrid(plan: Plan, rounding: RoundingMethod, reconstruction: Reconstruction): void {
  const grid = plan.options.nested ? "nested" : plan.options.grid;
  checkMethod(rounding, grid);
  if (reconstruction.kind === "blocks" && grid !== "uniform") {
    throw gridRefusal("learned blocks", grid);
  }
}

/** What a user of the file must know of its format. */
function formatWarnings({ options, activations }: Plan): string[] {
  return options.format !== "float" || activations.own.length === 0 ? [] : [
    `A file of float weights beside quantized activations is opened by onnxruntime as if its weights ` +
    `had 8 bits and one scale: open it with the session option session.disable_quant_qdq, or leave ` +
    `activations in float`,
  ];
}

/** What there was no time for. */
function timeWarnings({ blocks }: Calibrated, settings: Settings): string[] {
  const left = blocks.filter(({ note }) => note === NO_TIME).length;
  return left === 0 ? [] : [
    `${left} of ${blocks.length} blocks were not learned: rounding the layers took all of the ` +
    `${settings.blocks?.timeBudget} seconds; give more, or fewer samples`,
  ];
}

/**
 * `options` as files tell them: iterations are called steps there, and have to be, since what is written
 * for given options must not change.
 */
function inFiles<T extends object>(options: T): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key === "iterations" ? "steps" : key, value]),
  );
}

/** The options as the report and the model's metadata tell them. */
function describeOptions(plan: Plan, settings: Settings): Record<string, unknown> {
  const { bits, edgeBits, activationBits, granularity, symmetric, overrides } = plan.options;
  const { grid, nested = null, format } = plan.options;
  const { rounding, range, floatTargetShift, biasCorrection, scaleRefit, damping } = settings;
  const { onGraph: _, ...blocks } = settings.blocks ?? {};
  return {
    bits,
    edgeBits,
    activationBits,
    granularity,
    symmetric,
    overrides,
    grid,
    nested,
    format,
    rounding: inFiles(rounding),
    range,
    floatTargetShift,
    biasCorrection,
    scaleRefit,
    damping,
    blocks: settings.blocks ? inFiles(blocks) : null,
  };
}

/** The width of each layer by its name. */
function chosenWidths({ layers }: Plan): Record<string, number> {
  return Object.fromEntries(layers.map(({ target, bits }) => [target.name, bits]));
}

/** What a checkpoint must agree on with the job that resumes from it. */
async function identityOf(
  plan: Plan,
  settings: Settings,
  job: { samples: string; backend: string },
): Promise<Identity> {
  return {
    version: VERSION,
    model: await modelDigest(plan.model),
    ...job,
    seed: settings.seed,
    heldOut: settings.heldOut,
    ...describeOptions(plan, settings),
    ...(plan.allocation && { widths: chosenWidths(plan) }),
  };
}

/** `model` with metadata that says how it was made. */
function withMetadata(
  model: Model,
  plan: Plan,
  settings: Settings,
  samples: number,
  digest: string,
): Model {
  const made = copyModel(model);
  const entries = {
    "attune.version": VERSION,
    "attune.seed": String(settings.seed),
    "attune.options": JSON.stringify(describeOptions(plan, settings)),
    ...(plan.allocation && { "attune.widths": JSON.stringify(chosenWidths(plan)) }),
    "attune.calibration.samples": String(samples),
    "attune.calibration.digest": digest,
  };
  const { metadataProps } = made.proto;
  for (const [key, value] of Object.entries(entries)) {
    metadataProps.push(create(StringStringEntryProtoSchema, { key, value }));
  }
  return made;
}
