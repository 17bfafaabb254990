/**
 * One calibration, many budgets: what size of the file goes with what error.
 *
 * The float model is run once. While a layer's statistics are at hand, the layer is rounded to every
 * width; a budget then only picks from these roundings, and costs no more than running its model on
 * samples that were kept out. Layers are rounded as if those before them were exact: a job of its own,
 * where each layer repairs the errors of those before it, mostly does better than its point.
 *
 * @module
 */

import { allocateAverage, allocateUniform } from "../allocate/allocate.ts";
import { measure } from "../allocate/measure.ts";
import type { LayerMeasures } from "../allocate/layer_measures.ts";
import { pickRoundings, type RoundedWidths, roundToWidths } from "../allocate/round_widths.ts";
import { type Batching, rowsOf, stackSamples } from "../forward/batching.ts";
import type { RangedGrid } from "../calibrate/checkpoint.ts";
import { observeRanges } from "../layer/collect.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { batchSamples, loadSamples } from "../forward/load.ts";
import type { BatchingOptions } from "../forward/probe.ts";
import { buildModel } from "../emit/build.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { Comparison } from "../evaluate/metrics.ts";
import { extract } from "../graph/extract.ts";
import type { Model } from "../onnx/model.ts";
import { typeNamed } from "../onnx/tensor.ts";
import {
  DEFAULT_STRATEGY,
  isStrategy,
  STRATEGIES,
  type Strategy,
} from "../strategies/strategies.ts";
import { checkCount, type RangeMethod } from "../plan/options.ts";
import type { RoundingMethod } from "../round/methods.ts";
import type { Plan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { Sample, SampleSource } from "../samples/sample.ts";
import type { SweepPoint, SweepReport } from "../report/sweep_report.ts";
import { VERSION } from "../version.ts";

/** Options of {@linkcode sweep}. */
export interface SweepOptions extends BatchingOptions {
  /** Bits on average, a point for each. Default: 2, 2.5, 3, 3.5, 4, 5, 6, 8. */
  averages?: readonly number[];
  /** How budgets are spread, each with points of its own. Default: `["coding-length"]`. */
  strategies?: readonly Strategy[];
  /** Whether there are points of one width for all layers, too. Default: true. */
  uniform?: boolean;
  /** How levels are found. Default: attention, with 1 candidate per row. */
  rounding?: RoundingMethod;
  /** How ranges of activations are found. Default: the smallest and largest value; of 4 bits, mse. */
  range?: RangeMethod;
  /** Pull towards the original weights, relative to the mean of H's diagonal. Default: 0.01. */
  damping?: number;
  /** Samples kept out of calibration to judge points by. Default: 128, at most one in 4. */
  heldOut?: number;
  /** Other samples to judge points by: then none are kept out. Default: none. */
  validation?: SampleSource;
  /** Decides every random choice. Default: 0. */
  seed?: number;
  /** Gets the model of each point that has a budget, for what it may write. Default: nobody. */
  onModel?: (model: Model, point: SweepPoint) => void;
  /** Stops the work. */
  signal?: AbortSignal;
  /** Hears of progress. Default: nobody. */
  onProgress?: OnProgress;
}

/** Averages of a sweep from 2 to 8 bits. */
const AVERAGES = [2, 2.5, 3, 3.5, 4, 5, 6, 8];

/**
 * Tries `plan` at several budgets on `samples`. Its own `bits` do not matter.
 *
 * @throws {AttuneError} `bad-data` where there are too few samples, `bad-option` where an average is out
 * of range, `aborted` where the signal fired.
 */
export async function sweep(
  plan: Plan,
  samples: SampleSource,
  pool: EnginePool,
  options: SweepOptions = {},
): Promise<SweepReport> {
  const settings = resolve(plan, options);
  using _ = pool.stopOn(settings.signal);
  const stages: { name: string; seconds: number }[] = [];
  const timed = async <T>(name: string, work: () => Promise<T>) => {
    const start = performance.now();
    const result = await work();
    stages.push({ name, seconds: (performance.now() - start) / 1000 });
    checkAborted(settings.signal);
    return result;
  };
  const gradients = settings.strategies.some((name) => STRATEGIES[name].needs === "gradients");
  const { loaded, heldOut } = await timed(
    "read samples",
    () =>
      loadSamples(plan, samples, pool, {
        ...settings,
        heldOutEvery: 4,
        apart: gradients,
      }),
  );
  if (options.validation !== undefined) {
    const validation = await batchSamples(plan, options.validation, pool, settings);
    for await (const sample of validation.samples) heldOut.push(sample);
  }
  if (heldOut.length === 0) {
    // A model of fixed batch needs one to calibrate on, and one to judge by.
    const { size = 1 } = loaded.batching, least = size > 1 ? 2 * size : 4;
    throw new AttuneError(
      "bad-data",
      `Cannot compare budgets on ${loaded.samples} samples: give at least ${least}, for some to be ` +
        `held out`,
    );
  }
  const rounded: RoundedWidths = new Map();
  const grids = await timed("ranges", () => rangesOf(plan, loaded, pool, settings.range));
  const measures = await timed("measure", () =>
    measure(plan, loaded, pool, {
      ...settings,
      gradients,
      onLayer: async (layer, statistics, centred) => {
        const { target: { weight, input } } = layer;
        const grid = grids.get(plan.activations.shared.get(input) ?? input);
        const sums = { statistics, centred, grid };
        rounded.set(weight, await roundToWidths(plan, layer, sums, pool, settings));
      },
    }));
  const points = await timed(
    "compare",
    () => compare(plan, measures, rounded, grids, { ...loaded, heldOut }, pool, settings),
  );
  return {
    version: VERSION,
    model: plan.model.name,
    bytes: plan.size.before,
    seed: settings.seed,
    samples: { calibration: loaded.samples, heldOut: heldOut.length, skipped: 0 },
    points: markBest(points),
    stages,
  };
}

type Settings = ReturnType<typeof resolve>;

function resolve(plan: Plan, options: SweepOptions) {
  const { averages = AVERAGES, strategies = [DEFAULT_STRATEGY], uniform = true } = options;
  for (const bits of averages) {
    if (bits >= 2 && bits <= 8) continue;
    throw new AttuneError("bad-option", `Cannot sweep to ${bits} bits: give numbers from 2 to 8`);
  }
  for (const strategy of strategies) {
    if (isStrategy(strategy)) continue;
    throw new AttuneError("bad-option", `Cannot spread bits by ${strategy}: use another strategy`);
  }
  const coarse = plan.options.activationBits === 4;
  return {
    averages,
    strategies,
    uniform,
    rounding: options.rounding ?? { kind: "attention", candidates: 1 } as RoundingMethod,
    range: options.range ?? { kind: coarse ? "mse" : "minmax" } as RangeMethod,
    damping: options.damping ?? 0.01,
    heldOut: options.validation ? 0 : checkCount("held-out samples", options.heldOut ?? 128),
    seed: checkCount("seed", options.seed ?? 0, 0),
    biasCorrection: true,
    batch: options.batch,
    batchAxis: options.batchAxis,
    onModel: options.onModel,
    signal: options.signal,
    onProgress: options.onProgress,
  };
}

type Grids = ReadonlyMap<string, RangedGrid>;

/** The grids of all quantized activations, from what the float model computes. */
async function rangesOf(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  range: RangeMethod,
): Promise<Grids> {
  const { own, bits } = plan.activations;
  if (own.length === 0) return new Map();
  const inputs = new Map(
    plan.graph.inputs.map(({ name, type }) => [name, typeNamed(type)]),
  );
  const outputs = own.filter((name) => !inputs.has(name));
  await pool.open(...opening("float", extract(plan.model, { inputs, outputs })));
  const observers = await observeRanges(pool, loaded, "float", own);
  await pool.close();
  return new Map(
    [...observers].map(([name, observer]) =>
      [name, observer.grid(range, bits.get(name)!)] as const
    ),
  );
}

/** Runs the models of all points on the held-out samples, beside the float model. */
async function compare(
  plan: Plan,
  measures: readonly LayerMeasures[],
  rounded: RoundedWidths,
  grids: Grids,
  { batching, heldOut }: { readonly batching: Batching; readonly heldOut: readonly Sample[] },
  pool: EnginePool,
  settings: Settings,
): Promise<SweepPoint[]> {
  const { averages, strategies, uniform, onModel, signal, onProgress } = settings;
  const whole = averages.filter(Number.isInteger);
  const plans = [
    ...(uniform ? whole : []).map((bits) => ({
      asked: bits,
      made: allocateUniform(plan, measures, bits),
    })),
    ...strategies.flatMap((strategy) =>
      averages.map((asked) => ({
        asked,
        made: allocateAverage(plan, measures, strategy, asked),
      }))
    ),
  ];
  const wanted = await outputsOf(plan.model, batching, heldOut, pool.clients[0]);
  let done = 0;
  return await pool.run(plans.map(({ asked, made }) => async (client) => {
    checkAborted(signal);
    const parts = { roundings: pickRoundings(made, rounded), grids };
    const found = await outputsOf(buildModel(made, parts, "float"), batching, heldOut, client);
    const comparison = new Comparison();
    found.forEach((output, i) => comparison.add(wanted[i], output, heldOut[i].label));
    const { strategy, averageBits, bytes, layers } = made.allocation!;
    const point = {
      strategy,
      asked,
      averageBits,
      bytes,
      evaluation: comparison.result(),
      best: false,
      widths: Object.fromEntries(layers.map(({ name, bits }) => [name, bits])),
    };
    if (strategy !== "uniform") onModel?.(buildModel(made, parts, plan.options.format), point);
    onProgress?.({ stage: "compare", done: ++done, total: plans.length });
    return point;
  }));
}

/** The first output of `model` for each of `samples`. */
async function outputsOf(
  model: Model,
  batching: Batching,
  samples: readonly Sample[],
  client: EnginePool["clients"][number],
): Promise<Float32Array[]> {
  const { size = 1 } = batching, [output] = model.proto.graph.output;
  await client.call("open", opening("point", model, { simulate: true }));
  const outputs: Float32Array[] = [];
  for (let from = 0; from < samples.length; from += size) {
    // A fixed batch that is not full is filled up with its last sample.
    const own = samples.slice(from, from + size), count = own.length;
    while (own.length < size) own.push(own[own.length - 1]);
    const result = await client.call("run", ["point", stackSamples(batching, own)]);
    outputs.push(...rowsOf(batching, output.name, result[output.name], size).slice(0, count));
  }
  await client.call("close", []);
  return outputs;
}

/** `points`, those marked than which none is smaller or as small with less error. */
function markBest(points: readonly SweepPoint[]): SweepPoint[] {
  return points.map((point) => ({
    ...point,
    best: !points.some(({ bytes, evaluation: { mse } }) =>
      (bytes <= point.bytes && mse < point.evaluation.mse) ||
      (bytes < point.bytes && mse <= point.evaluation.mse)
    ),
  }));
}
