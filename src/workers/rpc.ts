/**
 * Calls to an object that lives in a worker: one message there, one back, progress in between.
 * Workers of Deno and browsers and those of Node's `worker_threads` look alike from here.
 *
 * @module
 */

import { AttuneError, checkAborted, type ErrorCode, type Remedy } from "../errors.ts";
import type { OnDone, Task } from "../progress.ts";

/** Either end of a worker's message channel. */
export interface Port {
  /** Sends a message. */
  post(message: unknown, transfer?: Transferable[]): void;
  /** Sets who gets the messages. */
  onMessage(handler: (message: unknown) => void): void;
  /** Sets who hears that the far end crashed or ended by itself; only on the caller's side. */
  onError?(handler: (error: Error) => void): void;
  /** Ends the worker at once; only on the caller's side. */
  terminate?(): void;
}

/** An object whose methods can be called from afar; the last argument is the call's task. */
// deno-lint-ignore no-explicit-any
type Service<T> = { [K in keyof T]: (...args: any[]) => unknown };

interface Request {
  readonly id: number;
  readonly method: string;
  readonly args: unknown[];
}
/** Calls whose answers nobody waits for any more. */
interface Dropped {
  readonly dropped: readonly number[];
}
type Response =
  | { readonly id: number; readonly kind: "progress"; readonly done: number }
  | { readonly id: number; readonly kind: "result"; readonly result: unknown }
  | {
    readonly id: number;
    readonly kind: "error";
    readonly code: ErrorCode;
    readonly remedies: readonly Remedy[];
    readonly message: string;
    readonly stack?: string;
  };

/**
 * Answers calls on `port` with the methods of `services`, one after another; each has names of its
 * own. A method's last argument is the call's {@linkcode Task}. A call that was dropped is not
 * begun; one that is under way hears of it by the task's signal, or ends when it next reports
 * progress.
 */
export function serve(services: readonly object[], port: Port): void {
  let queue = Promise.resolve();
  const waiting = new Map<number, AbortController>();
  port.onMessage((message) => {
    if ("dropped" in (message as Dropped)) {
      for (const id of (message as Dropped).dropped) waiting.get(id)?.abort();
      return;
    }
    const { id, method, args } = message as Request;
    const controller = new AbortController(), { signal } = controller;
    waiting.set(id, controller);
    const onDone: OnDone = (done) => {
      checkAborted(signal);
      port.post({ id, kind: "progress", done });
    };
    queue = queue.then(async () => {
      try {
        checkAborted(signal);
        const service = services.find((each) => method in each) as Service<Record<string, unknown>>;
        const result = await service[method](...args, { onDone, signal } satisfies Task);
        port.post({ id, kind: "result", result }, buffersOf(result));
      } catch (error) {
        const { code, remedies } = error instanceof AttuneError
          ? error
          : { code: "internal" as const, remedies: [] };
        const { message, stack } = error as Error;
        port.post({ id, kind: "error", code, remedies, message, stack });
      } finally {
        waiting.delete(id);
      }
    });
  });
}

/** The buffers within a result, which move instead of being copied. */
function buffersOf(value: unknown, buffers: Set<ArrayBuffer> = new Set()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) buffers.add(value.buffer as ArrayBuffer);
  else if (typeof value === "object" && value !== null) {
    for (const part of value instanceof Map ? value.values() : Object.values(value)) {
      buffersOf(part, buffers);
    }
  }
  return [...buffers];
}

/** Options of {@linkcode Client}. */
export interface ClientOptions {
  /**
   * Seconds that the far end may be silent while it owes an answer: no result, no progress. Past
   * that it is taken for hung, ended, and all calls fail. Seconds in which this end did not run,
   * asleep or busy, do not count. Default: any time.
   */
  patience?: number;
  /** The methods to which that applies. Default: all. */
  watched?: ReadonlySet<string>;
}

