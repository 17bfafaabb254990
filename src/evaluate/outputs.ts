/**
 * What models compute of samples, side by side: how samples become runs, and their outputs rows
 * again.
 *
 * @module
 */

import type { Batch } from "../engine/spool.ts";
import { checkAborted } from "../errors.ts";
import { type Batching, rowsOf, Runs, stackSamples } from "../forward/batching.ts";
import { fitsSession, Relay, type Runner, runOnce } from "../forward/relay.ts";
import { opening } from "../runtime/opening.ts";
import type { Value } from "../runtime/session.ts";
import type { Sample } from "../samples/sample.ts";
import type { EnginePool } from "../workers/pool.ts";

/** A model that is opened as a whole. */
export type WholeRunner = Omit<Runner, "graph" | "parts">;

/** One engine of a pool. */
export type PoolEngine = EnginePool["clients"][number];

/** How models are run on samples. */
export interface OutputsOptions {
  /** How samples become runs. */
  readonly batching: Batching;
  /** Samples of a run where the model leaves it open. Default: 1. */
  readonly runSize?: number;
  /** Runs under way per engine beside those whose outputs are awaited. Default: 0. */
  readonly ahead?: number;
  /** Stops the work. */
  readonly signal?: AbortSignal;
}

/** Samples that ran together, and what each model computed of them. */
export interface RunOutputs {
  /** The samples; of models too large for a session, without their inputs. */
  readonly samples: readonly Sample[];
  /** The outputs of each model by their names. */
  readonly outputs: readonly Batch[];
}

/** Models that stand ready side by side. */
export interface OpenModels {
  /** What the first of them computes of one batch, in one engine. */
  once(batch: Batch): Promise<Batch>;
  /**
   * Runs all of them on `samples`, and closes them. A run of fixed size that is not full is filled
   * up with its last sample: {@linkcode rowsOfRun} cuts off what came of that.
   */
  outputsOf(samples: Samples, options: OutputsOptions): AsyncGenerator<RunOutputs>;
}

type Samples = AsyncIterable<Sample> | Iterable<Sample>;

/**
 * Opens `runners` in `engines` of `pool`; where one of them does not fit into a session, all are
 * run part by part, in all engines.
 */
export async function openModels(
  pool: EnginePool,
  runners: readonly Runner[],
  engines: readonly PoolEngine[] = pool.clients,
): Promise<OpenModels> {
  return runners.every(({ graph }) => fitsSession(graph))
    ? await openSessions(engines, runners)
    : new InParts(pool, runners);
}

/** Opens `runners` as a whole in each of `engines`, which then take turns. */
export async function openSessions(
  engines: readonly PoolEngine[],
  runners: readonly WholeRunner[],
): Promise<OpenModels> {
  for (const [i, { whole, options }] of runners.entries()) {
    const model = opening(keyOf(i), whole(), options);
    await Promise.all(engines.map((engine) => engine.call("open", model)));
  }
  return new InSessions(engines, runners);
}

/** The name of a model in the engines. */
const keyOf = (runner: number) => `outputs ${runner}`;

class InSessions implements OpenModels {
  readonly #engines: readonly PoolEngine[];
  readonly #runners: readonly WholeRunner[];

  constructor(engines: readonly PoolEngine[], runners: readonly WholeRunner[]) {
    this.#engines = engines;
    this.#runners = runners;
  }

  once(batch: Batch): Promise<Batch> {
    return this.#engines[0].call("run", [keyOf(0), batch]);
  }

  async *outputsOf(samples: Samples, options: OutputsOptions): AsyncGenerator<RunOutputs> {
    const { ahead = 0, signal } = options, engines = this.#engines;
    const running: Promise<RunOutputs>[] = [];
    let runs = 0;
    for await (const run of fullRuns(samples, options)) {
      checkAborted(signal);
      const result = this.#run(engines[runs++ % engines.length], run);
      // A failure is reported when its turn comes; until then it is not an unhandled one.
      result.catch(() => {});
      running.push(result);
      if (running.length > ahead * engines.length) yield await running.shift()!;
    }
    while (running.length > 0) yield await running.shift()!;
    await Promise.all(engines.map((engine) => engine.call("close", [])));
  }

  async #run(engine: PoolEngine, { samples, input }: FullRun): Promise<RunOutputs> {
    const outputs: Batch[] = [];
    for (const [i, { feeds }] of this.#runners.entries()) {
      outputs.push(await engine.call("run", [keyOf(i), feeds ? feeds(input) : input]));
    }
    return { samples, outputs };
  }
}

class InParts implements OpenModels {
  readonly #pool: EnginePool;
  readonly #runners: readonly Runner[];

  constructor(pool: EnginePool, runners: readonly Runner[]) {
    this.#pool = pool;
    this.#runners = runners;
  }

  once(batch: Batch): Promise<Batch> {
    return runOnce(this.#runners[0].whole(), batch, this.#pool.clients[0]);
  }

  /** One model after the other, once all samples are read. */
  async *outputsOf(samples: Samples, options: OutputsOptions): AsyncGenerator<RunOutputs> {
    const { signal } = options, relay = new Relay(this.#pool, this.#runners);
    await relay.clear();
    const runs: (readonly Sample[])[] = [];
    for await (const { samples: batch, input } of fullRuns(samples, options)) {
      checkAborted(signal);
      await relay.load(input);
      // Labels are asked for later, but no values.
      runs.push(batch.map((sample) => ({ ...sample, inputs: {} })));
    }
    await relay.run({ signal });
    for (const [i, batch] of runs.entries()) {
      yield { samples: batch, outputs: await relay.outputs(i) };
    }
    await relay.clear();
  }
}

/** Samples that run together, and what the model is fed then. */
interface FullRun {
  readonly samples: readonly Sample[];
  readonly input: Batch;
}

/** `samples`, run by run; one of fixed size that is not full is filled up with its last sample. */
async function* fullRuns(
  samples: Samples,
  { batching, runSize = 1 }: OutputsOptions,
): AsyncGenerator<FullRun> {
  const fill = (run: readonly Sample[]): FullRun => {
    const missing = Math.max(0, (batching.size ?? 0) - run.length);
    const repeated = new Array<Sample>(missing).fill(run[run.length - 1]);
    return { samples: run, input: stackSamples(batching, [...run, ...repeated]) };
  };
  const waiting = new Runs(batching, runSize);
  for await (const sample of samples) {
    const run = waiting.add(sample);
    if (run !== undefined) yield fill(run);
  }
  for (const run of waiting.rest()) yield fill(run);
}

/**
 * What the output `name` says to each sample of a run, `value` being that output, or the one of
 * another model that is compared with it.
 */
export function rowsOfRun(
  batching: Batching,
  { samples }: RunOutputs,
  name: string,
  value: Value,
): Float32Array[] {
  return rowsOf(batching, name, value, batching.size ?? samples.length).slice(0, samples.length);
}
