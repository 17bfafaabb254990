/**
 * Pools over workers that a page starts itself: only its bundler knows where a worker's module
 * lies.
 *
 * @example In the worker's module, where `attune/worker` will not do
 * ```ts ignore
 * import * as ort from "onnxruntime-web/wasm";
 * import { onnxruntime, serveEngine } from "attune/browser";
 *
 * ort.env.wasm.numThreads = 1;
 * await serveEngine(onnxruntime(ort), { memory: 2 ** 28 });
 * ```
 *
 * @example In the page
 * ```ts ignore
 * const pool = await startWorkers(() =>
 *   new Worker(new URL("./engine.js", import.meta.url), { type: "module" })
 * );
 * ```
 *
 * @module
 */

import { engineServices } from "../engine/engine.ts";
import { LANES } from "../engine/lanes.ts";
import { opfsSpools } from "../engine/opfs_spool.ts";
import { cachedSpools, memorySpool } from "../engine/spool.ts";
import { Kernel } from "../kernel/kernel.ts";
import { engineAt, EnginePool } from "./pool.ts";
import { type Channel, type Ready, webPort, whenReady, workerPort } from "./ports.ts";
import { serve } from "./rpc.ts";
import type { Runtime } from "../runtime/session.ts";

/** Options of {@linkcode serveEngine}. */
export interface EngineOptions {
  /** The compiled kernel. Default: the strict build that travels with the library. */
  module?: WebAssembly.Module;
  /**
   * Bytes of activations that are kept in memory; the rest goes to the origin's private file
   * system. Default: all of them, and no files.
   */
  memory?: number;
}

/** Makes the worker that this runs in an engine over `runtime`, and tells the page so. */
export async function serveEngine(runtime: Runtime, options: EngineOptions = {}): Promise<void> {
  const port = webPort(globalThis as unknown as Channel);
  const { module, memory } = options;
  try {
    const spools = memory === undefined
      ? memorySpool
      : cachedSpools(memory, (await opfsSpools()).factory);
    serve(engineServices(runtime, spools, Kernel.create(module)), port);
    port.post({ ready: true } satisfies Ready);
  } catch (error) {
    port.post({ ready: false, message: (error as Error).message } satisfies Ready);
  }
}

/**
 * A pool of the engines that `workers` have become by {@linkcode serveEngine}. Call it in the same
 * turn that starts them, since it listens for their first word. Disposing of it ends the workers.
 *
 * @throws {AttuneError} `internal` where a worker does not start.
 */
export async function workerPool(workers: readonly Worker[]): Promise<EnginePool> {
  const ports = workers.map(workerPort);
  try {
    await Promise.all(ports.map((port) => whenReady(port)));
  } catch (error) {
    for (const port of ports) port.terminate?.();
    throw error;
  }
  return new EnginePool(ports.map((port) => engineAt(port)));
}

/** Options of {@linkcode startWorkers}. */
export interface WorkersOptions {
  /** Workers to start, from 1. Default: the cores, at most 8. */
  threads?: number;
}

/**
 * A pool of workers that `start` starts, each a module that calls {@linkcode serveEngine}, such as
 * `attune/worker`. They need no threads within, and so no headers from the server. Disposing of the
 * pool ends them.
 *
 * @throws {AttuneError} `internal` where a worker does not start, `bad-option` where one has no
 * runtime or no place for what does not fit into memory.
 */
export function startWorkers(
  start: () => Worker,
  { threads = navigator.hardwareConcurrency }: WorkersOptions = {},
): Promise<EnginePool> {
  const length = Math.max(1, Math.min(threads, LANES));
  return workerPool(Array.from({ length }, start));
}
