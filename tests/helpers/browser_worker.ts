/** A worker of the page of tests/chromium_test.ts. */

import * as ort from "onnxruntime-web/wasm";
import { onnxruntime, serveEngine } from "../../src/browser.ts";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = "/";
// Almost nothing fits into memory, so the rest goes through the private file system.
await serveEngine(onnxruntime(ort as never), { memory: 1e5 });
