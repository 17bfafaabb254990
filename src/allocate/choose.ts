/**
 * Finds the widths that a plan leaves open.
 *
 * @module
 */

import type { Job } from "../forward/job.ts";
import { loadSamples } from "../forward/load.ts";
import type { BatchingOptions } from "../forward/probe.ts";
import type { WatchOptions } from "../progress.ts";
import type { Plan } from "../plan/plan.ts";
import { type EnginePool, solverPool } from "../workers/pool.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import { STRATEGIES } from "../strategies/strategies.ts";
import { allocate } from "./allocate.ts";
import { measure, type MeasureOptions } from "./measure.ts";
import { type LayerMeasures, measureWeights } from "./layer_measures.ts";

/** Whether `plan` leaves widths open. */
export function isOpen({ options, allocation }: Plan): boolean {
  return typeof options.bits === "object" && allocation === undefined;
}

/** The plan of `job` with the widths that it leaves open, by what the batches of its pool tell. */
export async function chooseWidths(job: Job, options: MeasureOptions): Promise<Plan> {
  const { plan } = job;
  if (!isOpen(plan)) return plan;
  const gradients = needsGradients(plan);
  return allocate(plan, await measure(job, { ...options, gradients }));
}

/** Whether the widths of `plan` are to be found by gradients. */
export function needsGradients({ options: { bits } }: Plan): boolean {
  return typeof bits === "object" && bits.kind === "budget" &&
    STRATEGIES[bits.strategy].needs === "gradients";
}

/** Options of {@linkcode chooseBits}. */
export interface ChooseBitsOptions extends BatchingOptions, WatchOptions {
  /** Decides which positions of the samples are looked at. Default: 0. */
  seed?: number;
  /** Damping of H relative to the mean of its diagonal. Default: 0.01. */
  damping?: number;
  /** Samples that a job with the same options would keep out of calibration. Default: 32. */
  heldOut?: number;
  /**
   * The compiled kernel, for hosts that compile no bytes; where there are samples, their pool has
   * it. Default: the one that travels with the library.
   */
  kernel?: WebAssembly.Module;
}

/**
 * `plan` with the widths that its `bits` leave open. With `samples` it goes by the outputs of
 * layers, and finds what `quantize` would; without, by the weights alone.
 *
 * @throws {AttuneError} `bad-option` where the budget cannot be met, or needs samples; `bad-data`
 * where the samples do not fit the model.
 *
 * @example By the weights alone
 * ```ts
 * import { chooseBits, plan, readModel } from "../../mod.ts";
 *
 * const model = readModel(new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname);
 * const open = plan(model, { bits: { kind: "budget", budget: { kind: "average", bits: 3 } } });
 * const { allocation } = await chooseBits(open);
 * if (!(allocation!.averageBits <= 3)) throw new Error("unexpected");
 * ```
 */
export async function chooseBits(
  plan: Plan,
  samples?: { readonly source: SampleSource; readonly pool: EnginePool },
  options: ChooseBitsOptions = {},
): Promise<Plan> {
  if (!isOpen(plan)) return plan;
  return allocate(
    plan,
    await measureLayers(plan, samples, {
      ...options,
      gradients: needsGradients(plan),
    }),
  );
}

/** What is known of the layers of `plan`, by their outputs on samples or by the weights alone. */
export async function measureLayers(
  plan: Plan,
  samples?: { readonly source: SampleSource; readonly pool: EnginePool },
  options: ChooseBitsOptions & {
    /** Whether gradients are measured, too. Default: false. */
    readonly gradients?: MeasureOptions["gradients"];
  } = {},
): Promise<LayerMeasures[]> {
  if (samples === undefined) {
    using solver = solverPool(options);
    using _ = solver.stopOn(options.signal);
    return await measureWeights(plan, solver, options);
  }
  const { source, pool } = samples;
  const { heldOut = 32, seed = 0, damping = 0.01, gradients, signal, onProgress } = options;
  const { batch, batchAxis } = options;
  using _ = pool.stopOn(signal);
  const load = { heldOut, batch, batchAxis, apart: Boolean(gradients), signal, onProgress };
  const { loaded } = await loadSamples(plan, source, pool, load);
  const job = { plan, pool, loaded, seed, signal, onProgress };
  return await measure(job, { damping, biasCorrection: true, gradients });
}
