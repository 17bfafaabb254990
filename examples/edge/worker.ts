/**
 * The service as a Worker: WebAssembly comes as modules, limits as bindings.
 *
 * @module
 */

import * as ort from "onnxruntime-web/wasm";
import { edgeRuntime } from "../../src/workerd.ts";
import { createHandler } from "./handler.ts";
import { limitsFrom } from "./limits.ts";
// @ts-types="./wasm_module.d.ts"
import kernel from "./kernel.wasm";
// @ts-types="./wasm_module.d.ts"
import ortModule from "./ort-wasm-simd-threaded.wasm";

let handler: ReturnType<typeof createHandler> | undefined;

export default {
  /** Answers a request; `env` holds what the configuration binds. */
  fetch(request: Request, env: Record<string, string>): Promise<Response> {
    handler ??= createHandler(limitsFrom(env), {
      kernel,
      runtime: () => Promise.resolve(edgeRuntime(ort, ortModule)),
    });
    return handler(request);
  },
};
