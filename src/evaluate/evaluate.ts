/**
 * Runs a model and its reference on the same samples and compares what they say.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { type Batching, rowsOf, Runs, stackSamples } from "../forward/batching.ts";
import { type BatchingOptions, findBatching } from "../forward/probe.ts";
import { asItIs, fitsSession, Relay, runOnce } from "../forward/relay.ts";
import type { Batch } from "../engine/spool.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { OnProgress } from "../progress.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { Value } from "../runtime/session.ts";
import type { Sample, SampleSource } from "../samples/sample.ts";
import { Comparison, type Evaluation } from "./metrics.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions extends BatchingOptions {
  /** Stops the work. */
  signal?: AbortSignal;
  /** Hears of progress. Default: nobody. */
  onProgress?: OnProgress;
  /** Hears what to keep in mind about the figures, a sentence each. Default: nobody. */
  onWarning?: (message: string) => void;
}

/** Samples in a batch where the model leaves it free: enough to keep a session busy, few in memory. */
const BATCH = 4;
/** Batches under way per engine, so that no engine waits for samples to be read. */
const AHEAD = 2;

/**
 * Compares the first output of `model` with that of `reference` of the same name, or else with its first,
 * on `samples`, in one pass.
 *
 * @throws {AttuneError} `bad-data` where there are no samples, they do not fit, or the two models have
 * other inputs or outputs.
 */
export async function evaluate(
  model: Model,
  reference: Model,
  samples: SampleSource,
  pool: EnginePool,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { batch: most = BATCH, signal, onProgress, onWarning } = options;
  using _ = pool.stopOn(signal);
  const graph = new Graph(model), other = reference === model ? graph : new Graph(reference);
  const { inputs, outputs } = graph;
  const { output, feeds } = pairOf(model, reference, onWarning);
  const whole = fitsSession(graph) && fitsSession(other), [client] = pool.clients;
  if (whole) {
    await pool.open(...opening("model", model));
    if (reference !== model) await pool.open(...opening("reference", reference));
  }
  const batched = await findBatching(
    { inputs, outputs },
    samples,
    (batch) => whole ? client.call("run", ["model", batch]) : runOnce(model, batch, client),
    options,
  );
  for (const warning of batched.warnings) onWarning?.(warning);
  const { batching } = batched;
  const comparison = new Comparison();
  let read = 0;
  const run = async (lane: number, input: Batch): Promise<[Value, Value]> => {
    const client = pool.ofLane(lane);
    const own = (await client.call("run", ["model", input]))[outputs[0]];
    if (reference === model) return [own, own];
    return [own, (await client.call("run", ["reference", feeds(input)]))[output]];
  };
  const filled = filledRuns(batching, batched.samples, Math.min(BATCH, most));
  const relay = new Relay(pool, [
    { ...asItIs(model), outputs: [outputs[0]] },
    ...(reference === model ? [] : [{ ...asItIs(reference), outputs: [output], feeds }]),
  ]);
  const names = [outputs[0], output] as const;
  const found = whole ? runs(filled, pool, run) : runsInParts(filled, relay, names, signal);
  for await (const { samples: batch, results } of found) {
    checkAborted(signal);
    const [candidate, expected] = results;
    if (candidate.data.length !== expected.data.length) {
      throw new AttuneError(
        "bad-data",
        `Cannot compare ${model.name} with ${reference.name}: the output "${outputs[0]}" has ` +
          `${candidate.data.length} values and "${output}" ${expected.data.length}; give two ` +
          `models of the same outputs`,
      );
    }
    const count = batching.size ?? batch.length;
    const own = rowsOf(batching, outputs[0], candidate, count);
    const other = rowsOf(batching, outputs[0], expected, count);
    batch.forEach(({ label }, i) => comparison.add(other[i], own[i], label));
    read += batch.length;
    onProgress?.({ stage: "evaluate", done: read, total: 0 });
  }
  await pool.close();
  if (read === 0) throw new AttuneError("bad-data", "Cannot evaluate without samples: give some");
  return comparison.result();
}

