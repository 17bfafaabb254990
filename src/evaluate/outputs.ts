/**
 * What models compute of samples, side by side: how samples become runs, and their outputs rows again.
 *
 * @module
 */

import type { Batch } from "../engine/spool.ts";
import { checkAborted } from "../errors.ts";
import { type Batching, rowsOf, Runs, stackSamples } from "../forward/batching.ts";
import { fitsSession, Relay, type Runner } from "../forward/relay.ts";
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

/**
 * Runs all of `runners` on `samples`, in the `engines` of `pool`; part by part, and in all engines, where
 * one of the models does not fit into a session. A run of fixed size that is not full is filled up with
 * its last sample: {@linkcode rowsOfRun} cuts off what came of that.
 */
export async function* outputsOf(
  pool: EnginePool,
  runners: readonly Runner[],
  samples: AsyncIterable<Sample> | Iterable<Sample>,
  options: OutputsOptions & {
    /** Engines that open the models. Default: all. */
    readonly engines?: readonly PoolEngine[];
  },
): AsyncGenerator<RunOutputs> {
  const { engines = pool.clients } = options;
  yield* runners.every(({ graph }) => fitsSession(graph))
    ? outputsInSessions(engines, runners, samples, options)
    : outputsInParts(pool, runners, samples, options);
}

/** {@linkcode outputsOf} of models that are open as a whole in each of `engines`, which take turns. */
export async function* outputsInSessions(
  engines: readonly PoolEngine[],
  runners: readonly WholeRunner[],
  samples: AsyncIterable<Sample> | Iterable<Sample>,
  options: OutputsOptions,
): AsyncGenerator<RunOutputs> {
  const { ahead = 0, signal } = options;
  const keyOf = (runner: number) => `outputs ${runner}`;
  for (const [i, { whole, options: how }] of runners.entries()) {
    const model = opening(keyOf(i), whole(), how);
    await Promise.all(engines.map((engine) => engine.call("open", model)));
  }
  const outputsOn = async (engine: PoolEngine, { samples, input }: FullRun) => {
    const outputs: Batch[] = [];
    for (const [i, { feeds }] of runners.entries()) {
      outputs.push(await engine.call("run", [keyOf(i), feeds ? feeds(input) : input]));
    }
    return { samples, outputs };
  };
  const running: Promise<RunOutputs>[] = [];
  let runs = 0;
  for await (const run of fullRuns(samples, options)) {
    checkAborted(signal);
    const result = outputsOn(engines[runs++ % engines.length], run);
    // A failure is reported when its turn comes; until then it is not an unhandled one.
    result.catch(() => {});
    running.push(result);
    if (running.length > ahead * engines.length) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
  await Promise.all(engines.map((engine) => engine.call("close", [])));
}

/** {@linkcode outputsOf} of models too large for a session: one by one, once all samples are read. */
async function* outputsInParts(
  pool: EnginePool,
  runners: readonly Runner[],
  samples: AsyncIterable<Sample> | Iterable<Sample>,
  options: OutputsOptions,
): AsyncGenerator<RunOutputs> {
  const { signal } = options, relay = new Relay(pool, runners);
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

/** Samples that run together, and what the model is fed then. */
interface FullRun {
  readonly samples: readonly Sample[];
  readonly input: Batch;
}

/** `samples`, run by run; one of fixed size that is not full is filled up with its last sample. */
async function* fullRuns(
  samples: AsyncIterable<Sample> | Iterable<Sample>,
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
 * What the output `name` says to each sample of a run, `value` being that output, or the one of another
 * model that is compared with it.
 */
export function rowsOfRun(
  batching: Batching,
  { samples }: RunOutputs,
  name: string,
  value: Value,
): Float32Array[] {
  return rowsOf(batching, name, value, batching.size ?? samples.length).slice(0, samples.length);
}
