/**
 * Ports over the message channels of Deno's and browsers' workers.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Port } from "./rpc.ts";

/** A message channel of Deno and browsers, seen from either end. */
export interface Channel {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", handler: (event: MessageEvent) => void): void;
}

/** A port over a channel that calls `receive` for every message. */
export function portOver(
  post: Port["post"],
  listen: (receive: (message: unknown) => void) => void,
): Port {
  let handler: (message: unknown) => void = () => {};
  listen((message) => handler(message));
  return { post, onMessage: (next) => void (handler = next) };
}

/** The port of this very worker, or of one that was started. */
export function webPort(channel: Channel): Port {
  return portOver(
    (message, transfer) => channel.postMessage(message, transfer ?? []),
    (receive) => channel.addEventListener("message", (event) => receive(event.data)),
  );
}

/** The port of a worker of Deno or a browser that has just been started. */
export function workerPort(worker: Worker): Port {
  let handler: ((error: Error) => void) | undefined, early: Error | undefined;
  const hear = (error: Error) => {
    if (handler === undefined) early ??= error;
    else handler(error);
  };
  // From the start: Deno ends the program by an error of a worker that nobody listens for.
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    hear(new Error(event.message));
  });
  worker.addEventListener("messageerror", () => hear(new Error("its answer cannot be read")));
  return {
    ...webPort(worker),
    onError(next) {
      handler = next;
      if (early !== undefined) next(early);
      early = undefined;
    },
    terminate: () => worker.terminate(),
  };
}

/** What a worker says once it takes calls, or why it never will. */
export interface Ready {
  /** Whether it takes calls. */
  readonly ready: boolean;
  /** Why not. */
  readonly message?: string;
}

/**
 * Waits until the worker at the end of `port` is ready; `ask` runs once its answer is listened for.
 */
export function whenReady(port: Port, ask: () => void = () => {}): Promise<void> {
  return new Promise((resolve, reject) => {
    port.onMessage((message) => {
      const { ready, message: reason } = message as Ready;
      if (ready) resolve();
      else reject(new AttuneError("bad-option", reason ?? "A worker did not start"));
    });
    port.onError?.((error) =>
      reject(new AttuneError("internal", `A worker did not start: ${error.message}`))
    );
    ask();
  });
}
