/**
 * A pool of workers for Deno and Node, with a temporary folder for what they spool.
 *
 * @module
 */

import { availableParallelism } from "node:os";
import type { Engine } from "../engine/engine.ts";
import { LANES } from "../engine/lanes.ts";
import { AttuneError, checkAborted } from "../errors.ts";
import { cachedSpools } from "../engine/spool.ts";
import { fileSpools } from "../engine/file_spool.ts";
import { relaxedModule } from "../kernel/relaxed.ts";
import { type Backend, loadBackend } from "../runtime/backends.ts";
import { engineAt, EnginePool, inlinePool } from "./pool.ts";
import type { Client, Port } from "./rpc.ts";
import { whenReady } from "./ports.ts";
import { temporaryFolder } from "../files/temporary.ts";
import { startWorker } from "./start_worker.ts";

/** Options of {@linkcode startPool}. */
export interface PoolOptions {
  /** Workers to start; 0 does all work in this thread. Default: the cores, at most 8. */
  threads?: number;
  /** The runtime of the workers. Default: `"web"`. */
  backend?: Backend;
  /**
   * Lets sums in the kernel use fused multiply-adds where the machine has them: faster, but a seed
   * then gives the same bytes on machines of one kind only. Default: false.
   */
  relaxedSimd?: boolean;
  /**
   * Bytes of activations between the parts of a model that are kept in memory, over all workers;
   * the rest goes to files in the folder for temporary ones. Default: none, all goes there.
   */
  memory?: number;
  /**
   * Seconds that a worker may take for one batch, or to open one model, until it is taken for hung
   * and the job fails. Seconds in which the machine sleeps do not count. Default: an hour.
   */
  patience?: number;
  /**
   * Ends the workers at once when it fires, whatever they do, also while they start. Default: none.
   */
  signal?: AbortSignal;
}

/** What a worker is told first. */
export interface WorkerSetup {
  /** Bytes of activations that it may keep in memory. */
  readonly memory: number;
  /** Its runtime. */
  readonly backend: Backend;
  /** Where its spools go. */
  readonly folder: string;
  /** Which build of the kernel it uses. */
  readonly relaxedSimd: boolean;
}

/**
 * Starts a pool of workers. Dispose of it to end them and to remove their files. Where no worker
 * can start, all work is done in this thread.
 *
 * @throws {AttuneError} `bad-output` where there is no place for temporary files, `bad-option`
 * where the runtime does not load, `aborted` where the signal fired.
 *
 * @example
 * ```ts
 * import { startPool } from "../../mod.ts";
 *
 * const pool = await startPool({ threads: 2, memory: 2 ** 28 });
 * // Any number of jobs, one after another; then, or by `using pool = …`:
 * pool.dispose();
 * ```
 */
export async function startPool(options: PoolOptions = {}): Promise<EnginePool> {
  const { backend = "web", relaxedSimd = false, memory = 0, patience, signal } = options;
  const threads = Math.min(options.threads ?? availableParallelism(), LANES);
  checkAborted(signal);
  const folder = temporaryFolder();
  const ports: Port[] = [];
  const endPorts = () => ports.forEach((port) => port.terminate?.());
  const poolOf = (clients: readonly Client<Engine>[]) => {
    const pool = new EnginePool(clients, () => {
      signal?.removeEventListener("abort", dispose);
      folder[Symbol.dispose]();
    });
    const dispose = () => pool[Symbol.dispose]();
    signal?.addEventListener("abort", dispose);
    return pool;
  };
  try {
    for (let i = 0; i < threads; i++) {
      const port = await startWorker(new URL("./worker.ts", import.meta.url)).catch(() =>
        undefined
      );
      if (port === undefined) break;
      ports.push(port);
    }
    const setup: WorkerSetup = {
      backend,
      folder: folder.path,
      relaxedSimd,
      memory: memory / ports.length,
    };
    const ready = ports.length > 0 && await unlessAborted(allReady(ports, setup), signal);
    checkAborted(signal);
    if (ready) {
      return poolOf(ports.map((port) => engineAt(port, patience)));
    }
    const module = relaxedSimd ? await relaxedModule() : undefined;
    const spools = cachedSpools(memory, fileSpools(folder.path));
    const inline = inlinePool(await loadBackend(backend, relaxedSimd), { kernel: module, spools });
    checkAborted(signal);
    return poolOf(inline.clients);
  } catch (error) {
    endPorts();
    folder[Symbol.dispose]();
    throw error;
  }
}

/** What comes of `work`; fails at once when `signal` fires. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const done = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const fail = () => reject(new AttuneError("aborted", "Stopped", { cause: signal.reason }));
    if (signal.aborted) fail();
    signal.addEventListener("abort", fail, { signal: done.signal });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    done.abort();
    work.catch(() => {});
  }
}

/** Tells all workers what to work with; false, and none is left, where one could not even load. */
async function allReady(ports: readonly Port[], setup: WorkerSetup): Promise<boolean> {
  // All of them: one that is ended before its error was heard would end the program in Deno.
  const answers = await Promise.allSettled(
    ports.map((port) => whenReady(port, () => port.post(setup))),
  );
  const failed = answers.find((answer) => answer.status === "rejected");
  if (failed === undefined) return true;
  // What a worker says itself, such as that its runtime is missing, would be so in this thread,
  // too.
  if (!(failed.reason instanceof AttuneError) || failed.reason.code !== "internal") {
    throw failed.reason;
  }
  for (const port of ports) port.terminate?.();
  return false;
}
