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
