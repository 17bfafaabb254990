/**
 * The part of attune that needs no file system: for browsers and bundlers. It is
 * [mod.ts](../mod.ts) without files, folders and workers; the caller brings onnxruntime-web.
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

export { AttuneError, type AttuneErrorOptions, type ErrorCode, type Remedy } from "./errors.ts";
export type { OnProgress, ProgressEvent, ProgressStage, WatchOptions } from "./progress.ts";
export { type Model, parseModel, type ParseOptions, serializeModel } from "./onnx/model.ts";
export { makePlan as plan, type Plan } from "./plan/plan.ts";
export type { PlanOptions } from "./plan/options.ts";
export type { MixedBits } from "./plan/bits.ts";
export { chooseBits, type ChooseBitsOptions } from "./allocate/choose.ts";
export { sweep } from "./quantize/sweep.ts";
export type { SweepOptions } from "./quantize/sweep_options.ts";
export type { SweepReport } from "./report/sweep_report.ts";
export { quantize, type Quantized } from "./quantize/quantize.ts";
export type { CalibrationOptions, QuantizeOptions } from "./quantize/options.ts";
export { evaluate, type EvaluateOptions } from "./evaluate/evaluate.ts";
export type { BatchingOptions } from "./forward/probe.ts";
export type { BatchAxis } from "./samples/batch_axis.ts";
export { type Evaluation } from "./evaluate/metrics.ts";
export { type Report } from "./report/report.ts";
export { renderReport } from "./report/html.ts";
export { preprocessPixels, resolvePreprocess } from "./samples/preprocess.ts";
export type { Sample, SampleSource } from "./samples/sample.ts";
export { EnginePool, inlinePool } from "./workers/pool.ts";
export { type EngineOptions, serveEngine, workerPool } from "./workers/web_workers.ts";
export { onnxruntime, type OnnxRuntimeModule, type Runtime } from "./runtime/session.ts";
