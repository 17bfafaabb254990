/**
 * Progress of long work, as typed events.
 *
 * @module
 */

/**
 * The stages of long work: reading samples, measuring what widths cost, calibrating and rounding,
 * checking the result, running the points of a sweep, evaluating a model.
 */
export type ProgressStage =
  | "read samples"
  | "measure"
  | "quantize"
  | "check"
  | "compare"
  | "evaluate";

/** How far a stage has come. */
export interface ProgressEvent {
  /** The stage. */
  readonly stage: ProgressStage;
  /** Units done. */
  readonly done: number;
  /** Units in all; 0 where that is not known. */
  readonly total: number;
  /** What is being worked on. */
  readonly detail?: string;
}

/**
 * Time left is told once this share is done and this many seconds are spent: before, it is a
 * guess.
 */
const LEAST_SHARE = 0.02, LEAST_SECONDS = 1;

/** Seconds left of a stage that took `spent` seconds so far; undefined where nobody can tell. */
export function timeLeft({ done, total }: ProgressEvent, spent: number): number | undefined {
  const share = total > 0 ? done / total : 0;
  if (share < LEAST_SHARE || share >= 1 || spent < LEAST_SECONDS) return undefined;
  return spent * (1 - share) / share;
}

/** Hears of progress. */
export type OnProgress = (event: ProgressEvent) => void;

/** How a caller watches and stops a job. */
export interface WatchOptions {
  /** Stops the job; it then fails with `aborted`. Default: nothing does. */
  signal?: AbortSignal;
  /** Called as the job goes on. Default: nobody is. */
  onProgress?: OnProgress;
}

/** Called as work goes on, with how much was done since the last call. */
export type OnDone = (done: number) => void;

/** How long work is watched and stopped; both are for whoever asked for it. */
export interface Task {
  /** Hears of progress. Default: nobody. */
  readonly onDone?: OnDone;
  /** Stops the work at its next pause. Default: nothing does. */
  readonly signal?: AbortSignal;
}

/**
 * How far a stage has come: units are added as they are done. What was foreseen and what is done
 * need not agree on the way; at each milestone they do.
 *
 * @example
 * ```ts
 * import { Progress, type ProgressEvent } from "./progress.ts";
 *
 * const seen: ProgressEvent[] = [];
 * const progress = new Progress((event) => seen.push(event), "quantize", 4);
 * progress.add(1, "first");
 * progress.reach(4, "last");
 * if (seen.map(({ done }) => done).join() !== "1,4") throw new Error("unexpected");
 * ```
 */
export class Progress {
  readonly #onProgress: OnProgress | undefined;
  readonly #stage: ProgressEvent["stage"];
  readonly #total: number;
  #done = 0;
  #milestone = 0;

  /** Progress of `stage`, which has `total` units; `onProgress` hears of it. */
  constructor(onProgress: OnProgress | undefined, stage: ProgressEvent["stage"], total: number) {
    this.#onProgress = onProgress;
    this.#stage = stage;
    this.#total = total;
  }

  /** Adds `units` that were done on `detail`. */
  add(units: number, detail?: string): void {
    this.#tell(this.#done + units, detail);
  }

  /** All up to here is done: as many units as that was foreseen to be since the last milestone. */
  reach(units: number, detail?: string): void {
    this.#milestone += units;
    this.#tell(this.#milestone, detail);
  }

  #tell(done: number, detail: string | undefined): void {
    // Never back: what took more than was foreseen waits for its milestone.
    this.#done = Math.max(this.#done, Math.min(done, this.#total));
    this.#onProgress?.({ stage: this.#stage, done: this.#done, total: this.#total, detail });
  }
}
