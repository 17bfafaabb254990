/**
 * Calls to an object that lives in a worker: one message there, one back, progress in between.
 * Workers of Deno and browsers and those of Node's `worker_threads` look alike from here.
 *
 * @module
 */

import { AttuneError, type ErrorCode } from "../errors.ts";

/** Either end of a worker's message channel. */
export interface Port {
  /** Sends a message. */
  post(message: unknown, transfer?: Transferable[]): void;
  /** Sets who gets the messages. */
  onMessage(handler: (message: unknown) => void): void;
  /** Sets who hears of a crash; only on the caller's side. */
  onError?(handler: (error: Error) => void): void;
  /** Ends the worker at once; only on the caller's side. */
  terminate?(): void;
}

/** An object whose methods can be called from afar; the last argument reports progress. */
// deno-lint-ignore no-explicit-any
type Service<T> = { [K in keyof T]: (...args: any[]) => unknown };

interface Request {
  readonly id: number;
  readonly method: string;
  readonly args: unknown[];
}
type Response =
  | { readonly id: number; readonly kind: "progress"; readonly done: number }
  | { readonly id: number; readonly kind: "result"; readonly result: unknown }
  | {
    readonly id: number;
    readonly kind: "error";
    readonly code: ErrorCode;
    readonly message: string;
    readonly stack?: string;
  };

/** Called as work goes on, with how much was done since the last call. */
export type OnDone = (done: number) => void;

/** Answers calls on `port` with the methods of `service`, one after another. */
export function serve<T extends Service<T>>(service: T, port: Port): void {
  let queue = Promise.resolve();
  port.onMessage((message) => {
    const { id, method, args } = message as Request;
    const onDone: OnDone = (done) => port.post({ id, kind: "progress", done });
    queue = queue.then(async () => {
      try {
        const result = await service[method as keyof T](...args, onDone);
        port.post({ id, kind: "result", result }, buffersOf(result));
      } catch (error) {
        const code = error instanceof AttuneError ? error.code : "internal";
        const { message, stack } = error as Error;
        port.post({ id, kind: "error", code, message, stack });
      }
    });
  });
}

/** The buffers within a result, which move instead of being copied. */
function buffersOf(value: unknown, found: Set<ArrayBuffer> = new Set()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) found.add(value.buffer as ArrayBuffer);
  else if (typeof value === "object" && value !== null) {
    for (const part of value instanceof Map ? value.values() : Object.values(value)) {
      buffersOf(part, found);
    }
  }
  return [...found];
}

/** The far end of {@linkcode serve}. */
export class Client<T extends Service<T>> implements Disposable {
  readonly #port: Port;
  readonly #pending = new Map<
    number,
    { resolve(value: unknown): void; reject(error: Error): void; onDone?: OnDone }
  >();
  #next = 0;

  /** A client over `port`. */
  constructor(port: Port) {
    this.#port = port;
    port.onMessage((message) => {
      const response = message as Response;
      const call = this.#pending.get(response.id);
      if (call === undefined) return;
      if (response.kind === "progress") return call.onDone?.(response.done);
      this.#pending.delete(response.id);
      if (response.kind === "result") return call.resolve(response.result);
      const error = new AttuneError(response.code, response.message);
      error.stack = response.stack;
      call.reject(error);
    });
    port.onError?.((cause) =>
      this.#fail(new AttuneError("internal", `A worker crashed: ${cause.message}`, { cause }))
    );
  }

  /** Calls `method`; `onDone` hears of progress. */
  call<K extends keyof T & string>(
    method: K,
    args: DropLast<Parameters<T[K]>>,
    onDone?: OnDone,
  ): Promise<Awaited<ReturnType<T[K]>>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (value: unknown) => void, reject, onDone });
      this.#port.post({ id, method, args });
    });
  }

  /** Ends the worker; calls under way fail. */
  [Symbol.dispose](): void {
    this.#port.terminate?.();
    this.#fail(new AttuneError("aborted", "Stopped"));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

/** The parameters without the trailing {@linkcode OnDone}, which the channel supplies. */
type DropLast<P extends unknown[]> = P extends [...infer Head, OnDone?] ? Head : P;

/** Two ports that are each other's far end, for calls without a worker. */
export function portPair(): [Port, Port] {
  const handlers: Array<(message: unknown) => void> = [() => {}, () => {}];
  const port = (own: 0 | 1): Port => ({
    post: (message) => queueMicrotask(() => handlers[1 - own](message)),
    onMessage: (handler) => void (handlers[own] = handler),
  });
  return [port(0), port(1)];
}
