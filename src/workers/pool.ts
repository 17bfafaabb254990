/**
 * Engines to spread work over: one per worker, or one in this very thread.
 *
 * @module
 */

import { type Engine, engineServices } from "../engine/engine.ts";
import { LANES, RUNTIME_METHODS } from "../engine/lanes.ts";
import { Solver } from "../engine/solver.ts";
import { memorySpool, type SpoolFactory } from "../engine/spool.ts";
import { Kernel } from "../kernel/kernel.ts";
import { AttuneError } from "../errors.ts";
import { Client, type Port, portPair, serve } from "./rpc.ts";
import type { OpenOptions, Runtime } from "../runtime/session.ts";

/** Engines that share the work of a job. Dispose of a pool once no job uses it any more. */
export class EnginePool implements Disposable {
  /**
   * The engines.
   *
   * @internal
   */
  readonly clients: readonly Client<Engine>[];
  readonly #cleanUp: () => void;

  /**
   * A pool of `clients`; `cleanUp` runs when it is disposed of.
   *
   * @internal
   */
  constructor(clients: readonly Client<Engine>[], cleanUp: () => void = () => {}) {
    this.clients = clients;
    this.#cleanUp = cleanUp;
  }

  /**
   * The engine that keeps the samples of `lane`.
   *
   * @internal
   */
  ofLane(lane: number): Client<Engine> {
    return this.clients[lane % this.clients.length];
  }

  /**
   * Runs `work` on every lane from 0 to `lanes`; results come back in the order of the lanes.
   *
   * @internal
   */
  perLane<T>(
    lanes: number,
    work: (client: Client<Engine>, lane: number) => Promise<T>,
  ): AsyncIterable<T> {
    const results = Array.from({ length: Math.min(lanes, LANES) }, (_, lane) => {
      const result = work(this.ofLane(lane), lane);
      // A failure is reported when its turn comes; until then it is not an unhandled one.
      result.catch(() => {});
      return result;
    });
    return (async function* () {
      for (const result of results) yield await result;
    })();
  }

  /**
   * Runs `tasks` on whichever engine is free; results are in the order of the tasks.
   *
   * @internal
   */
  async run<T>(tasks: readonly ((client: Client<Engine>) => Promise<T>)[]): Promise<T[]> {
    const results = new Array<T>(tasks.length);
    let next = 0;
    await Promise.all(this.clients.map(async (client) => {
      for (let i = next++; i < tasks.length; i = next++) results[i] = await tasks[i](client);
    }));
    return results;
  }

  /**
   * Opens the model of `bytes` under the name `key` in every engine.
   *
   * @internal
   */
  async open(key: string, bytes: Uint8Array, options: OpenOptions = {}): Promise<void> {
    await Promise.all(this.clients.map((client) => client.call("open", [key, bytes, options])));
  }

  /**
   * Lets calls fail at once when `signal` fires, those under way too: a job does not wait for what
   * its engines are in the middle of. Once the result is disposed of, the pool serves the next job.
   *
   * @internal
   */
  stopOn(signal: AbortSignal | undefined): Disposable {
    const stop = () => {
      const error = new AttuneError("aborted", "Stopped", { cause: signal!.reason });
      for (const client of this.clients) client.stop(error);
    };
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    return {
      [Symbol.dispose]: () => {
        signal?.removeEventListener("abort", stop);
        for (const client of this.clients) client.resume();
      },
    };
  }

  /**
   * Closes all models in all engines.
   *
   * @internal
   */
  async close(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.call("close", [])));
  }

  /**
   * Ends the engines at once, whatever they are doing, and removes what they spooled. What `using`
   * does at the end of its block, for those who have no such statement. Nothing keeps the process
   * alive afterwards.
   */
  dispose(): void {
    for (const client of this.clients) client[Symbol.dispose]();
    this.#cleanUp();
  }

  /** The same as {@linkcode dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * The engine in the worker at the end of `port`, which is taken for hung after `patience` seconds
 * of silence in the runtime. The kernel ends by construction, however long a layer takes it.
 */
export function engineAt(port: Port, patience: number = 3600): Client<Engine> {
  return new Client<Engine>(port, { patience, watched: RUNTIME_METHODS });
}

/** What an engine in this thread works with. */
export interface InlineOptions {
  /**
   * The compiled kernel, for hosts that compile no bytes. Default: the one that travels with the
   * library.
   */
  kernel?: WebAssembly.Module;
  /**
   * Where activations wait between passes. Default: in memory.
   *
   * @internal
   */
  spools?: SpoolFactory;
}

/**
 * A pool of one engine in this thread: for tests, and where no worker can start.
 *
 * @example
 * ```ts
 * import { inlinePool } from "./pool.ts";
 * import { loadBackend } from "../runtime/backends.ts";
 *
 * using pool = inlinePool(await loadBackend("web"));
 * if (pool.clients.length !== 1) throw new Error("unexpected");
 * ```
 */
export function inlinePool(runtime: Runtime, options: InlineOptions = {}): EnginePool {
  const { kernel, spools = memorySpool } = options;
  return poolOf(engineServices(runtime, spools, Kernel.create(kernel)));
}

/**
 * A pool of one engine in this thread that only rounds: it has no runtime, and takes no samples.
 */
export function solverPool({ kernel }: Pick<InlineOptions, "kernel"> = {}): EnginePool {
  return poolOf([new Solver(Kernel.create(kernel))]);
}

function poolOf(services: readonly object[]): EnginePool {
  const [near, far] = portPair();
  serve(services, far);
  return new EnginePool([new Client<Engine>(near)]);
}
