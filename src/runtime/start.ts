/**
 * A pool of workers for Deno and Node, with a temporary folder for what they spool.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { AttuneError } from "../errors.ts";
import type { Engine } from "../calibrate/engine.ts";
import { LANES } from "../calibrate/engine.ts";
import { fileSpools } from "../calibrate/file_spool.ts";
import { type Backend, loadBackend } from "./backends.ts";
import { EnginePool, inlinePool } from "./pool.ts";
import { Client, type Port } from "./rpc.ts";
import { startWorker } from "./workers.ts";

/** Options of {@linkcode startPool}. */
export interface PoolOptions {
  /** Workers to start; 0 does all work in this thread. Default: the cores, at most 8. */
  threads?: number;
  /** The runtime of the workers. Default: `"web"`. */
  backend?: Backend;
}

/** Starts a pool of workers. Dispose of it to end them and to remove their files. */
export async function startPool(options: PoolOptions = {}): Promise<EnginePool> {
  const backend = options.backend ?? "web";
  const threads = Math.min(options.threads ?? availableParallelism(), LANES);
  const folder = mkdtempSync(join(tmpdir(), "attune-"));
  const cleanUp = () => rmSync(folder, { recursive: true, force: true });
  const ports: Port[] = [];
  try {
    if (threads < 1) {
      const inline = inlinePool(await loadBackend(backend), fileSpools(folder));
      return new EnginePool(inline.clients, cleanUp);
    }
    for (let i = 0; i < threads; i++) {
      ports.push(await startWorker(new URL("./worker.ts", import.meta.url)));
    }
    await Promise.all(ports.map((port) => ready(port, backend, folder)));
    return new EnginePool(ports.map((port) => new Client<Engine>(port)), cleanUp);
  } catch (error) {
    for (const port of ports) port.terminate?.();
    cleanUp();
    throw error;
  }
}

/** Tells a worker what to work with and waits until it is ready. */
function ready(port: Port, backend: Backend, folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    port.onMessage((message) => {
      const { ready, message: reason } = message as { ready: boolean; message?: string };
      if (ready) resolve();
      else reject(new AttuneError("bad-option", reason ?? "A worker did not start"));
    });
    port.onError?.((error) =>
      reject(new AttuneError("internal", `A worker did not start: ${error.message}`))
    );
    port.post({ backend, folder });
  });
}
