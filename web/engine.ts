/**
 * A worker of the page that runs models and rounds layers. It is told what to run them with, so
 * that it loads nothing by itself.
 *
 * @module
 */

import * as ort from "onnxruntime-web/wasm";
import { onnxruntime, type OnnxRuntimeModule, serveEngine } from "../src/browser.ts";

/** Bytes of activations that an engine keeps in memory; the rest goes to the browser's files. */
const MEMORY = 2 ** 28;

addEventListener("message", async (event) => {
  const { wasm } = (event as MessageEvent<{ wasm: Blob }>).data;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await wasm.arrayBuffer();
  await serveEngine(onnxruntime(ort as unknown as OnnxRuntimeModule, { name: "web" }), {
    memory: MEMORY,
  });
}, { once: true });
