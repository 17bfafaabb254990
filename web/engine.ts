/**
 * A worker of the page that runs models and rounds layers. It is told what to run them with, so
 * that it loads nothing by itself.
 *
 * @module
 */

import { onnxruntime, type OnnxRuntimeModule, serveEngine } from "../src/browser.ts";
import type { RuntimeAssets } from "./messages.ts";

/** Bytes of activations that an engine keeps in memory; the rest goes to the browser's files. */
const MEMORY = 2 ** 28;

/** The part of onnxruntime-web that is set up here. */
interface WebModule extends OnnxRuntimeModule {
  readonly env: { readonly wasm: { numThreads: number; wasmBinary: ArrayBuffer } };
}

addEventListener("message", async (event) => {
  const { script, wasm, isGpu } = (event as MessageEvent<RuntimeAssets>).data;
  const url = URL.createObjectURL(script), ort: WebModule = await import(url);
  URL.revokeObjectURL(url);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await wasm.arrayBuffer();
  const runtime = onnxruntime(ort, {
    // Runtimes differ in the last bits, so a job resumes on its own.
    name: isGpu ? "webgpu" : "web",
    accelerator: isGpu ? "webgpu" : undefined,
    onFallback: (fallback) => postMessage({ fallback }),
  });
  await serveEngine(runtime, { memory: MEMORY });
}, { once: true });
