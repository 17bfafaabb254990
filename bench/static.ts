/**
 * A plain static quantizer, for the bench to compare with: what onnxruntime's own does, with the
 * same runtime and no more. Every image goes once through the float model, which also gives the
 * smallest and largest value of each activation; weights get the nearest of 8 bits, a scale for
 * each channel.
 *
 * `deno run -A bench/static.ts MODEL DATA LIMIT OUT [PREPROCESS [none]]`
 *
 * @module
 */

import { availableParallelism } from "node:os";
import * as ort from "onnxruntime-node";
import { buildModel } from "../src/emit/build.ts";
import { nearestParts } from "../src/emit/nearest.ts";
import { extract, valueInfo } from "../src/graph/extract.ts";
import { readModel, writeModel } from "../src/onnx/file.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { type DataType, typeNamed } from "../src/onnx/tensor.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import { onnxruntime, type OnnxRuntimeModule, type Value } from "../src/runtime/session.ts";
import { openSamples } from "../src/samples/open.ts";
import type { PreprocessPreset } from "../src/samples/preprocess.ts";
import type { ActivationGrid } from "../src/weights/rounding.ts";

/** The float model with the ends of every activation's range as its outputs. */
function rangeModel({ model, graph, activations }: Plan): Model {
  const inputs = new Map<string, DataType>(
    graph.inputs.map(({ name, type }) => [name, typeNamed(type)]),
  );
  const outputs = activations.ranged.filter((name) => !inputs.has(name));
  const part = extract(model, { inputs, outputs }), { node } = part.proto.graph;
  const ends = activations.ranged.flatMap((name) =>
    ["Min", "Max"].map((end) => ({ name: `${name}_${end}`, end, of: name }))
  );
  for (const { name, end, of } of ends) {
    node.push(makeNode(`Reduce${end}`, name, [of], [name], { keepdims: 0n }));
  }
  part.proto.graph.output = ends.map(({ name }) => valueInfo(name));
  return part;
}

/** The grid of 8 bits over a range. */
function gridOver(least: number, most: number): ActivationGrid {
  const lo = Math.min(0, least), hi = Math.max(0, most);
  const scale = Math.fround(Math.max((hi - lo) / 255, 1e-30));
  return { bits: 8, scale, zeroPoint: Math.round(-lo / scale) };
}

const [path, data, limit, out, preset = "imagenet", resize] = Deno.args;
const made = makePlan(readModel(path), { bits: 8 }), { inputs } = made.graph;
const threads = availableParallelism();
const runtime = onnxruntime(ort as unknown as OnnxRuntimeModule, { threads });
const session = await runtime.open(sessionBytes(rangeModel(made)));
const preprocess = {
  preset: preset as PreprocessPreset,
  resize: resize === "none" ? resize : undefined,
} as const;
const set = await openSamples(data, { inputs, limit: Number(limit), preprocess });
const ranges = new Map<string, { lo: number; hi: number }>();
for await (const sample of set.samples()) {
  const feeds = Object.fromEntries(inputs.map(({ name, type }): [string, Value] => {
    const { dims, data } = sample.inputs[name];
    return [name, { type, dims: [1, ...dims], data: data as Value["data"] }];
  }));
  const ends = await session.run(feeds);
  for (const name of made.activations.ranged) {
    const [lo, hi] = ["Min", "Max"].map((end) => Number(ends[`${name}_${end}`].data[0]));
    const range = ranges.get(name) ?? { lo, hi };
    ranges.set(name, { lo: Math.min(range.lo, lo), hi: Math.max(range.hi, hi) });
  }
}
const grids = new Map([...ranges].map(([name, { lo, hi }]) => [name, gridOver(lo, hi)] as const));
// Layers have to be rounded before their nearest levels are asked for.
const empty = { levels: new Int8Array(), scales: new Float32Array(), lows: new Int8Array() };
const roundings = new Map(made.layers.map(({ target }) => [target.output, empty]));
writeModel(buildModel(made, nearestParts(made, { roundings, grids }), "qdq"), out);
