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
import { sessionBytes } from "../onnx/session_bytes.ts";
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
  using _ = pool.stopOn(options.signal);
  const graph = new Graph(model);
  await pool.open("model", sessionBytes(model));
  if (reference !== model) await pool.open("reference", sessionBytes(reference));
  const comparison = new Comparison();
  let read = 0;
  for await (const { samples: batch, results } of runs(graph, samples, pool, reference !== model)) {
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
  await pool.close();
  if (read === 0) throw new AttuneError("bad-data", "Cannot evaluate without samples: give some");
  return comparison.result();
}

/** The model's and the reference's outputs, batch by batch, in the order of the samples. */
async function* runs(
  graph: Graph,
  samples: SampleSource,
  pool: EnginePool,
  compared: boolean,
): AsyncGenerator<{ samples: Sample[]; results: Batch[] }> {
  const fixed = fixedBatch(graph.inputs);
  const running: Promise<{ samples: Sample[]; results: Batch[] }>[] = [];
  const size = fixed ?? BATCH;
  let next = 0;
  const start = (batch: Sample[]) => {
    const client = pool.ofLane(next++);
    // A fixed batch that is not full is filled up with its last sample.
    const filled = [...batch];
    while (fixed !== undefined && filled.length < fixed) filled.push(batch.at(-1)!);
    const input = stackSamples(graph.inputs, filled);
    const run = (key: string) => client.call("run", [key, input]);
    const result = (async () => {
      const own = await run("model");
      return { samples: batch, results: [own, compared ? await run("reference") : own] };
    })();
    result.catch(() => {});
    running.push(result);
  };
  let pending: Sample[] = [];
  for await (const sample of samples) {
    pending.push(sample);
    if (pending.length < size) continue;
    start(pending);
    pending = [];
    if (running.length > AHEAD * pool.clients.length) yield await running.shift()!;
  }
  if (pending.length > 0) start(pending);
  while (running.length > 0) yield await running.shift()!;
}

function firstOutput(graph: Graph, result: Batch): Float32Array {
  const { data } = result[graph.outputs[0]];
  return data instanceof Float32Array ? data : Float32Array.from(data as Iterable<number>, Number);
}
