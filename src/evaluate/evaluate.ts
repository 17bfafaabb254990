/**
 * Runs a model and its reference on the same samples and compares what they say.
 *
 * @module
 */

import type { Batch } from "../engine/spool.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import type { Batching } from "../forward/batching.ts";
import { type BatchingOptions, findBatching } from "../forward/probe.ts";
import { asItIs } from "../forward/relay.ts";
import { Graph } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { sizeOf } from "../onnx/tensor.ts";
import type { WatchOptions } from "../progress.ts";
import type { Value } from "../runtime/session.ts";
import type { TensorValue } from "../samples/sample.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import type { EnginePool } from "../workers/pool.ts";
import { type Metric, MetricComparison, type MetricResult } from "./metric.ts";
import { Comparison, type Evaluation } from "./metrics.ts";
import { kindOf, OutputComparison, type OutputEvaluation } from "./output_comparison.ts";
import { openModels, rowsOfRun, type RunOutputs } from "./outputs.ts";

/**
 * What {@linkcode evaluate} finds; the figures of {@linkcode Evaluation} are of the first output.
 */
export interface ModelEvaluation extends Evaluation {
  /** Every output that both models have, by what suits it, the first one first. */
  readonly outputs: readonly OutputEvaluation[];
  /** The figure of the user's own, where one was asked for. */
  readonly metric?: MetricResult;
}

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions extends BatchingOptions, WatchOptions {
  /** A figure of the user's own. Default: none. */
  metric?: Metric;
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
 * Compares the outputs of `model` with those of `reference` of the same names, the first one else
 * with its first, on `samples`, in one pass.
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
): Promise<ModelEvaluation> {
  const { batch: most = BATCH, signal, onProgress, onWarning } = options;
  using _ = pool.stopOn(signal);
  const { pairs, feeds } = pairsOf(model, reference, onWarning);
  const models = await openModels(pool, [
    { ...asItIs(model), outputs: pairs.map(([name]) => name) },
    ...(reference === model
      ? []
      : [{ ...asItIs(reference), outputs: pairs.map(([, other]) => other), feeds }]),
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
  const comparison = new PairComparison(pairs, batching, options.metric);
  let read = 0;
  for await (const run of runs) {
    checkAborted(signal);
    comparison.add(run);
    read += run.samples.length;
    onProgress?.({ stage: "evaluate", done: read, total: 0 });
  }
  if (read === 0) throw new AttuneError("bad-data", "Cannot evaluate without samples: give some");
  for (const warning of comparison.warnings()) onWarning?.(warning);
  return comparison.result();
}

/** Gathers the outputs of both models, run by run. */
class PairComparison {
  readonly #pairs: readonly Pair[];
  readonly #batching: Batching;
  readonly #first = new Comparison();
  readonly #outputs = new Map<string, OutputComparison>();
  readonly #metric: MetricComparison | undefined;
  #samples = 0;

  constructor(pairs: readonly Pair[], batching: Batching, metric: Metric | undefined) {
    this.#pairs = pairs;
    this.#batching = batching;
    this.#metric = metric && new MetricComparison(metric);
  }

  /** Adds what both said to the samples of a run. */
  add(run: RunOutputs): void {
    const { samples, outputs: [mine, others = mine] } = run;
    this.#samples += samples.length;
    const said = samples.map(() => [{}, {}] as [SampleRow, SampleRow]);
    for (const [i, [name, other]] of this.#pairs.entries()) {
      // Of sequences, maps and texts there is nothing to compare.
      if (!isNumeric(mine[name]) || !isNumeric(others[other])) continue;
      const rows = rowsOfRun(this.#batching, run, name, mine[name]);
      const expected = rowsOfRun(this.#batching, run, name, others[other]);
      const { type, dims } = mine[name];
      const output = this.#outputs.get(name) ??
        new OutputComparison(name, kindOf(type, dims, rows[0].length));
      this.#outputs.set(name, output);
      for (const [k, { label }] of samples.entries()) {
        if (i === 0) this.#first.add(expected[k], rows[k], label);
        output.add(expected[k], rows[k]);
        said[k][0][name] = rowOf(rows[k], mine[name], this.#batching.outputs.get(name));
        said[k][1][name] = rowOf(expected[k], others[other], this.#batching.outputs.get(name));
      }
    }
    if (this.#metric === undefined) return;
    for (const [k, sample] of samples.entries()) this.#metric.add(...said[k], sample);
  }

  /** Which outputs could not be compared on all samples. */
  warnings(): string[] {
    return this.#pairs.flatMap(([name]) => {
      const compared = this.#outputs.get(name)?.result()?.samples ?? 0;
      return compared === this.#samples ? [] : [
        `output "${name}" was compared on ${compared} of ${this.#samples} samples only: of the ` +
        `others its length differs, or one of the two is not finite, or it holds no numbers`,
      ];
    });
  }

  result(): ModelEvaluation {
    const outputs = [...this.#outputs.values()].flatMap((each) => each.result() ?? []);
    const metric = this.#metric?.result();
    return { ...this.#first.result(), outputs, ...(metric && { metric }) };
  }
}

/** What a model says to one sample, while it is put together. */
type SampleRow = Record<string, TensorValue>;

function isNumeric(value: Value | undefined): value is Value {
  return value?.data !== undefined && value.type !== "string";
}

/** A row with its shape: that of the whole output `of`, of which `axis` counts samples. */
function rowOf(data: Float32Array, of: Value, axis: number | undefined): TensorValue {
  const whole = sizeOf(of.dims) === data.length;
  if (whole || axis === undefined) return { dims: of.dims, data };
  const rest = of.dims.toSpliced(axis, 1), width = data.length / sizeOf(rest);
  return { dims: width === 1 ? rest : of.dims.with(axis, width), data };
}

/** An output of the model, and the one of the reference that it is compared with. */
type Pair = readonly [name: string, other: string];

/** The outputs that are compared, and how the reference is fed the same. */
interface Pairs {
  /** The first output of the model is the first of them. */
  readonly pairs: readonly Pair[];
  /** What the reference is fed of a batch. */
  readonly feeds: (batch: Batch) => Batch;
}

/** What is compared of `model` and `reference`. */
function pairsOf(
  model: Model,
  reference: Model,
  onWarning: EvaluateOptions["onWarning"],
): Pairs {
  const graph = new Graph(model), other = reference === model ? graph : new Graph(reference);
  const [name, ...names] = new Set(graph.outputs);
  const output = other.outputs.includes(name) ? name : other.outputs[0];
  if (output !== name) {
    onWarning?.(
      `${reference.name} has no output "${name}": its first one, "${output}", is compared in its place`,
    );
  }
  const missing = names.filter((each) => !other.outputs.includes(each));
  if (missing.length > 0) {
    onWarning?.(`${reference.name} has no output ${missing.join(", ")}, which is not compared`);
  }
  const shared = names.filter((each) => other.outputs.includes(each) && each !== output);
  const pairs: Pair[] = [[name, output], ...shared.map((each): Pair => [each, each])];
  return { pairs, feeds: feedsOf(graph, other, onWarning) };
}

/** How the inputs of the model of `graph` are fed to the one of `other`. */
function feedsOf(
  graph: Graph,
  other: Graph,
  onWarning: EvaluateOptions["onWarning"],
): Pairs["feeds"] {
  const inputs = graph.inputs.map(({ name }) => name);
  const others = other.inputs.map(({ name }) => name);
  const [mine, theirs] = [graph.model.name, other.model.name];
  if (others.every((input) => inputs.includes(input))) return (batch) => batch;
  if (others.length !== inputs.length) {
    throw new AttuneError(
      "bad-data",
      `Cannot compare ${mine} with ${theirs}: their inputs are ${inputs.join(", ")} and ` +
        `${others.join(", ")}; give two models of the same inputs`,
    );
  }
  onWarning?.(
    `the inputs of ${theirs} (${others.join(", ")}) are fed as those of ${mine} ` +
      `(${inputs.join(", ")}), in their order`,
  );
  return (batch) => Object.fromEntries(others.map((input, i) => [input, batch[inputs[i]]]));
}
