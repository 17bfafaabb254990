/**
 * The main job: a plan and samples in, a quantized model and a report out.
 *
 * @module
 */

import { chooseWidths, isOpen, needsGradients } from "../allocate/choose.ts";
import { BlockLearner } from "../blocks/reconstruct.ts";
import { calibrate } from "../calibrate/calibrate.ts";
import { buildModel } from "../emit/build.ts";
import { formatOf } from "../formats/formats.ts";
import { loadSamples } from "../forward/load.ts";
import { roundTables } from "../layer/round_tables.ts";
import type { Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import type { Report } from "../report/report.ts";
import { methodOf } from "../round/methods.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import type { EnginePool } from "../workers/pool.ts";
import { checkResult } from "./check.ts";
import { checkNested } from "./check_nested.ts";
import { openCheckpoint } from "./checkpointing.ts";
import { identityOf, withMetadata } from "./metadata.ts";
import { type QuantizeOptions, resolveOptions } from "./options.ts";
import { reportOf } from "./report.ts";
import { Stages } from "./stages.ts";

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
 *
 * @example From arrays, with progress and a way to stop
 * ```ts
 * import { plan, quantize, readModel, serializeModel, startPool } from "../../mod.ts";
 *
 * const path = new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname;
 * const made = plan(readModel(path), { bits: 8 });
 * const waves = Array.from({ length: 8 }, (_, i) => ({
 *   image: Float32Array.from({ length: 3 * 32 * 32 }, (_, k) => Math.sin(i + k)),
 * }));
 * const pool = await startPool({ threads: 1 });
 * const stop = new AbortController();
 * const { model, report } = await quantize(made, waves, pool, {
 *   rounding: { kind: "nearest" },
 *   signal: stop.signal,
 *   onProgress: ({ stage, done, total }) => void `${stage}: ${done} of ${total}`,
 * });
 * pool.dispose();
 * const file = new Blob([serializeModel(model)]);
 * if (report.layers.length !== 10 || file.size > 2e5) throw new Error("unexpected");
 * ```
 */
export async function quantize(
  given: Plan,
  samples: SampleSource,
  pool: EnginePool,
  options: QuantizeOptions = {},
): Promise<Quantized> {
  const { started = performance.now(), checkpoint, resume = false } = options;
  const settings = resolveOptions(given, options), { blocks, signal, onProgress } = settings;
  using _ = pool.stopOn(signal);
  const stages = new Stages(signal);
  const apart = blocks !== undefined || needsGradients(given);
  const read = await stages.time(
    "read samples",
    () => loadSamples(given, samples, pool, { ...settings, apart }),
  );
  const { loaded, heldOut, digest } = read, calibration = { count: loaded.samples, digest };
  const shared = { loaded, pool, seed: settings.seed, signal, onProgress };
  const plan = isOpen(given)
    ? await stages.time("measure", () => chooseWidths({ ...shared, plan: given }, settings))
    : given;
  const backend = await pool.clients[0].call("runtimeName", []);
  // The whole model is read for a checkpoint's identity, so not where nobody asks for one.
  const saved = checkpoint && await openCheckpoint(
    plan,
    checkpoint,
    await identityOf(plan, settings, calibration, backend),
    { resume },
  );
  const tables = await roundTables(plan, pool);
  const job = { ...shared, plan };
  const learner = blocks &&
    new BlockLearner(job, { ...blocks, heldOut: settings.heldOut, started });
  const calibrated = await calibrate(job, {
    ...settings,
    learner,
    tables: new Map([...tables].map(([name, { rounding }]) => [name, rounding])),
    ...saved,
  });
  stages.add(calibrated.seconds);
  const { parts } = calibrated, built = buildModel(plan, parts, plan.options.format);
  const model = withMetadata(built, plan, settings, calibration);
  const { checked, nested } = await stages.time("check", async () => {
    onProgress?.({ stage: "check", done: 0, total: 1 });
    const { batching } = loaded;
    const isNearest = methodOf(settings.rounding).round === undefined && !settings.blocks;
    const options = { heldOut, batching, isNearest, signal };
    const checked = await checkResult(plan, parts, model, pool, options);
    const isNested = formatOf(plan.options.format).cutAs !== undefined && plan.options.nested;
    const nested = isNested ? await checkNested(plan, model, pool, options) : undefined;
    onProgress?.({ stage: "check", done: 1, total: 1 });
    return { checked, nested };
  });
  const result = { settings, read, tables, calibrated, checked, nested, stages: stages.list };
  return { model, report: reportOf(plan, result) };
}
