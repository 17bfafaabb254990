/**
 * onnxruntime-web where WebAssembly comes as modules and none is compiled from bytes: workerd.
 *
 * @module
 */

import {
  onnxruntime,
  type OnnxRuntimeModule,
  type Runtime,
  type RuntimeOptions,
} from "./session.ts";

/** The module onnxruntime-web as far as it is set up here. */
export interface OnnxRuntimeWeb extends OnnxRuntimeModule {
  /** Its settings. */
  readonly env: {
    /** Those of its WebAssembly. */
    readonly wasm: {
      /** Bytes that it instantiates instead of fetching them. */
      wasmBinary?: ArrayBufferLike | Uint8Array;
      /** Threads of an operator. */
      numThreads?: number;
    };
  };
}

/** Stands for the compiled module: onnxruntime-web hands it to `WebAssembly.instantiate` as is. */
const STAND_IN = new TextEncoder().encode("attune: the compiled onnxruntime");

/**
 * A runtime from onnxruntime-web (`onnxruntime-web/wasm`) and its `module`, which is its file
 * `ort-wasm-simd-threaded.wasm` as the host imports it.
 *
 * onnxruntime-web has no setting for a compiled module, only one for bytes. So it is given a few
 * that stand for the module, and the module is what they are instantiated as.
 *
 * @example In a Worker
 * ```ts ignore
 * import * as ort from "onnxruntime-web/wasm";
 * import ortModule from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
 * import kernel from "attune/kernel.wasm";
 * import { edgeRuntime, inlinePool } from "attune/workerd";
 *
 * using pool = inlinePool(edgeRuntime(ort, ortModule), { kernel });
 * ```
 */
export function edgeRuntime(
  ort: OnnxRuntimeWeb,
  module: WebAssembly.Module,
  options: RuntimeOptions = {},
): Runtime {
  ort.env.wasm.wasmBinary = STAND_IN.slice().buffer;
  ort.env.wasm.numThreads = 1;
  const runtime = onnxruntime(ort, { name: "web", ...options });
  const restore = standIn(module);
  return {
    name: runtime.name,
    async open(bytes, open) {
      try {
        return await runtime.open(bytes, open);
      } finally {
        // It instantiates its module for the first session, and keeps it.
        restore();
      }
    },
  };
}

/** Lets `WebAssembly.instantiate` take {@linkcode STAND_IN} for `module`, until it is restored. */
function standIn(module: WebAssembly.Module): () => void {
  const original = WebAssembly.instantiate;
  const patched = async (source: unknown, imports?: WebAssembly.Imports) =>
    isStandIn(source)
      ? { module, instance: await original(module, imports) }
      : await original(source as BufferSource, imports);
  WebAssembly.instantiate = patched as typeof original;
  return () => {
    // Another may have put itself on top; below it, this one still does as it should.
    if (WebAssembly.instantiate === patched) WebAssembly.instantiate = original;
  };
}

function isStandIn(source: unknown): boolean {
  return source instanceof Uint8Array && source.length === STAND_IN.length &&
    source.every((byte, i) => byte === STAND_IN[i]);
}
