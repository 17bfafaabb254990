/**
 * The service as a Worker: WebAssembly comes as modules, limits as bindings.
 *
 * @module
 */

import * as ort from "onnxruntime-web/wasm";
import { edgeRuntime, inlinePool } from "attune/workerd";
import { createHandler } from "./handler.ts";
import { limitsFrom } from "./limits.ts";
// @ts-types="./wasm_module.d.ts"
import kernel from "./kernel.wasm";
// @ts-types="./wasm_module.d.ts"
import ortModule from "./ort-wasm-simd-threaded.wasm";

const runtime = edgeRuntime(ort, ortModule);
let handler: ReturnType<typeof createHandler> | undefined;

export default {
  /** Answers a request; `env` holds what the configuration binds. */
  fetch(request: Request, env: Record<string, string>): Promise<Response> {
    const pool = () => inlinePool(runtime, { kernel });
    handler ??= createHandler(limitsFrom(env), { kernel, pool });
    return handler(request);
  },
};
