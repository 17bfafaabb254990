/** What the page of tests/chromium_test.ts runs. */

import * as ort from "onnxruntime-web/wasm";
import { job } from "./browser_job.ts";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = "/";
const body = await fetch("/shapes.onnx")
  .then(async (response) => await job(ort, new Uint8Array(await response.arrayBuffer())))
  .catch((error) => `failed: ${error}`);
await fetch("/done", { method: "POST", body });
