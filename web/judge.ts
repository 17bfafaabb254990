/**
 * The float model and the quantized one side by side on the visitor's own samples.
 *
 * @module
 */

import { Comparison, type Evaluation } from "../src/evaluate/metrics.ts";
import { openModels, type OutputsOptions, rowsOfRun } from "../src/evaluate/outputs.ts";
import { Difference } from "../src/quantize/differences.ts";
import { findBatching } from "../src/forward/probe.ts";
import { partsOf } from "../src/forward/open_part.ts";
import { asItIs } from "../src/forward/relay.ts";
import { extract } from "../src/graph/extract.ts";
import { Graph } from "../src/graph/graph.ts";
import { checkAborted } from "../src/errors.ts";
import type { Model } from "../src/onnx/model.ts";
import { typeNamed } from "../src/onnx/tensor.ts";
import type { Plan } from "../src/plan/plan.ts";
import type { Sample } from "../src/samples/sample.ts";
import type { WatchOptions } from "../src/progress.ts";
import type { SampleSource } from "../src/samples/to_sample.ts";
import type { EnginePool } from "../src/workers/pool.ts";
import type { GrowthPoint, Prediction, Score } from "./messages.ts";

/** Samples in a run where the model leaves it free, and runs under way per engine. */
const RUN = 4, AHEAD = 2;
/** Classes that are told of a sample, and that outputs may have to be taken for classes. */
const TOP = 3, FEWEST = 2, MOST = 100_000;

/** Samples that errors are followed through the model on, at most. */
const FOLLOWED = 16;

/** What came of it. */
export interface Judged {
  /** How far the two models are apart at the output of each layer, and at their own. */
  readonly growth: GrowthPoint[];
  /** What both models say, worst first. */
  readonly predictions: Prediction[];
  /** The figures over all samples. */
  readonly evaluation: Evaluation;
}

/** Runs `model`, which `plan` became, and the float model on `samples`. */
export async function judge(
  plan: Plan,
  model: Model,
  samples: SampleSource,
  pool: EnginePool,
  { signal, onProgress, total }: WatchOptions & { /** Samples in all. */ readonly total: number },
): Promise<Judged> {
  const { graph } = plan, [output] = graph.outputs;
  const models = await openModels(
    pool,
    [plan.model, model].map((each) => ({ ...asItIs(each), outputs: [output] })),
  );
  const batched = await findBatching(graph, samples, (batch) => models.once(batch), {});
  const { batching } = batched, comparison = new Comparison();
  const predictions: Prediction[] = [], followed: Sample[] = [];
  const options = { batching, runSize: RUN, ahead: AHEAD, signal };
  for await (const run of models.outputsOf(batched.samples, options)) {
    followed.push(...run.samples.slice(0, FOLLOWED - followed.length));
    const [expected, actual] = run.outputs.map((outputs) => outputs[output]);
    const isClasses = expected.dims.length <= 2;
    const [before, after] = [expected, actual].map((value) =>
      rowsOfRun(batching, run, output, value)
    );
    run.samples.forEach(({ source, label }, i) => {
      comparison.add(before[i], after[i], isClasses ? label : undefined);
      const difference = new Difference();
      difference.add(before[i], after[i]);
      const scores = (row: Float32Array) => isClasses ? firstClasses(row) : [];
      predictions.push({
        source,
        label,
        error: difference.relative,
        float: scores(before[i]),
        quantized: scores(after[i]),
      });
    });
    onProgress?.({ stage: "evaluate", done: predictions.length, total });
  }
  // Some models cannot be looked into; what else there is to say stays.
  const growth = await follow(plan, model, followed, pool, { batching, signal }).catch(() => []);
  checkAborted(signal);
  return { growth, predictions: predictions.sort(worstFirst), evaluation: comparison.result() };
}

/** How far `model` and the float model are apart along the layers of `plan`. */
async function follow(
  { graph, layers, model: float }: Plan,
  model: Model,
  samples: readonly Sample[],
  pool: EnginePool,
  options: OutputsOptions,
): Promise<GrowthPoint[]> {
  const made = new Set(model.proto.graph.node.flatMap(({ output }) => output));
  const names = new Map(layers.map(({ target }) => [target.output, target.name]));
  const [last] = graph.outputs;
  if (!names.has(last)) names.set(last, "output of the model");
  const outputs = [...names.keys()].filter((name) => made.has(name));
  const inputs = new Map(graph.inputs.map(({ name, type }) => [name, typeNamed(type)]));
  const models = await openModels(
    pool,
    [float, model].map((each) => ({
      graph: new Graph(each),
      whole: () => extract(each, { inputs, outputs }),
      parts: partsOf(each),
      outputs,
    })),
  );
  const differences = outputs.map(() => new Difference());
  for await (const run of models.outputsOf(samples, options)) {
    const [expected, actual] = run.outputs;
    outputs.forEach((name, i) =>
      differences[i].add(expected[name].data as Float32Array, actual[name].data as Float32Array)
    );
  }
  return outputs.map((name, i) => ({ name: names.get(name)!, error: differences[i].relative }));
}

/** Whether both models give the same first class. */
export function isSame({ float, quantized }: Prediction): boolean {
  return float[0]?.label === quantized[0]?.label;
}

/** Other answers come before the same ones, large errors before small ones. */
function worstFirst(a: Prediction, b: Prediction): number {
  return Number(isSame(a)) - Number(isSame(b)) || b.error - a.error;
}

/** The likeliest classes of `row`: scores, or probabilities already. */
function firstClasses(row: Float32Array): Score[] {
  if (row.length < FEWEST || row.length > MOST) return [];
  const shares = isDistribution(row) ? Float64Array.from(row) : softmax(row);
  return Array.from(shares, (share, label) => ({ label, share }))
    .sort((a, b) => b.share - a.share || a.label - b.label).slice(0, TOP);
}

function isDistribution(row: Float32Array): boolean {
  return row.every((value) => value >= 0) &&
    Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) < 1e-3;
}

function softmax(row: Float32Array): Float64Array {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(row, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}
