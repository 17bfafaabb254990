/**
 * Limits of a server that takes whatever it is sent: bytes that are read, jobs that are at work.
 *
 * @module
 */

import { HttpError } from "./errors.ts";

/** What a server puts up with. */
export interface Limits {
  /** Bytes of a body. Memory is some ten times as much for each job. Default: 16 MB. */
  readonly bytes: number;
  /** Layers of a model. Default: 500. */
  readonly layers: number;
  /** Milliseconds from the start of a job, reading included. Default: 30,000. */
  readonly milliseconds: number;
  /** Jobs at work at the same time. Default: 2. */
  readonly jobs: number;
  /** Requests that wait for their turn, unread; more are sent away by 429. Default: 16. */
  readonly waiting: number;
}

/** The limits where nothing is said: for a Worker of 128 MB. */
export const DEFAULT_LIMITS: Limits = {
  bytes: 16e6,
  layers: 500,
  milliseconds: 30_000,
  jobs: 2,
  waiting: 16,
};

/** {@linkcode DEFAULT_LIMITS} but for what `settings`, by upper-case names, say. */
export function limitsFrom(settings: Readonly<Record<string, string | undefined>>): Limits {
  const names = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[];
  return Object.fromEntries(names.map((name) => {
    const text = settings[name.toUpperCase()];
    const value = text === undefined ? DEFAULT_LIMITS[name] : Number(text);
    if (Number.isSafeInteger(value) && value >= 0) return [name, value];
    throw new Error(`Cannot use ${name.toUpperCase()}=${text}: give a whole number`);
  })) as unknown as Limits;
}

/** Milliseconds between two looks whether it is one's turn. */
const LOOK = 10;

/**
 * Turns to work. A turn that is never given back, since the host ended its request in the middle,
 * ends by itself. Nobody is woken by another request, which some hosts forbid: who waits looks.
 */
export class Turns {
  readonly #limits: Limits;
  readonly #ends = new Map<object, number>();
  #waiting = new Map<object, number>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Waits for a turn, in no particular order, and does `work` in it. */
  async take<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const turn = {}, { jobs, waiting, milliseconds } = this.#limits;
    if (!this.#tryTake(turn)) {
      forgetLate(this.#waiting);
      if (this.#waiting.size >= waiting) {
        throw new HttpError(
          429,
          "busy",
          `${jobs} jobs are at work and ${this.#waiting.size} wait; try again in a moment`,
          { "retry-after": "1" },
        );
      }
      this.#waiting.set(turn, Date.now() + milliseconds);
      try {
        await this.#untilTaken(turn, signal);
      } finally {
        this.#waiting.delete(turn);
      }
    }
    const give = () => void this.#ends.delete(turn);
    // A host may end a request whose client is gone without running what follows.
    signal.addEventListener("abort", give, { once: true });
    try {
      return await work();
    } finally {
      signal.removeEventListener("abort", give);
      give();
    }
  }

  async #untilTaken(turn: object, signal: AbortSignal): Promise<void> {
    const end = this.#waiting.get(turn)!;
    while (!this.#tryTake(turn)) {
      await new Promise((resolve) => setTimeout(resolve, LOOK));
      signal.throwIfAborted();
      if (Date.now() > end) {
        throw new HttpError(503, "busy", "Other jobs took too long; try again later", {
          "retry-after": "10",
        });
      }
    }
  }

  #tryTake(turn: object): boolean {
    forgetLate(this.#ends);
    if (this.#ends.size >= this.#limits.jobs) return false;
    // A job ends itself in time; one that is still there a while later is no more.
    this.#ends.set(turn, Date.now() + 2 * this.#limits.milliseconds);
    return true;
  }
}

function forgetLate(ends: Map<object, number>): void {
  const now = Date.now();
  for (const [turn, end] of ends) if (end < now) ends.delete(turn);
}

/** The body of `request`, until `signal` fires; no more than `limit` bytes are ever read of it. */
export function limitedBody(
  request: Request,
  limit: number,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  const tooLarge = () =>
    new HttpError(413, "too-large", `The body has more than ${limit} bytes, which is the limit`);
  // A length that is told may be wrong; one that is too large is believed.
  if (Number(request.headers.get("content-length")) > limit) throw tooLarge();
  if (request.body === null) throw new HttpError(400, "no-body", "Send a model as the body");
  let count = 0;
  return request.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        count += chunk.length;
        if (count > limit) throw tooLarge();
        controller.enqueue(chunk);
      },
    }),
    { signal },
  );
}
