/**
 * The part of attune that needs no file system: for browsers and bundlers. It is
 * [core.ts](./core.ts) with workers that the page starts; the caller brings onnxruntime-web.
 *
 * @example In a page, on the files of `<input type="file" multiple>`
 * ```ts ignore
 * import * as ort from "onnxruntime-web/wasm";
 * import { inlinePool, onnxruntime, openFiles, parseModel } from "attune/browser";
 * import { plan, quantize, serializeModel } from "attune/browser";
 *
 * const model = parseModel(new Uint8Array(await file.arrayBuffer()), { name: file.name });
 * const made = plan(model, { bits: 4 });
 * const { samples } = await openFiles(input.files, { inputs: made.inputs });
 * using pool = inlinePool(onnxruntime(ort));
 * const { model: small } = await quantize(made, samples(), pool);
 * const bytes = serializeModel(small);
 * ```
 *
 * @module
 */

export * from "./core.ts";
export { type EngineOptions, serveEngine, workerPool } from "./workers/web_workers.ts";
