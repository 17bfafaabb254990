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
import type { Sample } from "../samples/sample.ts";
import type { SampleSource } from "../samples/to_sample.ts";
import { batchSizeFor, Digest, profile } from "./batches.ts";
import { type Batching, isApart, Runs, stackSamples, tooFew } from "./batching.ts";
import { LANES } from "../engine/lanes.ts";
import type { LoadedBatches } from "./loaded.ts";
import { type Batched, type BatchingOptions, findBatching } from "./probe.ts";

/** What is wanted of {@linkcode loadSamples}. */
export interface LoadOptions extends BatchingOptions {
  /**
   * Samples kept out, at most; where a model takes several in every run, at least one run of them.
   */
  readonly heldOut: number;
  /** One in so many samples is kept out. Default: 16. */
  readonly heldOutEvery?: number;
  /**
   * Whether single samples will be picked out of batches: where that cannot be done, a batch has
   * one. Default: false.
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
 * Streams the samples into the engines' lanes, which hold nothing else afterwards; some stay here
 * to check the result on.
 *
 * @throws {AttuneError} `bad-data` where there are no samples or they do not fit the model.
 */
export async function loadSamples(
  plan: Plan,
  source: SampleSource,
  pool: EnginePool,
  options: LoadOptions,
): Promise<LoadedSamples> {
  const { signal, onProgress } = options;
  // A job before this one may have left samples there.
  await Promise.all(pool.clients.map((client) => client.call("clear", [])));
  const { batching, samples, warnings } = await batchSamples(plan, source, pool, options);
  const loader = new Loader(plan, pool, batching, options);
  let read = 0;
  for await (const sample of samples) {
    checkAborted(signal);
    onProgress?.({ stage: "read samples", done: ++read, total: 0, detail: sample.source });
    await loader.add(sample);
  }
  return await loader.finish(warnings);
}

/** Samples on their way into the lanes. */
class Loader {
  readonly #plan: Plan;
  readonly #pool: EnginePool;
  readonly #batching: Batching;
  readonly #options: LoadOptions;
  /** Samples that the model takes in every run, whatever happens. */
  readonly #fixed: number;
  readonly #heldOut: Sample[] = [];
  readonly #digest = new Digest();
  /** Samples of each batch. */
  readonly #sizes: number[] = [];
  /** The shapes of samples, all different. */
  readonly #sampleShapes = new Set<string>();
  #runs: Runs;
  #batchSize: number;
  /** Samples read, and full runs of a fixed size. */
  #read = 0;
  #full = 0;
  #first: Sample | undefined;
  #shapes: LoadedBatches["shapes"] | undefined;

  constructor(plan: Plan, pool: EnginePool, batching: Batching, options: LoadOptions) {
    this.#plan = plan;
    this.#pool = pool;
    this.#batching = batching;
    this.#options = options;
    this.#batchSize = this.#fixed = batching.size ?? 1;
    this.#runs = new Runs(batching, this.#fixed);
  }

  /** Takes `sample` along, or keeps it out. */
  async add(sample: Sample): Promise<void> {
    const { heldOut: most, heldOutEvery = 16 } = this.#options, fixed = this.#fixed;
    this.#read++;
    // Spread over the set, some are not calibrated on.
    if (fixed === 1 && this.#read % heldOutEvery === 0 && this.#heldOut.length < most) {
      this.#heldOut.push(sample);
      return;
    }
    if (fixed === 1 && this.#shapes === undefined) {
      this.#shapes = await this.#profile([sample]);
      this.#batchSize = this.#batching.size ??
        batchSize(this.#shapes, this.#batching, this.#options);
      [this.#runs, this.#first] = [new Runs(this.#batching, this.#batchSize), sample];
    }
    const run = this.#runs.add(sample);
    if (run === undefined) return;
    // What the model takes together is kept out together: the second run, and then one in so many.
    const room = this.#heldOut.length === 0 || this.#heldOut.length + fixed <= most;
    if (fixed > 1 && most > 0 && ++this.#full % heldOutEvery === 2 && room) {
      this.#heldOut.push(...run);
      return;
    }
    await this.#load(run);
  }

  /** Loads a batch. */
  async #load(run: readonly Sample[]): Promise<void> {
    this.#shapes ??= await this.#profile(run);
    const batching = this.#batching, lane = this.#sizes.length % LANES;
    this.#sizes.push(run.length);
    this.#sampleShapes.add(batching.inputs.map(({ name }) => run[0].inputs[name].dims).join("|"));
    const batch = stackSamples(batching, run);
    this.#digest.add(batch);
    await this.#pool.ofLane(lane).call("load", [lane, batch]);
  }

  #profile(run: readonly Sample[]): Promise<LoadedBatches["shapes"]> {
    return profile(this.#plan, stackSamples(this.#batching, run), this.#pool);
  }

  /** Loads what still waits for others; `warnings` are those so far. */
  async finish(warnings: readonly string[]): Promise<LoadedSamples> {
    const rest = this.#runs.rest(), fixed = this.#fixed;
    // Runs of a fixed size are never filled up with repetitions.
    if (fixed === 1) { for (const run of rest) await this.#load(run); }
    const shapes = this.#shapes, sizes = this.#sizes, batching = this.#batching;
    if (shapes === undefined || sizes.length === 0) {
      throw tooFew(this.#plan.model.name, this.#read, batching);
    }
    const { apart = false } = this.#options, first = this.#first!;
    const bySample = apart && batching.size === undefined && isApart(batching)
      ? tensorsBySample(shapes, await this.#profile([first, first]))
      : undefined;
    return {
      loaded: {
        batches: sizes.length,
        samples: sizes.reduce((sum, size) => sum + size, 0),
        sizes,
        batchSize: this.#batchSize,
        shapes,
        batching,
        uniform: this.#sampleShapes.size === 1,
        bySample,
      },
      heldOut: this.#heldOut,
      digest: this.#digest.value,
      warnings: [
        ...warnings,
        ...(fixed > 1 ? this.#warnings(rest.reduce((sum, run) => sum + run.length, 0)) : []),
      ],
    };
  }

  /** What is to be said of runs of a fixed size, for which `excess` samples were too few. */
  #warnings(excess: number): string[] {
    const fixed = this.#fixed, { heldOut: most } = this.#options;
    const warnings: string[] = [];
    if (excess > 0) {
      warnings.push(
        `${excess} samples were left out: the model takes ${fixed} of one shape at a time`,
      );
    }
    if (most > 0 && this.#heldOut.length === 0) {
      warnings.push(
        `nothing was kept out to check the result on: the model takes ${fixed} samples at a time; ` +
          `give at least ${2 * fixed}`,
      );
    }
    return warnings;
  }
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
