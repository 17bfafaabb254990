/**
 * Runs a model and its reference on the same samples and compares what they say.
 *
 * @module
 */

import type { Batch } from "../engine/spool.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { type BatchingOptions, findBatching } from "../forward/probe.ts";
import { asItIs } from "../forward/relay.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { WatchOptions } from "../progress.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import type { EnginePool } from "../workers/pool.ts";
import { Comparison, type Evaluation } from "./metrics.ts";
import { openModels, rowsOfRun } from "./outputs.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions extends BatchingOptions, WatchOptions {
  /** Called with what to keep in mind about the figures, a sentence each. Default: nobody is. */
  onWarning?: (message: string) => void;
}

/**
 * Samples in a batch where the model leaves it free: enough to keep a session busy, few in memory.
 */
const BATCH = 4;
/** Batches under way per engine, so that no engine waits for samples to be read. */
const AHEAD = 2;

/**
 * Compares the first output of `model` with that of `reference` of the same name, or else with its
 * first, on `samples`, in one pass.
 *
 * @throws {AttuneError} `bad-data` where there are no samples, they do not fit, or the two models
 * have other inputs or outputs.
 *
 * @example How often two models agree
 * ```ts
 * import { evaluate, openSamples, plan, readModel, startPool } from "../../mod.ts";
 *
 * const folder = new URL("../../examples/shapes/", import.meta.url).pathname;
 * const model = readModel(folder + "shapes.onnx");
 * const { inputs } = plan(model);
 * const val = await openSamples(folder + "val", { inputs, limit: 40 });
 * using pool = await startPool({ threads: 1 });
 * const { agreement, top1 } = await evaluate(model, model, val.samples(), pool);
 * if (agreement !== 100 || top1 === null) throw new Error("unexpected");
 * ```
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
  const { name, output, feeds } = pairOf(model, reference, onWarning);
  const models = await openModels(pool, [
    { ...asItIs(model), outputs: [name] },
    ...(reference === model ? [] : [{ ...asItIs(reference), outputs: [output], feeds }]),
  ]);
  const once = models.once.bind(models), { inputs, outputs } = new Graph(model);
  const batched = await findBatching({ inputs, outputs }, samples, once, options);
  for (const warning of batched.warnings) onWarning?.(warning);
  const { batching } = batched;
  const runs = models.outputsOf(batched.samples, {
    batching,
    runSize: Math.min(BATCH, most),
    ahead: AHEAD,
    signal,
  });
  const comparison = new Comparison();
  let read = 0;
  for await (const run of runs) {
    checkAborted(signal);
    const { samples: batch, outputs: [first, second = first] } = run;
    const candidate = first[name], expected = second[output];
    if (candidate.data.length !== expected.data.length) {
      throw new AttuneError(
        "bad-data",
        `Cannot compare ${model.name} with ${reference.name}: the output "${name}" has ` +
          `${candidate.data.length} values and "${output}" ${expected.data.length}; give two ` +
          `models of the same outputs`,
      );
    }
    const rows = rowsOfRun(batching, run, name, candidate);
    const expectedRows = rowsOfRun(batching, run, name, expected);
    batch.forEach(({ label }, i) => comparison.add(expectedRows[i], rows[i], label));
    read += batch.length;
    onProgress?.({ stage: "evaluate", done: read, total: 0 });
  }
  if (read === 0) throw new AttuneError("bad-data", "Cannot evaluate without samples: give some");
  return comparison.result();
}

/** The outputs that are compared, and how the reference is fed the same. */
interface Pair {
  /** The first output of the model. */
  readonly name: string;
  /** The output of the reference that it is compared with. */
  readonly output: string;
  /** What the reference is fed of a batch. */
  readonly feeds: (batch: Batch) => Batch;
}

/** What is compared of `model` and `reference`. */
function pairOf(
  model: Model,
  reference: Model,
  onWarning: EvaluateOptions["onWarning"],
): Pair {
  const graph = new Graph(model), other = reference === model ? graph : new Graph(reference);
  const [name] = graph.outputs;
  const output = other.outputs.includes(name) ? name : other.outputs[0];
  if (output !== name) {
    onWarning?.(
      `${reference.name} has no output "${name}": its first one, "${output}", is compared in its place`,
    );
  }
  const inputs = graph.inputs.map(({ name }) => name),
    others = other.inputs.map(({ name }) => name);
  if (others.every((input) => inputs.includes(input))) {
    return { name, output, feeds: (batch) => batch };
  }
  if (others.length !== inputs.length) {
    throw new AttuneError(
      "bad-data",
      `Cannot compare ${model.name} with ${reference.name}: their inputs are ${
        inputs.join(", ")
      } ` +
        `and ${others.join(", ")}; give two models of the same inputs`,
    );
  }
  onWarning?.(
    `the inputs of ${reference.name} (${others.join(", ")}) are fed as those of ${model.name} ` +
      `(${inputs.join(", ")}), in their order`,
  );
  const feeds = (batch: Batch) =>
    Object.fromEntries(others.map((input, i) => [input, batch[inputs[i]]]));
  return { name, output, feeds };
}