/** The output of `reference` that the first of `model` is compared with, and how it is fed the same. */
function pairOf(
  model: Model,
  reference: Model,
  onWarning: EvaluateOptions["onWarning"],
): { output: string; feeds: (batch: Batch) => Batch } {
  const own = new Graph(model), other = reference === model ? own : new Graph(reference);
  const [first] = own.outputs;
  const output = other.outputs.includes(first) ? first : other.outputs[0];
  if (output !== first) {
    onWarning?.(
      `${reference.name} has no output "${first}": its first one, "${output}", is compared in its place`,
    );
  }
  const names = own.inputs.map(({ name }) => name), wanted = other.inputs.map(({ name }) => name);
  if (wanted.every((name) => names.includes(name))) return { output, feeds: (batch) => batch };
  if (wanted.length !== names.length) {
    throw new AttuneError(
      "bad-data",
      `Cannot compare ${model.name} with ${reference.name}: their inputs are ${names.join(", ")} ` +
        `and ${wanted.join(", ")}; give two models of the same inputs`,
    );
  }
  onWarning?.(
    `the inputs of ${reference.name} (${wanted.join(", ")}) are fed as those of ${model.name} ` +
      `(${names.join(", ")}), in their order`,
  );
  const feeds = (batch: Batch) =>
    Object.fromEntries(wanted.map((name, i) => [name, batch[names[i]]]));
  return { output, feeds };
}

/** Samples that run together, and what the model is fed then. */
interface FilledRun {
  readonly samples: readonly Sample[];
  readonly input: Batch;
}

/** Samples that ran together, and the outputs of the model and its reference. */
interface Found {
  readonly samples: readonly Sample[];
  readonly results: readonly [own: Value, expected: Value];
}

/** `samples`, run by run; one of fixed size that is not full is filled up with its last sample. */
async function* filledRuns(
  batching: Batching,
  samples: AsyncGenerator<Sample>,
  size: number,
): AsyncGenerator<FilledRun> {
  const fill = (batch: readonly Sample[]): FilledRun => {
    const filled = [...batch];
    while (batching.size !== undefined && filled.length < batching.size) filled.push(batch.at(-1)!);
    return { samples: batch, input: stackSamples(batching, filled) };
  };
  const waiting = new Runs(batching, size);
  for await (const sample of samples) {
    const full = waiting.add(sample);
    if (full !== undefined) yield fill(full);
  }
  for (const rest of waiting.rest()) yield fill(rest);
}

/** What came of `filled`, those of several engines at a time. */
async function* runs(
  filled: AsyncIterable<FilledRun>,
  pool: EnginePool,
  run: (lane: number, input: Batch) => Promise<[Value, Value]>,
): AsyncGenerator<Found> {
  const running: Promise<Found>[] = [];
  let next = 0;
  for await (const { samples, input } of filled) {
    const result = run(next++, input).then((results) => ({ samples, results }));
    result.catch(() => {});
    running.push(result);
    if (running.length > AHEAD * pool.clients.length) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
}

/** The same by models too large for a session: one after the other, once all samples are read. */
async function* runsInParts(
  filled: AsyncIterable<FilledRun>,
  relay: Relay,
  [first, second]: readonly [own: string, expected: string],
  signal?: AbortSignal,
): AsyncGenerator<Found> {
  await relay.clear();
  const read: (readonly Sample[])[] = [];
  for await (const { samples, input } of filled) {
    checkAborted(signal);
    await relay.load(input);
    // Labels are wanted later, but no values.
    read.push(samples.map((sample) => ({ ...sample, inputs: {} })));
  }
  await relay.run({ signal });
  for (const [i, samples] of read.entries()) {
    const [own, expected] = await relay.outputs(i);
    yield { samples, results: [own[first], (expected ?? own)[second]] };
  }
  await relay.clear();
}
