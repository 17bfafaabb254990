/**
 * Runs a model and its reference on the same samples and compares what they say.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { fixedBatch, stackSamples } from "../calibrate/batches.ts";
import type { Batch } from "../calibrate/spool.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { partsOf } from "../calibrate/parts.ts";
import { fitsSession, Relay } from "../calibrate/relay.ts";
import { opening } from "../runtime/opening.ts";
import type { OnProgress } from "../progress.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { Sample, SampleSource } from "../samples/sample.ts";
import { Comparison, type Evaluation } from "./metrics.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Stops the work. */
  signal?: AbortSignal;
  /** Hears of progress. Default: nobody. */
  onProgress?: OnProgress;
}

/** Samples in a batch where the model leaves it free: enough to keep a session busy, few in memory. */
const BATCH = 4;
/** Batches under way per engine, so that no engine waits for samples to be read. */
const AHEAD = 2;

/**
 * Compares the first output of `model` with that of `reference` on `samples`, in one pass.
 *
 * @throws {AttuneError} `bad-data` where there are no samples or the two outputs differ in shape.
 */
export async function evaluate(
  model: Model,
  reference: Model,
  samples: SampleSource,
  pool: EnginePool,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const graph = new Graph(model);
  const models = [...new Set([model, reference])];
  const comparison = new Comparison();
  let read = 0;
  for await (const { samples: batch, results } of runs(models, samples, pool, options)) {
    checkAborted(options.signal);
    const [candidate, expected] = results.map((result) => firstOutput(graph, result));
    if (candidate.length !== expected.length) {
      throw new AttuneError(
        "bad-data",
        `Cannot compare ${model.name} with ${reference.name}: their first outputs have ` +
          `${candidate.length} and ${expected.length} values`,
      );
    }
    const width = candidate.length / (fixedBatch(graph.inputs) ?? batch.length);
    batch.forEach((sample, i) =>
      comparison.add(
        expected.subarray(i * width, (i + 1) * width),
        candidate.subarray(i * width, (i + 1) * width),
        sample.label,
      )
    );
    read += batch.length;
    options.onProgress?.({ stage: "evaluate", done: read, total: 0 });
  }
  if (read === 0) throw new AttuneError("bad-data", "Cannot evaluate without samples: give some");
  return comparison.result();
}

/** Samples and what the model and its reference, which may be the same, say to them. */
interface Run {
  readonly samples: readonly Sample[];
  readonly results: readonly [own: Batch, expected: Batch];
}

/** What `models` say, batch by batch, in the order of the samples. */
async function* runs(
  models: readonly Model[],
  samples: SampleSource,
  pool: EnginePool,
  options: EvaluateOptions,
): AsyncGenerator<Run> {
  const graphs = models.map((model) => new Graph(model));
  const run = graphs.every(fitsSession) ? runsAtOnce : runsInParts;
  yield* run(models, graphs, batchesOf(graphs[0], samples), pool, options);
  await pool.close();
}

/** Both models side by side, while samples are read. */
async function* runsAtOnce(
  models: readonly Model[],
  [graph]: readonly Graph[],
  batches: AsyncIterable<Filled>,
  pool: EnginePool,
): AsyncGenerator<Run> {
  for (const [i, model] of models.entries()) await pool.open(...opening(`${i}`, model));
  const running: Promise<Run>[] = [];
  let next = 0;
  for await (const { samples, filled } of batches) {
    const client = pool.ofLane(next++), input = stackSamples(graph.inputs, filled);
    const result = (async (): Promise<Run> => {
      const own = await client.call("run", ["0", input]);
      return { samples, results: [own, models[1] ? await client.call("run", ["1", input]) : own] };
    })();
    result.catch(() => {});
    running.push(result);
    if (running.length > AHEAD * pool.clients.length) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
}

/** One model after the other, once all samples are read, and each part by part. */
async function* runsInParts(
  models: readonly Model[],
  graphs: readonly Graph[],
  batches: AsyncIterable<Filled>,
  pool: EnginePool,
  { signal }: EvaluateOptions,
): AsyncGenerator<Run> {
  const relay = new Relay(
    pool,
    graphs.map((graph, i) => ({
      graph,
      parts: partsOf(models[i]),
      outputs: [graphs[0].outputs[0]],
    })),
  );
  await relay.clear();
  const read: Filled["samples"][] = [];
  for await (const { samples, filled } of batches) {
    checkAborted(signal);
    await relay.load(stackSamples(graphs[0].inputs, filled));
    // Their labels are wanted later, not their values.
    read.push(samples.map((sample) => ({ ...sample, inputs: {} })));
  }
  await relay.run({ signal });
  for (const [i, samples] of read.entries()) {
    const own = await relay.outputs(0, i);
    yield { samples, results: [own, models[1] ? await relay.outputs(1, i) : own] };
  }
  await relay.clear();
}

/** Samples that are run together. */
interface Filled {
  readonly samples: readonly Sample[];
  /** As many as the model wants: a fixed batch that is not full is filled up with its last sample. */
  readonly filled: readonly Sample[];
}

async function* batchesOf(graph: Graph, samples: SampleSource): AsyncGenerator<Filled> {
  const fixed = fixedBatch(graph.inputs), size = fixed ?? BATCH;
  const fill = (own: readonly Sample[]) => {
    const filled = [...own];
    while (fixed !== undefined && filled.length < fixed) filled.push(own.at(-1)!);
    return { samples: own, filled };
  };
  let pending: Sample[] = [];
  for await (const sample of samples) {
    pending.push(sample);
    if (pending.length < size) continue;
    yield fill(pending);
    pending = [];
  }
  if (pending.length > 0) yield fill(pending);
}

function firstOutput(graph: Graph, result: Batch): Float32Array {
  const { data } = result[graph.outputs[0]];
  return data instanceof Float32Array ? data : Float32Array.from(data as Iterable<number>, Number);
}