interface Call {
  readonly method: string;
  readonly onDone?: OnDone;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Times within the patience that silence is looked for. */
const LOOKS = 60;

/** The far end of {@linkcode serve}. */
export class Client<T extends Service<T>> implements Disposable {
  readonly #port: Port;
  readonly #patience: number;
  readonly #watched: ReadonlySet<string> | undefined;
  /** In the order in which they are answered. */
  readonly #pending = new Map<number, Call>();
  #next = 0;
  /** Why no call can succeed any more. */
  #ended: Error | undefined;
  /** Why none does for now. */
  #stopped: Error | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  /** Looks since the last message. */
  #silent = 0;

  /** A client over `port`. */
  constructor(port: Port, { patience = Infinity, watched }: ClientOptions = {}) {
    this.#port = port;
    this.#patience = patience;
    this.#watched = watched;
    port.onMessage((message) => {
      this.#silent = 0;
      const response = message as Response;
      const call = this.#pending.get(response.id);
      if (call === undefined) return;
      if (response.kind === "progress") return call.onDone?.(response.done);
      this.#pending.delete(response.id);
      this.#watchOver();
      if (response.kind === "result") return call.resolve(response.result);
      const error = new AttuneError(response.code, response.message, {
        remedies: response.remedies,
      });
      error.stack = response.stack;
      call.reject(error);
    });
    port.onError?.((cause) =>
      this.#end(new AttuneError("internal", `A worker crashed: ${cause.message}`, { cause }))
    );
  }

  /** Calls `method`; `onDone` hears of progress. Once the far end is gone, it fails at once. */
  call<K extends keyof T & string>(
    method: K,
    args: DropLast<Parameters<T[K]>>,
    onDone?: OnDone,
  ): Promise<Awaited<ReturnType<T[K]>>> {
    const refused = this.#ended ?? this.#stopped;
    if (refused) return Promise.reject(refused);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#port.post({ id, method, args });
      this.#pending.set(id, {
        method,
        resolve: resolve as (value: unknown) => void,
        reject,
        onDone,
      });
      this.#watchOver();
    });
  }

  /** Fails the calls under way with `error`, and every later one until {@linkcode resume}. */
  stop(error: Error): void {
    if (this.#ended) return;
    this.#stopped = error;
    this.#port.post({ dropped: [...this.#pending.keys()] } satisfies Dropped);
    this.#fail(error);
  }

  /** Takes calls again after {@linkcode stop}. */
  resume(): void {
    this.#stopped = undefined;
  }

  /** Ends the worker; calls under way fail, and so does every later one. */
  [Symbol.dispose](): void {
    this.#end(new AttuneError("aborted", "Stopped"));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#port.terminate?.();
    this.#fail(this.#ended);
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#watchOver();
  }

  /** Looks for silence as long as an answer is owed. */
  #watchOver(): void {
    if (this.#patience === Infinity) return;
    if (this.#pending.size === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    } else if (this.#watch === undefined) {
      this.#silent = 0;
      // Looks are counted, not time: while the machine sleeps, there are none.
      this.#watch = setInterval(() => {
        const [{ method }] = this.#pending.values();
        if (this.#watched?.has(method) === false || ++this.#silent <= LOOKS) return;
        this.#end(
          new AttuneError(
            "internal",
            `A worker hangs: it has not said a word for ${this.#patience} seconds while it was ` +
              `asked for "${method}"; use another runtime, or more patience for a slow machine`,
          ),
        );
      }, 1000 * this.#patience / LOOKS);
    }
  }
}

/** The parameters without the trailing {@linkcode Task}, which the channel supplies. */
type DropLast<P extends unknown[]> = P extends [...infer Head, (infer Last)?]
  ? Task extends Last ? Head : P
  : P;

/** Two ports that are each other's far end, for calls without a worker. */
export function portPair(): [Port, Port] {
  const handlers: Array<(message: unknown) => void> = [() => {}, () => {}];
  const port = (side: 0 | 1): Port => ({
    post: (message) => queueMicrotask(() => handlers[1 - side](message)),
    onMessage: (handler) => void (handlers[side] = handler),
  });
  return [port(0), port(1)];
}
