/**
 * The part of attune that needs no file system: for browsers and bundlers. It is
 * [core.ts](./core.ts) with workers that the page starts; the caller brings onnxruntime-web.
 *
 * @example In a page
 * ```ts ignore
 * import { openFiles, parseModel, plan, quantize, serializeModel, startWorkers } from "attune/browser";
 *
 * const model = parseModel(new Uint8Array(await file.arrayBuffer()), { name: file.name });
 * const made = plan(model, { bits: 4 });
 * const samples = await openFiles(images, { inputs: made.inputs });
 * const pool = await startWorkers(() =>
 *   new Worker(new URL("attune/worker", import.meta.url), { type: "module" })
 * );
 * const { model: small } = await quantize(made, samples.samples(), pool);
 * pool.dispose();
 * const download = URL.createObjectURL(new Blob([serializeModel(small)]));
 * ```
 *
 * @module
 */

export * from "./core.ts";
export {
  type EngineOptions,
  serveEngine,
  startWorkers,
  workerPool,
  type WorkersOptions,
} from "./workers/web_workers.ts";
