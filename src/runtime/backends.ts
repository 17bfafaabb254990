/**
 * The runtimes that the command line offers, for Deno and Node.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { AttuneError } from "../errors.ts";
import { onnxruntime, type OnnxRuntimeModule, type Runtime } from "./session.ts";

/**
 * onnxruntime-web (WebAssembly, everywhere) or onnxruntime-node (native, about four times faster).
 */
export type Backend = "web" | "node";

/** The optional package of the backend "node", with the version that goes with the other's. */
export const NODE_PACKAGE = "onnxruntime-node@1.30.0";

/**
 * Loads the runtime of `backend`; single-threaded, since attune runs one per worker. Its name says,
 * too, if the kernel beside it is the one of relaxed SIMD: either decides the last bits.
 */
export async function loadBackend(backend: Backend, relaxedSimd = false): Promise<Runtime> {
  const name = relaxedSimd ? `${backend}, relaxed SIMD` : backend;
  if (backend === "node") {
    try {
      // Not a literal, so that bundlers and type checks do not need the optional package, and Deno
      // fetches its 290 MB only here.
      const specifier = "Deno" in globalThis ? `npm:${NODE_PACKAGE}` : "onnxruntime-node";
      return onnxruntime(unwrap(await import(specifier)), { name });
    } catch (cause) {
      throw new AttuneError(
        "bad-option",
        `Cannot use the backend "node": onnxruntime-node does not load here; use "web"`,
        { cause, remedies: [{ option: "backend", value: "web" }] },
      );
    }
  }
  hideOpaqueOrigin();
  const ort = await import("onnxruntime-web/wasm").catch((cause) => {
    throw new AttuneError(
      "bad-option",
      `Cannot run models: onnxruntime-web does not load here; install it, or onnxruntime-node and ` +
        `use the backend "node"`,
      { cause, remedies: [{ option: "backend", value: "node" }] },
    );
  });
  // The bytes are handed over, as fetching the module's file by address works in browsers only.
  const path = import.meta.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
  const wasm = await readFile(fileURLToPath(path));
  ort.env.wasm.wasmBinary = wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength);
  ort.env.wasm.numThreads = 1;
  return onnxruntime(ort as unknown as OnnxRuntimeModule, { name });
}

/**
 * onnxruntime-web resolves its own address against `location.origin` where there is a `location`;
 * in a worker of Deno that is the text "null", which is no base. Without a `location` it does not.
 */
function hideOpaqueOrigin(): void {
  if (globalThis.location?.origin === "null") {
    Object.defineProperty(globalThis, "location", { value: undefined, configurable: true });
  }
}

function unwrap(module: { default?: unknown }): OnnxRuntimeModule {
  return ("InferenceSession" in module ? module : module.default) as OnnxRuntimeModule;
}
