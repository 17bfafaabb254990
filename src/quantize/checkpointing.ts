/**
 * Where a job takes its state from, and how often it saves it.
 *
 * @module
 */

import {
  type CheckpointStore,
  checkState,
  decodeCheckpoint,
  encodeCheckpoint,
  type Identity,
  type JobState,
} from "../calibrate/checkpoint.ts";
import type { Plan } from "../plan/plan.ts";

/** The state that a job goes on from, and what saves the states that it comes to. */
export interface Checkpointing {
  /** Undefined where the job starts from nothing. */
  readonly state: JobState | undefined;
  /** Saves a state, or lets it be where the last one took long. */
  readonly onState: (state: JobState) => Promise<void>;
}

/**
 * Opens `checkpoint` for the job of `plan` that `identity` tells from all others.
 *
 * @throws {AttuneError} `bad-option` where `resume` is set and the state there is not one of this
 * job.
 */
export async function openCheckpoint(
  plan: Plan,
  checkpoint: CheckpointStore,
  identity: Identity,
  { resume }: { readonly resume: boolean },
): Promise<Checkpointing> {
  const { name } = checkpoint, file = resume ? checkpoint.load() : undefined;
  return {
    state: file && checkState(name, plan, await decodeCheckpoint(name, file, identity)),
    onState: sparingly(async (state) => checkpoint.save(await encodeCheckpoint(identity, state))),
  };
}

/** Share of the time that saving may take, where it takes longer than a moment. */
const SAVING = 0.05, MOMENT = 500;

/**
 * `save`, but for calls that come too soon after one that took long: a large model's levels are
 * many.
 *
 * @param now the time in milliseconds.
 */
export function sparingly<T>(
  save: (state: T) => Promise<void>,
  now: () => number = () => performance.now(),
): (state: T) => Promise<void> {
  let next = 0;
  return async (state) => {
    const started = now();
    if (started < next) return;
    await save(state);
    const ended = now(), took = ended - started;
    next = took > MOMENT ? ended + took / SAVING : 0;
  };
}
