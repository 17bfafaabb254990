/**
 * The worker of Deno and Node: an engine behind a message port.
 *
 * @module
 */

import { engineServices } from "../engine/engine.ts";
import { cachedSpools } from "../engine/spool.ts";
import { fileSpools } from "../engine/file_spool.ts";
import { Kernel } from "../kernel/kernel.ts";
import { relaxedModule } from "../kernel/relaxed.ts";
import { loadBackend } from "../runtime/backends.ts";
import { serve } from "./rpc.ts";
import type { WorkerSetup } from "./start.ts";
import { ownPort } from "./start_worker.ts";

const port = await ownPort();
// The first message says what to work with; every one after it is a call.
port.onMessage(async (message) => {
  const { backend, folder, relaxedSimd, memory } = message as WorkerSetup;
  try {
    const kernel = Kernel.create(relaxedSimd ? await relaxedModule() : undefined);
    const spools = cachedSpools(memory, fileSpools(folder));
    serve(engineServices(await loadBackend(backend, relaxedSimd), spools, kernel), port);
    port.post({ ready: true });
  } catch (error) {
    port.post({ ready: false, message: (error as Error).message });
  }
});
