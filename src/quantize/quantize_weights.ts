/**
 * The job without samples and without a runtime: weights alone are rounded, by what the model
 * itself tells of its activations.
 *
 * @module
 */

import { allocate } from "../allocate/allocate.ts";
import { isOpen } from "../allocate/choose.ts";
import { measureWeights } from "../allocate/layer_measures.ts";
import { Findings } from "../calibrate/findings.ts";
import { buildModel } from "../emit/build.ts";
import { type Statistics, unseen } from "../engine/statistics.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { offsetOf } from "../layer/bias.ts";
import { channelStatistics } from "../layer/channel_moments.ts";
import { type Marginals, marginalsOf, momentsOf } from "../layer/marginals.ts";
import { type RoundedTable, roundTables } from "../layer/round_tables.ts";
import { settleLayer } from "../layer/settle_layer.ts";
import { sizeOf } from "../onnx/tensor.ts";
import { narrowerWidths } from "../plan/layer.ts";
import type { Plan } from "../plan/plan.ts";
import { Progress, type WatchOptions } from "../progress.ts";
import type { RoundingMethod } from "../round/methods.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { type EnginePool, solverPool } from "../workers/pool.ts";
import { withMetadata } from "./metadata.ts";
import { type QuantizeSettings, resolveOptions } from "./options.ts";
import type { Quantized } from "./quantize.ts";
import { reportOf } from "./report.ts";
import { Stages } from "./stages.ts";

/** Options of {@linkcode quantizeWeights}. */
export interface WeightOptions extends WatchOptions {
  /**
   * How levels are found. Default: nearest, on the scales of least error; of nested widths,
   * attention.
   */
  rounding?: RoundingMethod;
  /** Whether biases make up for what rounding does to known means. Default: true. */
  biasCorrection?: boolean;
  /** Whether scales are fitted again once levels were found one by one. Default: true. */
  scaleRefit?: boolean;
  /** Pull towards the original weights, relative to the mean of H's diagonal. Default: 0.01. */
  damping?: number;
  /** Decides every random choice. Default: 0. */
  seed?: number;
  /**
   * The compiled kernel, for hosts that compile no bytes. Default: the one that travels with the
   * library.
   */
  kernel?: WebAssembly.Module;
}

/**
 * Quantizes the weights of the plan `given` without samples, in this thread and without a runtime.
 * Where the model still has its BatchNormalization, that tells what layers read: the weights that
 * matter more are rounded more closely, and biases make up for what rounding does to means. What is
 * not told of is rounded by its weights alone. {@linkcode quantize}, on samples, does better.
 *
 * @throws {AttuneError} `bad-option` where activations are to be quantized, or a budget needs
 * samples or cannot be met; `aborted` where the signal fired.
 *
 * @example
 * ```ts
 * import { plan, quantizeWeights, readModel } from "../../mod.ts";
 *
 * const model = readModel(new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname);
 * const made = plan(model, { bits: 8, activationBits: "none", format: "packed" });
 * const { report } = await quantizeWeights(made);
 * if (report.layers.length !== 10 || report.check !== null) throw new Error("unexpected");
 * ```
 */
export async function quantizeWeights(
  given: Plan,
  options: WeightOptions = {},
): Promise<Quantized> {
  if (given.options.activationBits !== "none") {
    throw new AttuneError(
      "bad-option",
      `Cannot quantize activations to ${given.options.activationBits} bits without samples, ` +
        `which show their ranges: give some, or leave activations in float`,
      { remedies: [{ option: "samples" }, { option: "activationBits", value: "none" }] },
    );
  }
  const settings = settingsOf(given, options), { signal, onProgress } = settings;
  using pool = solverPool(options);
  using _ = pool.stopOn(signal);
  const stages = new Stages(signal);
  const plan = isOpen(given)
    ? await stages.time(
      "measure",
      async () => allocate(given, await measureWeights(given, pool, { signal, onProgress })),
    )
    : given;
  const job = new WeightJob(plan, pool, settings);
  const { tables, findings } = await stages.time("quantize", () => job.run());
  const { calibrated } = findings;
  const model = withMetadata(
    buildModel(plan, calibrated.parts, plan.options.format),
    plan,
    settings,
    { count: 0, digest: "none" },
  );
  return {
    model,
    report: reportOf(plan, {
      settings,
      read: { loaded: { samples: 0 }, heldOut: [], warnings: [job.note] },
      tables,
      calibrated,
      checked: { check: null, warnings: [] },
      stages: stages.list,
    }),
  };
}

