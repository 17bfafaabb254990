/**
 * One calibration, many budgets: what size of the file goes with what error.
 *
 * The float model is run once. While a layer's statistics are at hand, the layer is rounded to
 * every width; a budget then only picks from these roundings, and costs no more than running its
 * model on samples that were kept out. Layers are rounded as if those before them were exact: a job
 * of its own, where each layer repairs the errors of those before it, mostly does better than its
 * point.
 *
 * @module
 */

import { allocateAverage, allocateUniform } from "../allocate/allocate.ts";
import type { LayerMeasures } from "../allocate/layer_measures.ts";
import { measure } from "../allocate/measure.ts";
import { pickRoundings, type RoundedWidths, roundToWidths } from "../allocate/round_widths.ts";
import type { RangedGrid } from "../calibrate/checkpoint.ts";
import { buildModel } from "../emit/build.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { Comparison } from "../evaluate/metrics.ts";
import { openSessions, type PoolEngine, rowsOfRun } from "../evaluate/outputs.ts";
import type { Batching } from "../forward/batching.ts";
import { batchSamples, loadSamples } from "../forward/load.ts";
import type { Job } from "../forward/job.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { extract } from "../graph/extract.ts";
import { observeRanges } from "../layer/collect.ts";
import type { Model } from "../onnx/model.ts";
import { typeNamed } from "../onnx/tensor.ts";
import { gridSource } from "../plan/activations.ts";
import type { RangeMethod } from "../plan/options.ts";
import { STRATEGIES } from "../strategies/strategies.ts";
import type { Plan } from "../plan/plan.ts";
import type { SweepPoint, SweepReport } from "../report/sweep_report.ts";
import { opening } from "../runtime/opening.ts";
import type { Sample } from "../samples/sample.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import { VERSION } from "../version.ts";
import type { EnginePool } from "../workers/pool.ts";
import { Stages } from "./stages.ts";
import { resolveSweep, type SweepOptions, type SweepSettings } from "./sweep_options.ts";

/**
 * Tries `plan` at several budgets on `samples`. Its own `bits` do not matter.
 *
 * @throws {AttuneError} `bad-data` where there are too few samples, `bad-option` where an average
 * is out of range, `aborted` where the signal fired.
 *
 * @example Error by size of the file
 * ```ts
 * import { openSamples, plan, readModel, startPool, sweep } from "../../mod.ts";
 *
 * const folder = new URL("../../examples/shapes/", import.meta.url).pathname;
 * const made = plan(readModel(folder + "shapes.onnx"), { format: "packed" });
 * const calib = await openSamples(folder + "calib", { inputs: made.inputs, limit: 32 });
 * using pool = await startPool({ threads: 1 });
 * const { points } = await sweep(made, calib.samples(), pool, { averages: [3, 6] });
 * const [three, six] = points;
 * if (three.bytes >= six.bytes || three.evaluation.mse < six.evaluation.mse) {
 *   throw new Error("unexpected");
 * }
 * ```
 */
export async function sweep(
  plan: Plan,
  samples: SampleSource,
  pool: EnginePool,
  options: SweepOptions = {},
): Promise<SweepReport> {
  const settings = resolveSweep(plan, options), { signal, strategies, seed } = settings;
  using _ = pool.stopOn(signal);
  const stages = new Stages(signal);
  const gradients = strategies.some((name) => STRATEGIES[name].needs === "gradients");
  const { loaded, heldOut } = await stages.time(
    "read samples",
    () => loadSamples(plan, samples, pool, { ...settings, heldOutEvery: 4, apart: gradients }),
  );
  if (options.validation !== undefined) {
    const validation = await batchSamples(plan, options.validation, pool, settings);
    for await (const sample of validation.samples) heldOut.push(sample);
  }
  if (heldOut.length === 0) throw nothingHeldOut(loaded);
  const rounded: RoundedWidths = new Map();
  const job = { plan, pool, loaded, seed, signal, onProgress: settings.onProgress };
  const grids = await stages.time("ranges", () => rangesOf(job, settings.range));
  const measures = await stages.time("measure", () =>
    measure(job, {
      ...settings,
      gradients,
      onLayer: async (layer, statistics, centred) => {
        const { target: { weight, input } } = layer;
        const grid = grids.get(gridSource(plan.activations, input));
        const sums = { statistics, centred, grid };
        rounded.set(weight, await roundToWidths(plan, layer, sums, pool, settings));
      },
    }));
  const judged = { batching: loaded.batching, samples: heldOut };
  const points = await stages.time(
    "compare",
    () => compare(plan, { measures, rounded, grids }, judged, pool, settings),
  );
  return {
    version: VERSION,
    model: plan.model.name,
    bytes: plan.size.before,
    seed,
    samples: { calibration: loaded.samples, heldOut: heldOut.length },
    points: markBest(points),
    stages: stages.list,
  };
}

