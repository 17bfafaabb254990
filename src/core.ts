/**
 * What every entry of the library shares: all that needs no file system and starts no worker.
 * [mod.ts](../mod.ts) is this with files, folders and workers of Deno and Node;
 * [browser.ts](./browser.ts) is this with what a page brings.
 *
 * @module
 */

export { AttuneError, type AttuneErrorOptions, type ErrorCode, type Remedy } from "./errors.ts";
export type { OnProgress, ProgressEvent, ProgressStage, WatchOptions } from "./progress.ts";
export { type Model, parseModel, type ParseOptions, serializeModel } from "./onnx/model.ts";
export { modelStream } from "./onnx/chunks.ts";
export type { ExternalData, TypedArray } from "./onnx/tensor.ts";
export type { Grid } from "./weights/grid.ts";
export type { GramPlan } from "./weights/layer.ts";
export type { Allocation, LayerShare } from "./plan/allocation.ts";
export { makePlan as plan, type Plan } from "./plan/plan.ts";
export { type PlanSummary, summarize } from "./plan/summary.ts";
export type { Activations } from "./plan/activations.ts";
export type { LevelWindows } from "./weights/levels.ts";
export type { LayerPlan } from "./weights/layer.ts";
export type { BitBudget, MixedBits, ResolvedMixedBits } from "./plan/bits.ts";
export type { Strategy } from "./strategies/strategies.ts";
export { chooseBits, type ChooseBitsOptions } from "./allocate/choose.ts";
export type {
  Override,
  PlanOptions,
  RangeMethod,
  ResolvedPlanOptions,
  Width,
} from "./plan/options.ts";
export type { RoundingMethod } from "./round/methods.ts";
export type { AdaRounding } from "./round/methods/adaround.ts";
export type { AttentionRounding } from "./round/methods/attention.ts";
export type { AttentionGradientRounding } from "./round/methods/attention_gradient.ts";
export type { NearestRounding } from "./round/methods/nearest.ts";
export type { StochasticRounding } from "./round/methods/stochastic.ts";
export type { FormatName as Format } from "./formats/formats.ts";
export type { ActivationBits } from "./weights/rounding.ts";
export type { Granularity } from "./weights/granularity.ts";
export type { NBits, Storage } from "./weights/storage.ts";
export type { Layout, PlaneWidth } from "./formats/planes.ts";
export type { SkippedTable, TableSkipReason } from "./plan/tables.ts";
export type { TablePlan } from "./weights/table.ts";
export type { Geometry, Skipped, SkipReason, Target } from "./weights/target.ts";
export { quantize, type Quantized } from "./quantize/quantize.ts";
export type { CalibrationOptions, QuantizeOptions } from "./quantize/options.ts";
export { quantizeWeights, type WeightOptions } from "./quantize/quantize_weights.ts";
export { cut, type CutOptions } from "./emit/narrow.ts";
export type { NestedFormat } from "./formats/format.ts";
export { sweep } from "./quantize/sweep.ts";
export type { SweepOptions } from "./quantize/sweep_options.ts";
export type { SweepPoint, SweepReport } from "./report/sweep_report.ts";
export { renderSweep } from "./report/sweep.ts";
export type { BlockReconstruction, LearnRule, Reconstruction } from "./blocks/options.ts";
export { type CheckpointStore } from "./calibrate/checkpoint.ts";
export { evaluate, type EvaluateOptions, type ModelEvaluation } from "./evaluate/evaluate.ts";
export type { Metric, MetricCount, MetricResult, SampleOutputs } from "./evaluate/metric.ts";
export type {
  FloatFigures,
  OutputEvaluation,
  OutputFigures,
} from "./evaluate/output_comparison.ts";
export type { BatchingOptions } from "./forward/probe.ts";
export type { BatchAxis } from "./samples/batch_axis.ts";
export { Comparison, type Evaluation } from "./evaluate/metrics.ts";
export type { Interval } from "./evaluate/interval.ts";
export {
  type BlockOutcome,
  type BlockReport,
  type LayerReport,
  type NestedReport,
  type Report,
  type TableReport,
} from "./report/report.ts";
export type { HeldOutReport, SampleReport } from "./report/held_out_report.ts";
export { renderReport } from "./report/html.ts";
export { renderComparison } from "./report/comparison.ts";
export { readReport } from "./report/read_report.ts";
export {
  checkSample,
  type Sample,
  type SampleSet,
  type SampleWarning,
  type TensorData,
  type TensorValue,
} from "./samples/sample.ts";
export type {
  NamedTensors,
  NestedNumbers,
  SampleFields,
  SampleLike,
  SampleSource,
  ShapedData,
  TensorLike,
} from "./samples/to_sample.ts";
export { openFiles, type OpenFilesOptions, type SampleFile } from "./samples/open_files.ts";
export type { ReadOptions } from "./samples/options.ts";
export type { ElementType, InputSpec } from "./onnx/inputs.ts";
export type { ImageDecoder, Pixels } from "./samples/decoder.ts";
export type { ResizeFilter } from "./samples/resize.ts";
export {
  type ImageLayout,
  type Preprocess,
  type PreprocessOptions,
  preprocessPixels,
  type PreprocessPreset,
  resolvePreprocess,
} from "./samples/preprocess.ts";
export { EnginePool, type InlineOptions, inlinePool } from "./workers/pool.ts";
export {
  onnxruntime,
  type OnnxRuntimeModule,
  type OnnxSession,
  type OpenOptions,
  type Runtime,
  type RuntimeOptions,
  type Session,
  type Value,
} from "./runtime/session.ts";
export type { SessionFile } from "./onnx/session_bytes.ts";
export { VERSION } from "./version.ts";
