/**
 * Reads samples into the engines of a pool.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { Sample, SampleSource } from "../samples/sample.ts";
import { batchSizeFor, Digest, fixedBatch, profile, stackSamples } from "./batches.ts";
import { LANES } from "./engine.ts";
import type { LoadedBatches } from "./job.ts";

/** What is wanted of {@linkcode loadSamples}. */
export interface LoadOptions {
  /** Samples kept out, at most. */
  readonly heldOut: number;
  /** One in so many samples is kept out. Default: 16. */
  readonly heldOutEvery?: number;
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
}

/**
 * Streams the samples into the engines' lanes, which hold nothing else afterwards; some stay here to check the result on.
 *
 * @throws {AttuneError} `bad-data` where there are no samples or they do not fit the model.
 */
export async function loadSamples(
  plan: Plan,
  samples: SampleSource,
  pool: EnginePool,
  { heldOut: wanted, heldOutEvery = 16, signal, onProgress }: LoadOptions,
): Promise<LoadedSamples> {
  // A job before this one may have left samples there.
  await Promise.all(pool.clients.map((client) => client.call("clear", [])));
  const { inputs } = plan.graph;
  const fixed = fixedBatch(inputs);
  const heldOut: Sample[] = [];
  const digest = new Digest();
  let batches = 0, count = 0, read = 0, size = fixed ?? 1;
  let shapes: LoadedBatches["shapes"] | undefined;
  let pending: Sample[] = [];
  const flush = async () => {
    const lane = batches++ % LANES;
    count += pending.length;
    const batch = stackSamples(inputs, pending);
    digest.add(batch);
    await pool.ofLane(lane).call("load", [lane, batch]);
    pending = [];
  };
  for await (const sample of samples) {
    checkAborted(signal);
    read++;
    onProgress?.({ stage: "read samples", done: read, total: 0, detail: sample.source });
    // Spread over the set, some are not calibrated on.
    if (read % heldOutEvery === 0 && heldOut.length < wanted) {
      heldOut.push(sample);
      continue;
    }
    pending.push(sample);
    if (pending.length < size) continue;
    if (shapes === undefined) {
      shapes = await profile(plan, stackSamples(inputs, pending), pool);
      size = fixed ?? batchSizeFor(shapes, pending.length);
    }
    if (pending.length === size) await flush();
  }
  // A fixed batch is never filled up with repetitions: the last few samples are left out.
  if (pending.length > 0 && shapes !== undefined && fixed === undefined) await flush();
  if (shapes === undefined || batches === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot calibrate ${plan.model.name} on ${read} samples: give at least ${fixed ?? 1}`,
    );
  }
  return {
    loaded: { batches, samples: count, batchSize: size, shapes },
    heldOut,
    digest: digest.value,
  };
}