/** Refuses samples of which none can be kept out. */
function nothingHeldOut({ samples, batching: { size = 1 } }: LoadedBatches): AttuneError {
  // A model of fixed batch needs one to calibrate on, and one to judge by.
  const least = size > 1 ? 2 * size : 4;
  return new AttuneError(
    "bad-data",
    `Cannot compare budgets on ${samples} samples: give at least ${least}, for some to be held out`,
  );
}

type Grids = ReadonlyMap<string, RangedGrid>;

/** The grids of all quantized activations, from what the float model computes. */
async function rangesOf({ plan, loaded, pool }: Job, range: RangeMethod): Promise<Grids> {
  const { ranged, bits } = plan.activations;
  if (ranged.length === 0) return new Map();
  const inputs = new Map(
    plan.graph.inputs.map(({ name, type }) => [name, typeNamed(type)]),
  );
  const outputs = ranged.filter((name) => !inputs.has(name));
  await pool.open(...opening("float", extract(plan.model, { inputs, outputs })));
  const observers = await observeRanges(pool, loaded, "float", ranged);
  await pool.close();
  return new Map(
    [...observers].map(([name, observer]) =>
      [name, observer.grid(range, bits.get(name)!)] as const
    ),
  );
}

/** What one calibration tells of all widths. */
interface Widths {
  readonly measures: readonly LayerMeasures[];
  readonly rounded: RoundedWidths;
  readonly grids: Grids;
}

/** What points are judged by. */
interface Judged {
  readonly batching: Batching;
  readonly samples: readonly Sample[];
}

/** A budget, and the plan that meets it. */
interface Candidate {
  readonly asked: number;
  readonly plan: Plan;
}

/** The plans to compare. */
function candidatesOf(
  plan: Plan,
  measures: readonly LayerMeasures[],
  { averages, strategies, uniform }: SweepSettings,
): Candidate[] {
  const whole = uniform ? averages.filter(Number.isInteger) : [];
  return [
    ...whole.map((asked) => ({ asked, plan: allocateUniform(plan, measures, asked) })),
    ...strategies.flatMap((strategy) =>
      averages.map((asked) => ({ asked, plan: allocateAverage(plan, measures, strategy, asked) }))
    ),
  ];
}

/** Runs the models of all points on the samples to judge by, beside the float model. */
async function compare(
  plan: Plan,
  { measures, rounded, grids }: Widths,
  { batching, samples }: Judged,
  pool: EnginePool,
  settings: SweepSettings,
): Promise<SweepPoint[]> {
  const { onModel, signal, onProgress } = settings;
  const candidates = candidatesOf(plan, measures, settings), total = candidates.length;
  const expected = await firstOutputs(plan.model, batching, samples, pool.clients[0]);
  let done = 0;
  return await pool.run(candidates.map(({ asked, plan: candidate }) => async (engine) => {
    checkAborted(signal);
    const parts = { roundings: pickRoundings(candidate, rounded), grids };
    const model = buildModel(candidate, parts, "float");
    const outputs = await firstOutputs(model, batching, samples, engine);
    const comparison = new Comparison();
    outputs.forEach((output, i) => comparison.add(expected[i], output, samples[i].label));
    const { strategy, averageBits, bytes, layers } = candidate.allocation!;
    const point = {
      strategy,
      asked,
      averageBits,
      bytes,
      evaluation: comparison.result(),
      best: false,
      widths: Object.fromEntries(layers.map(({ name, bits }) => [name, bits])),
    };
    if (strategy !== "uniform") onModel?.(buildModel(candidate, parts, plan.options.format), point);
    onProgress?.({ stage: "compare", done: ++done, total });
    return point;
  }));
}

/** The first output of `model` for each of `samples`, in one engine. */
async function firstOutputs(
  model: Model,
  batching: Batching,
  samples: readonly Sample[],
  engine: PoolEngine,
): Promise<Float32Array[]> {
  const [{ name }] = model.proto.graph.output, rows: Float32Array[] = [];
  const runner = { whole: () => model, outputs: [name], options: { simulate: true } };
  const models = await openSessions([engine], [runner]);
  for await (const run of models.outputsOf(samples, { batching })) {
    rows.push(...rowsOfRun(batching, run, name, run.outputs[0][name]));
  }
  return rows;
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
