/**
 * A pool of workers for Deno and Node, with a temporary folder for what they spool.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine } from "../calibrate/engine.ts";
import { LANES } from "../calibrate/engine.ts";
import { AttuneError } from "../errors.ts";
import { cachedSpools } from "../calibrate/spool.ts";
import { fileSpools } from "../calibrate/file_spool.ts";
import { relaxedModule } from "../kernel/relaxed.ts";
import { type Backend, loadBackend } from "./backends.ts";
import { EnginePool, inlinePool } from "./pool.ts";
import { Client, type Port } from "./rpc.ts";
import { whenReady } from "./ports.ts";
import { startWorker } from "./workers.ts";

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
   * Bytes of activations between the parts of a model that are kept in memory, over all workers; the
   * rest goes to files in the folder for temporary ones. Default: none, all goes there.
   */
  memory?: number;
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
 * Starts a pool of workers. Dispose of it to end them and to remove their files. Where no worker can
 * start, all work is done in this thread.
 */
export async function startPool(options: PoolOptions = {}): Promise<EnginePool> {
  const { backend = "web", relaxedSimd = false, memory = 0 } = options;
  const threads = Math.min(options.threads ?? availableParallelism(), LANES);
  const folder = mkdtempSync(join(tmpdir(), "attune-"));
  const cleanUp = () => rmSync(folder, { recursive: true, force: true });
  const ports: Port[] = [];
  try {
    for (let i = 0; i < threads; i++) {
      const port = await startWorker(new URL("./worker.ts", import.meta.url)).catch(() =>
        undefined
      );
      if (port === undefined) break;
      ports.push(port);
    }
    const setup: WorkerSetup = { backend, folder, relaxedSimd, memory: memory / ports.length };
    if (ports.length > 0 && await allReady(ports, setup)) {
      return new EnginePool(ports.map((port) => new Client<Engine>(port)), cleanUp);
    }
    const module = relaxedSimd ? await relaxedModule() : undefined;
    const spools = cachedSpools(memory, fileSpools(folder));
    const inline = inlinePool(await loadBackend(backend, relaxedSimd), spools, module);
    return new EnginePool(inline.clients, cleanUp);
  } catch (error) {
    for (const port of ports) port.terminate?.();
    cleanUp();
    throw error;
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
  // What a worker says itself, such as that its runtime is missing, would be so in this thread, too.
  if (!(failed.reason instanceof AttuneError) || failed.reason.code !== "internal") {
    throw failed.reason;
  }
  for (const port of ports) port.terminate?.();
  return false;
}
