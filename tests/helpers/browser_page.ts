/**
 * What the page of tests/chromium_test.ts runs: the job in the page itself, then in two workers.
 */

import * as ort from "onnxruntime-web/wasm";
import { inlinePool, onnxruntime, workerPool } from "../../src/browser.ts";
import { job } from "./browser_job.ts";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = "/";

async function both(): Promise<string[]> {
  const bytes = new Uint8Array(await (await fetch("/shapes.onnx")).arrayBuffer());
  using inline = inlinePool(onnxruntime(ort as never));
  const workers = [1, 2].map(() => new Worker("/browser_worker.js", { type: "module" }));
  using spread = await workerPool(workers);
  return [await job(inline, bytes), await job(spread, bytes)];
}

Object.assign(globalThis, { result: both() });
