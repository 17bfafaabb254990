/**
 * What all parts of a job share.
 *
 * @module
 */

import type { Plan } from "../plan/plan.ts";
import type { OnProgress } from "../progress.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { LoadedBatches } from "./loaded.ts";

/** A plan, the samples that the engines of a pool hold for it, and how the work is watched. */
export interface Job {
  /** What becomes of each layer. */
  readonly plan: Plan;
  /** The engines. */
  readonly pool: EnginePool;
  /** What they hold. */
  readonly loaded: LoadedBatches;
  /** Decides every random choice. */
  readonly seed: number;
  /** Stops the job. */
  readonly signal?: AbortSignal;
  /** Hears of progress. */
  readonly onProgress?: OnProgress;
}
