/**
 * A worker of a page that is an engine, ready to start: onnxruntime-web on one thread, and what
 * does not fit into memory in the origin's private file system. Its bundler finds it as
 * `attune/worker`.
 *
 * @example In the page
 * ```ts ignore
 * import { startWorkers } from "attune/browser";
 *
 * using pool = await startWorkers(() =>
 *   new Worker(new URL("attune/worker", import.meta.url), { type: "module" })
 * );
 * ```
 *
 * @module
 */

import * as ort from "onnxruntime-web/wasm";
import { onnxruntime, type OnnxRuntimeModule } from "./runtime/session.ts";
import { serveEngine } from "./workers/web_workers.ts";

/** Bytes of activations that an engine keeps in memory. */
const MEMORY = 2 ** 28;

// Many engines with a thread each need no headers from the server; threads of onnxruntime would.
ort.env.wasm.numThreads = 1;
const runtime = onnxruntime(ort as unknown as OnnxRuntimeModule, { name: "web" });
void serveEngine(runtime, { memory: MEMORY });
