/**
 * The part of attune that needs no file system: for browsers and bundlers. It is
 * [core.ts](./core.ts) with workers that the page starts; the caller brings onnxruntime-web.
 *
 * @example In a page
 * ```ts ignore
 * import * as ort from "onnxruntime-web/wasm";
 * import { inlinePool, onnxruntime, parseModel, plan, quantize, serializeModel } from "attune/browser";
 *
 * const model = parseModel(new Uint8Array(await file.arrayBuffer()), { name: file.name });
 * using pool = inlinePool(onnxruntime(ort));
 * const { model: small } = await quantize(plan(model, { bits: 4 }), samples(), pool);
 * const bytes = serializeModel(small);
 * ```
 *
 * @module
 */

export * from "./core.ts";
export { type EngineOptions, serveEngine, workerPool } from "./workers/web_workers.ts";
