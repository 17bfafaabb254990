/**
 * attune: post-training quantization of ONNX models wherever JavaScript runs.
 *
 * A {@linkcode Plan} says what becomes of each layer, {@linkcode quantize} does it on samples, and
 * {@linkcode evaluate} measures what it cost.
 *
 * @example The carried example, from file to file, on Deno or Node
 * ```ts
 * import { evaluate, openSamples, plan, quantize, readModel, startPool } from "./mod.ts";
 *
 * const folder = new URL("./examples/shapes/", import.meta.url).pathname;
 * const model = readModel(folder + "shapes.onnx");
 * const made = plan(model, { bits: 4 });
 * using pool = await startPool({ threads: 1 });
 * const open = (name: string, limit: number) =>
 *   openSamples(folder + name, { inputs: made.graph.inputs, limit });
 * const calib = await open("calib", 64), val = await open("val", 64);
 *
 * const { model: small, report } = await quantize(made, calib.samples(), pool);
 * const { agreement } = await evaluate(small, model, val.samples(), pool);
 * if (report.layers.length !== 10 || agreement < 80) throw new Error("unexpected");
 * ```
 *
 * @module
 */

export { AttuneError, type AttuneErrorOptions, type ErrorCode, type Remedy } from "./src/errors.ts";
export type { OnProgress, ProgressEvent, ProgressStage, WatchOptions } from "./src/progress.ts";
export { type Model, parseModel, type ParseOptions, serializeModel } from "./src/onnx/model.ts";
export { readModel, writeModel } from "./src/onnx/file.ts";
export type { ExternalData } from "./src/onnx/tensor.ts";
export type { Grid } from "./src/weights/grid.ts";
export type { GramPlan } from "./src/weights/layer.ts";
export type { Allocation, LayerShare } from "./src/plan/allocation.ts";
export { makePlan as plan, type Plan } from "./src/plan/plan.ts";
export type { LayerPlan } from "./src/weights/layer.ts";
export type { BitBudget, MixedBits } from "./src/plan/bits.ts";
export type { Strategy } from "./src/strategies/strategies.ts";
export { chooseBits, type ChooseBitsOptions } from "./src/allocate/choose.ts";
export type { Override, PlanOptions, RangeMethod, Width } from "./src/plan/options.ts";
export type { RoundingMethod } from "./src/round/methods.ts";
export type { FormatName as Format } from "./src/formats/formats.ts";
export type { ActivationBits } from "./src/weights/rounding.ts";
export type { Granularity } from "./src/weights/granularity.ts";
export type { NBits, Storage } from "./src/weights/storage.ts";
export type { Layout, PlaneWidth } from "./src/formats/planes.ts";
export type { SkippedTable, TableSkipReason } from "./src/plan/tables.ts";
export type { TablePlan } from "./src/weights/table.ts";
export type { Geometry, Skipped, SkipReason, Target } from "./src/weights/target.ts";
export { quantize, type Quantized } from "./src/quantize/quantize.ts";
export type { CalibrationOptions, QuantizeOptions } from "./src/quantize/options.ts";
export { cut, type CutOptions } from "./src/emit/narrow.ts";
export type { NestedFormat } from "./src/formats/format.ts";
export { sweep } from "./src/quantize/sweep.ts";
export type { SweepOptions } from "./src/quantize/sweep_options.ts";
export type { SweepPoint, SweepReport } from "./src/report/sweep_report.ts";
export { renderSweep } from "./src/report/sweep.ts";
export type { BlockReconstruction, LearnRule, Reconstruction } from "./src/blocks/options.ts";
export { type CheckpointStore } from "./src/calibrate/checkpoint.ts";
export { checkpointFile } from "./src/calibrate/checkpoint_file.ts";
export { evaluate, type EvaluateOptions } from "./src/evaluate/evaluate.ts";
export type { BatchingOptions } from "./src/forward/probe.ts";
export type { BatchAxis } from "./src/samples/batch_axis.ts";
export { Comparison, type Evaluation, type Interval } from "./src/evaluate/metrics.ts";
export {
  type BlockOutcome,
  type BlockReport,
  type LayerReport,
  type Report,
  type TableReport,
} from "./src/report/report.ts";
export { renderReport } from "./src/report/html.ts";
export { openSamples, type OpenSamplesOptions } from "./src/samples/open.ts";
export type {
  Sample,
  SampleSet,
  SampleSource,
  SampleWarning,
  TensorData,
  TensorValue,
} from "./src/samples/sample.ts";
export type { ElementType, InputSpec } from "./src/onnx/inputs.ts";
export type { DecodeOptions, ImageDecoder, Pixels } from "./src/samples/decoder.ts";
export type { ImageLayout, PreprocessOptions, PreprocessPreset } from "./src/samples/preprocess.ts";
export { EnginePool, inlinePool } from "./src/workers/pool.ts";
export { type PoolOptions, startPool } from "./src/workers/start.ts";
export type { Backend } from "./src/runtime/backends.ts";
export {
  onnxruntime,
  type OnnxRuntimeModule,
  type OpenOptions,
  type Runtime,
  type RuntimeOptions,
  type Session,
  type Value,
} from "./src/runtime/session.ts";
export type { SessionFile } from "./src/onnx/session_bytes.ts";
export { VERSION } from "./src/version.ts";
