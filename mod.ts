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
 *   openSamples(folder + name, { inputs: made.inputs, limit });
 * const calib = await open("calib", 64), val = await open("val", 64);
 *
 * const { model: small, report } = await quantize(made, calib.samples(), pool);
 * const { agreement } = await evaluate(small, model, val.samples(), pool);
 * if (report.layers.length !== 10 || agreement < 80) throw new Error("unexpected");
 * ```
 *
 * @module
 */

export * from "./src/core.ts";
export { readModel, writeModel } from "./src/onnx/file.ts";
export { checkpointFile } from "./src/calibrate/checkpoint_file.ts";
export { openSamples, type OpenSamplesOptions } from "./src/samples/open.ts";
export { type PoolOptions, startPool } from "./src/workers/start.ts";
export type { Backend } from "./src/runtime/backends.ts";
