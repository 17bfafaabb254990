/**
 * Starts workers in Deno and Node.
 *
 * @module
 */

import { type Channel, portOver, webPort, workerPort } from "./ports.ts";
import type { Port } from "./rpc.ts";

/** A message channel of Node's `worker_threads`, seen from either end. */
interface NodeChannel {
  postMessage(message: unknown, transfer: never[]): void;
  on(type: "message", handler: (message: unknown) => void): unknown;
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
      onError(handler) {
        worker.on("error", handler);
        worker.on("messageerror", handler);
        worker.on("exit", (code) => handler(new Error(`it ended by itself with code ${code}`)));
      },
      terminate: () => void worker.terminate(),
    };
  }
  return workerPort(new Worker(url, { type: "module" }));
}

/** The port of the worker that this runs in. */
export async function ownPort(): Promise<Port> {
  // In Deno and browsers the global scope takes messages; in Node the parent has a port.
  if ("postMessage" in globalThis) return webPort(globalThis as unknown as Channel);
  const { parentPort } = await import("node:worker_threads");
  return nodePort(parentPort!);
}
