/**
 * The worker of Deno and Node: an engine behind a message port.
 *
 * @module
 */

import { Engine } from "../calibrate/engine.ts";
import { fileSpools } from "../calibrate/file_spool.ts";
import { type Backend, loadBackend } from "./backends.ts";
import { serve } from "./rpc.ts";
import { ownPort } from "./workers.ts";

const port = await ownPort();
// The first message says what to work with; every one after it is a call.
port.onMessage(async (message) => {
  const { backend, folder } = message as { backend: Backend; folder: string };
  try {
    const engine = new Engine(await loadBackend(backend), fileSpools(folder));
    serve(engine, port);
    port.post({ ready: true });
  } catch (error) {
    port.post({ ready: false, message: (error as Error).message });
  }
});
