/**
 * Where the time of a job goes.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import type { Report } from "../report/report.ts";

/** The stages of a job in their order, with the seconds that each took. */
export class Stages {
  readonly #list: { name: string; seconds: number }[] = [];
  readonly #signal: AbortSignal | undefined;

  /** None so far; `signal` stops the job between two of them. */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** All stages so far. */
  get list(): Report["stages"] {
    return this.#list;
  }

  /** Does `work` as the stage `name`. */
  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await work();
    this.#list.push({ name, seconds: (performance.now() - started) / 1000 });
    checkAborted(this.#signal);
    return result;
  }

  /** Adds stages that were timed elsewhere. */
  add(seconds: ReadonlyMap<string, number>): void {
    for (const [name, value] of seconds) this.#list.push({ name, seconds: value });
  }
}
