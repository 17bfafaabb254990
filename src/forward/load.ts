/**
 * Reads samples into the engines of a pool.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import { checkCount } from "../plan/options.ts";
import type { Plan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import { fitsSession, runOnce } from "./relay.ts";
import type { Sample, SampleSource } from "../samples/sample.ts";
import { batchSizeFor, Digest, profile } from "./batches.ts";
import { type Batching, isApart, Runs, stackSamples, tooFew } from "./batching.ts";
import { LANES } from "../engine/lanes.ts";
import type { LoadedBatches } from "./loaded.ts";
import { type Batched, type BatchingOptions, findBatching } from "./probe.ts";

/** What is wanted of {@linkcode loadSamples}. */
export interface LoadOptions extends BatchingOptions {
  /** Samples kept out, at most; where a model takes several in every run, at least one run of them. */
  readonly heldOut: number;
  /** One in so many samples is kept out. Default: 16. */
  readonly heldOutEvery?: number;
  /**
   * Whether single samples will be picked out of batches: where that cannot be done, a batch has one.
   * Default: false.
   */
  readonly apart?: boolean;
  /** Stops the work. */
  readonly signal?: AbortSignal;
  /** Hears of progress. */
  readonly onProgress?: OnProgress;
}

/** Samples, read. */
export interface LoadedSamples {
  /** What the engines hold. */
  readonly loaded: LoadedBatches;
  /** What was kept out. */
  readonly heldOut: Sample[];
  /** A digest of what the engines hold. */
  readonly digest: string;
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** How `samples` become runs of the float model of `plan`; the first engine tries it. */
export async function batchSamples(
  plan: Plan,
  samples: SampleSource,
  pool: EnginePool,
  options: BatchingOptions,
): Promise<Batched> {
  if (options.batch !== undefined) checkCount("batch", options.batch);
  const [client] = pool.clients, { inputs, outputs } = plan.graph;
  let opened: Promise<void> | undefined;
  const whole = fitsSession(plan.graph);
  const batched = await findBatching({ inputs, outputs }, samples, async (batch) => {
    if (!whole) return await runOnce(plan.model, batch, client);
    await (opened ??= client.call("open", opening("probe", plan.model, { optimization: "basic" })));
    return await client.call("run", ["probe", batch]);
  }, options);
  await client.call("close", []);
  return batched;
}

/**
 * Streams the samples into the engines' lanes, which hold nothing else afterwards; some stay here to check the result on.
 *
 * @throws {AttuneError} `bad-data` where there are no samples or they do not fit the model.
 */
export async function loadSamples(
  plan: Plan,
  source: SampleSource,
  pool: EnginePool,
  options: LoadOptions,
): Promise<LoadedSamples> {
  const { heldOut: wanted, heldOutEvery = 16, apart = false, signal, onProgress } = options;
  // A job before this one may have left samples there.
  await Promise.all(pool.clients.map((client) => client.call("clear", [])));
  const { batching, samples, warnings: found } = await batchSamples(plan, source, pool, options);
  const fixed = batching.size ?? 1, warnings = [...found];
  const heldOut: Sample[] = [], sizes: number[] = [], shapesSeen = new Set<string>();
  const digest = new Digest();
  let read = 0, full = 0, size = fixed, runs = new Runs(batching, size), first: Sample | undefined;
  let shapes: LoadedBatches["shapes"] | undefined;
  const flush = async (run: readonly Sample[]) => {
    const lane = sizes.length % LANES;
    sizes.push(run.length);
    shapesSeen.add(batching.inputs.map(({ name }) => run[0].inputs[name].dims).join("|"));
    const batch = stackSamples(batching, run);
    digest.add(batch);
    await pool.ofLane(lane).call("load", [lane, batch]);
  };
  for await (const sample of samples) {
    checkAborted(signal);
    read++;
    onProgress?.({ stage: "read samples", done: read, total: 0, detail: sample.source });
    // Spread over the set, some are not calibrated on.
    if (fixed === 1 && read % heldOutEvery === 0 && heldOut.length < wanted) {
      heldOut.push(sample);
      continue;
    }
    if (fixed === 1 && shapes === undefined) {
      shapes = await profile(plan, stackSamples(batching, [sample]), pool);
      size = batching.size ?? batchSize(shapes, batching, options);
      [runs, first] = [new Runs(batching, size), sample];
    }
    const run = runs.add(sample);
    if (run === undefined) continue;
    // What the model takes together is kept out together: the second run, and then one in so many.
    const room = heldOut.length === 0 || heldOut.length + fixed <= wanted;
    if (fixed > 1 && wanted > 0 && ++full % heldOutEvery === 2 && room) {
      heldOut.push(...run);
      continue;
    }
    shapes ??= await profile(plan, stackSamples(batching, run), pool);
    await flush(run);
  }
  // Runs of a fixed size are never filled up with repetitions.
  const rest = runs.rest(), left = fixed === 1 ? 0 : rest.reduce((sum, run) => sum + run.length, 0);
  if (left === 0) { for (const run of rest) await flush(run); }
  else {warnings.push(
      `${left} samples were left out: the model takes ${fixed} of one shape at a time`,
    );}
  if (shapes === undefined || sizes.length === 0) {
    throw tooFew(plan.model.name, read, batching);
  }
  if (fixed > 1 && wanted > 0 && heldOut.length === 0) {
    warnings.push(
      `nothing was kept out to check the result on: the model takes ${fixed} samples at a time; ` +
        `give at least ${2 * fixed}`,
    );
  }
  const bySample = apart && batching.size === undefined && isApart(batching)
    ? tensorsBySample(shapes, await profile(plan, stackSamples(batching, [first!, first!]), pool))
    : undefined;
  return {
    loaded: {
      batches: sizes.length,
      samples: sizes.reduce((sum, size) => sum + size, 0),
      sizes,
      batchSize: size,
      shapes,
      batching,
      uniform: shapesSeen.size === 1,
      bySample,
    },
    heldOut,
    digest: digest.value,
    warnings,
  };
}

/** How many samples to run at a time. */
function batchSize(
  shapes: LoadedBatches["shapes"],
  batching: Batching,
  { apart = false, batch = Infinity }: LoadOptions,
): number {
  if (apart && !isApart(batching)) return 1;
  return Math.min(batch, batchSizeFor(shapes, 1));
}

/** The tensors that are twice as long along their first axis with two samples as with one. */
function tensorsBySample(
  one: LoadedBatches["shapes"],
  two: LoadedBatches["shapes"],
): ReadonlySet<string> {
  const names = [...one].filter(([name, { dims: [length, ...rest] }]) =>
    length !== undefined && two.get(name)?.dims.join() === [2 * length, ...rest].join()
  ).map(([name]) => name);
  return new Set(names);
}
