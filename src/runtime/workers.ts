/**
 * Starts workers in Deno, browsers and Node.
 *
 * @module
 */

import type { Port } from "./rpc.ts";

/** A message channel of Deno and browsers, seen from either end. */
interface Channel {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", handler: (event: MessageEvent) => void): void;
}

/** A message channel of Node's `worker_threads`, seen from either end. */
interface NodeChannel {
  postMessage(message: unknown, transfer: never[]): void;
  on(type: "message", handler: (message: unknown) => void): unknown;
}

/** A port over a channel that calls `receive` for every message. */
function portOver(
  post: Port["post"],
  listen: (receive: (message: unknown) => void) => void,
): Port {
  let handler: (message: unknown) => void = () => {};
  listen((message) => handler(message));
  return { post, onMessage: (next) => void (handler = next) };
}

function webPort(channel: Channel): Port {
  return portOver(
    (message, transfer) => channel.postMessage(message, transfer ?? []),
    (receive) => channel.addEventListener("message", (event) => receive(event.data)),
  );
}

function nodePort(channel: NodeChannel): Port {
  return portOver(
    (message, transfer) => channel.postMessage(message, (transfer ?? []) as never[]),
    (receive) => void channel.on("message", receive),
  );
}

/** Starts a worker whose module is `url`; throws where no worker can start. */
export async function startWorker(url: URL): Promise<Port> {
  if (typeof Worker === "undefined") {
    const { Worker: NodeWorker } = await import("node:worker_threads");
    const worker = new NodeWorker(url);
    return {
      ...nodePort(worker),
      onError: (handler) => void worker.on("error", handler),
      terminate: () => void worker.terminate(),
    };
  }
  const worker = new Worker(url, { type: "module" });
  return {
    ...webPort(worker),
    onError: (handler) =>
      worker.addEventListener("error", (event) => {
        event.preventDefault();
        handler(new Error(event.message));
      }),
    terminate: () => worker.terminate(),
  };
}

/** The port of the worker that this runs in. */
export async function ownPort(): Promise<Port> {
  // In Deno and browsers the global scope takes messages; in Node the parent has a port.
  if ("postMessage" in globalThis) return webPort(globalThis as unknown as Channel);
  const { parentPort } = await import("node:worker_threads");
  return nodePort(parentPort!);
}
