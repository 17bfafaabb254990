/**
 * Progress of long work, as typed events.
 *
 * @module
 */

/** How far a stage has come. */
export interface ProgressEvent {
  /** The stage's name. */
  readonly stage: string;
  /** Units done. */
  readonly done: number;
  /** Units in all; 0 where that is not known. */
  readonly total: number;
  /** What is being worked on. */
  readonly detail?: string;
}

/** Hears of progress. */
export type OnProgress = (event: ProgressEvent) => void;

/** Called as work goes on, with how much was done since the last call. */
export type OnDone = (done: number) => void;

/** How long work is watched and stopped; both are for whoever asked for it. */
export interface Task {
  /** Hears of progress. Default: nobody. */
  readonly onDone?: OnDone;
  /** Stops the work at its next pause. Default: nothing does. */
  readonly signal?: AbortSignal;
}