/** How the job is done; what only samples allow is off. */
function settingsOf(plan: Plan, options: WeightOptions): QuantizeSettings {
  const isNested = plan.options.nested !== undefined;
  return resolveOptions(plan, {
    ...options,
    rounding: options.rounding ?? (isNested ? undefined : { kind: "nearest" }),
    floatTargetShift: false,
    heldOut: 0,
  });
}

/** The layers and tables of one plan. */
class WeightJob {
  readonly #plan: Plan;
  readonly #pool: EnginePool;
  readonly #settings: QuantizeSettings;
  readonly #marginals: ReadonlyMap<string, Marginals>;
  readonly #widths: readonly number[];
  #told = 0;

  constructor(plan: Plan, pool: EnginePool, settings: QuantizeSettings) {
    this.#plan = plan;
    this.#pool = pool;
    this.#settings = settings;
    this.#marginals = marginalsOf(plan.graph, plan.moments);
    this.#widths = narrowerWidths(plan.layers);
  }

  /** What a user must know of the result, once it is there. */
  get note(): string {
    const { length } = this.#plan.layers;
    return `weights were rounded without samples, ${this.#told} of ${length} layers by what ` +
      `BatchNormalization tells of their inputs, and nothing was checked: samples give better ` +
      `results`;
  }

  async run(): Promise<{ tables: Map<string, RoundedTable>; findings: Findings }> {
    const plan = this.#plan, { signal, onProgress } = this.#settings;
    const tables = await roundTables(plan, this.#pool);
    const roundings = [...tables].map(([name, { rounding }]) => [name, rounding] as const);
    const findings = new Findings({ plan }, new Map(roundings));
    const progress = new Progress(onProgress, "quantize", plan.layers.length);
    for (const layer of plan.layers) {
      // Some hosts let time pass and signals fire only between tasks.
      await new Promise((resolve) => setTimeout(resolve));
      checkAborted(signal);
      await this.#settle(layer, findings);
      progress.add(1, layer.target.name);
    }
    return { tables, findings };
  }

  async #settle(layer: LayerPlan, findings: Findings): Promise<void> {
    const settings = this.#settings, plan = this.#plan;
    const offset = offsetOf(plan, layer, settings.biasCorrection);
    const diagonal = this.#statisticsOf(layer, offset.centred);
    if (diagonal.count > 0) this.#told++;
    // All of H is for those who find levels one by one.
    const isDiagonal = settings.rounding.kind === "nearest";
    const statistics = isDiagonal ? diagonal : withWholeGram(layer, diagonal);
    const cuts = this.#widths.map((width) => ({ width, statistics }));
    const { warnings: _, ...settled } = await settleLayer(
      { plan, pool: this.#pool, seed: settings.seed },
      isDiagonal ? { ...layer, gram: { kind: "tiles", size: 1 } } : layer,
      { statistics, offset, cuts },
      findings.sharedWith(layer),
      settings,
    );
    findings.setLayer(layer, settled);
  }

  /** What is told of the input of `layer`: the diagonal of H, and means. */
  #statisticsOf(layer: LayerPlan, centred: boolean): Statistics {
    const { geometry, groups, depth, input } = layer.target, columns = groups * depth;
    const marginals = this.#marginals.get(input);
    if (marginals === undefined) return unseen(1, layer.target);
    const { mean, variance } = momentsOf(marginals), taps = columns / mean.length;
    // A matrix may read all places of a channel one after another; a window has its own taps.
    const fits = geometry.kind === "window"
      ? taps === sizeOf(geometry.kernel)
      : Number.isInteger(taps);
    if (!fits) return unseen(1, layer.target);
    const squares = variance.map((value, c) => value + mean[c] ** 2);
    const sums = { count: 1, sum: mean, squares };
    return channelStatistics(this.#plan, layer, sums, new Array(taps).fill(1), { centred });
  }
}

/** `statistics` of a diagonal, with as much of H as the plan of `layer` keeps. */
function withWholeGram(
  { target: { depth }, gram: kept }: LayerPlan,
  statistics: Statistics,
): Statistics {
  const size = kept.kind === "full" ? depth : kept.size;
  const gram = new Float32Array(statistics.gram.length * size);
  statistics.gram.forEach((value, i) => gram[i * size + i % size] = value);
  return { ...statistics, gram };
}
