/**
 * One operator between grids, as a plan puts it there: what onnxruntime makes of it by default,
 * beside what QuantizeLinear, the operator in float and DequantizeLinear give.
 */

import ort from "onnxruntime-node";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canCorrectBias, onGrid } from "../../src/layer/bias.ts";
import {
  type ActivationGrid,
  biasScales,
  buildModel,
  type Rounding,
} from "../../src/emit/build.ts";
import { valueInfo } from "../../src/graph/extract.ts";
import type { NodeProto, TensorProto } from "../../src/onnx/gen/onnx_pb.ts";
import {
  copyModel,
  makeNode,
  type Model,
  parseModel,
  serializeModel,
} from "../../src/onnx/model.ts";
import { floatTensor, sizeOf } from "../../src/onnx/tensor.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { makePlan, type Plan } from "../../src/plan/plan.ts";
import type { LayerPlan } from "../../src/weights/layer.ts";
import { readWeight } from "../../src/weights/matrix.ts";
import type { OpenOptions, Runtime, Value } from "../../src/runtime/session.ts";
import { build, noise, value } from "./models.ts";

/** An operator, or a few, and what they read and write. */
export interface KernelCase {
  /** The operators, with what they read. */
  readonly nodes: NodeProto[];
  /** Shapes of the inputs. A layer reads each of them, so that it is on a grid. */
  readonly inputs: Readonly<Record<string, number[]>>;
  /** What is constant. */
  readonly constants?: TensorProto[];
  /** What is written. Default: `y`. */
  readonly outputs?: readonly string[];
  /**
   * Whether layers read what is written, and so put it on grids; otherwise it leaves the graph.
   * Default: true.
   */
  readonly inside?: boolean;
  /** The opset of the model. Default: 13. */
  readonly opset?: number;
  /** What else is asked of the plan. */
  readonly options?: PlanOptions;
}

/** How a case is quantized. */
export interface Setting {
  /** Bits of weights; the opset is raised to what they need. */
  readonly bits: number;
  /** Bits of every grid. */
  readonly activationBits: 4 | 8;
  /** Whether all tensors have one grid, as moved values have. Default: each its own. */
  readonly oneGrid?: boolean;
  /** Whether inputs are at least zero, as after a Relu. Default: false. */
  readonly positive?: boolean;
  /** Further options of the plan. */
  readonly options?: PlanOptions;
}

/** How far one tensor is from its simulation. */
export interface Difference {
  /** The tensor. */
  readonly name: string;
  /**
   * The largest difference, in steps of its grid; relative to the largest value where it has none.
   */
  readonly most: number;
  /** How many values differ at all, of how many. */
  readonly differing: number;
  readonly count: number;
  /** Whether it is on a grid. */
  readonly onGrid: boolean;
}

/**
 * The model of `test`: a layer reads every input and, unless they leave the graph, every output.
 */
export function modelOf(test: KernelCase, shapes: ReadonlyMap<string, readonly number[]>): Model {
  const { inputs, nodes, constants = [], outputs = ["y"], inside = true, opset = 13 } = test;
  const read = [...Object.keys(inputs), ...(inside ? outputs : [])].filter((name) =>
    shapes.get(name)!.length > 0
  );
  const gates = read.map((name, i) => ({
    node: makeNode("MatMul", `${name}_gate`, [name, `${name}_gate_w`], [`${name}_read`]),
    weight: floatTensor(
      `${name}_gate_w`,
      [shapes.get(name)!.at(-1)!, 2],
      noise(2 * shapes.get(name)!.at(-1)!, i + 3),
    ),
  }));
  return build({
    opset,
    inputs: { ...inputs },
    nodes: [...nodes, ...gates.map(({ node }) => node)],
    initializers: [...constants, ...gates.map(({ weight }) => weight)],
    outputs: [...gates.map(({ node }) => node.output[0]), ...(inside ? [] : outputs)],
  });
}

/** A case, planned and built. */
export interface Built {
  /** The plan. */
  readonly plan: Plan;
  /** The file, and the model that simulates it; every tensor on a grid is an output. */
  readonly file: Model;
  readonly simulation: Model;
  /** What is fed. */
  readonly feeds: Record<string, Value>;
  /** The grids by tensor. */
  readonly grids: ReadonlyMap<string, ActivationGrid>;
}

/** Plans `test` as `setting` asks, and builds both models from grids over what it computes. */
export async function buildCase(
  test: KernelCase,
  setting: Setting,
  runtime: Runtime,
): Promise<Built> {
  const feeds = feedsOf(test, setting), { bits, activationBits } = setting;
  const plan = makePlan(modelOf(test, await shapesOf(test, feeds, runtime)), {
    ...test.options,
    ...setting.options,
    bits,
    edgeBits: bits,
    activationBits,
  });
  const { ranged, shared } = plan.activations;
  const computed = await run(runtime, withOutputs(plan.model, ranged), feeds);
  const grids = gridsOver(
    new Map(ranged.map((name) => [name, computed[name] ?? feeds[name]])),
    setting,
  );
  const roundings = new Map(
    plan.layers.map((layer) => [layer.target.output, nearest(plan, layer, grids)]),
  );
  const seen = [...ranged, ...shared.keys()];
  const built = (format: "float" | PlanOptions["format"]) =>
    withOutputs(buildModel(plan, { roundings, grids }, format ?? "qdq"), seen);
  return {
    plan,
    file: built(setting.options?.format),
    simulation: built("float"),
    feeds,
    grids: new Map(seen.flatMap((name) => {
      const grid = grids.get(shared.get(name) ?? name);
      return grid ? [[name, grid] as const] : [];
    })),
  };
}

/** Noise for the inputs of `test`, larger from one to the next. */
function feedsOf(test: KernelCase, { positive = false }: Setting): Record<string, Value> {
  return Object.fromEntries(
    Object.entries(test.inputs).map(([name, dims], i) => {
      const values = noise(sizeOf(dims), 7 * i + 1).map((v) => positive ? Math.abs(v) : v);
      return [name, value(dims, values.map((v) => v * (i + 1)))];
    }),
  );
}

/** The shapes of what `test` reads, and of what it writes: it is run alone. */
async function shapesOf(
  test: KernelCase,
  feeds: Record<string, Value>,
  runtime: Runtime,
): Promise<Map<string, readonly number[]>> {
  const { nodes, inputs, constants, outputs = ["y"], opset = 13 } = test;
  const alone = build({
    opset,
    inputs: { ...inputs },
    nodes,
    initializers: constants,
    outputs: [...outputs],
  });
  const written = await run(runtime, alone, feeds);
  return new Map<string, readonly number[]>([
    ...Object.entries(inputs),
    ...Object.entries(written).map(([name, { dims }]) => [name, dims] as const),
  ]);
}

/** Grids over `values`, each over its own or, if `setting` asks for one, all over all of them. */
function gridsOver(
  values: ReadonlyMap<string, Value>,
  { activationBits, oneGrid = false }: Setting,
): Map<string, ActivationGrid> {
  const ranges = [...values].map(([name, { data }]): [string, number, number] => {
    const reduce = (f: (a: number, b: number) => number) =>
      (data as Float32Array).reduce((a, b) => f(a, b), 0);
    return [name, reduce(Math.min), reduce(Math.max)];
  });
  const least = Math.min(...ranges.map(([, lo]) => lo));
  const most = Math.max(...ranges.map(([, , hi]) => hi));
  return new Map(
    ranges.map(([name, lo, hi]) => [
      name,
      gridOver(oneGrid ? least : lo, oneGrid ? most : hi, activationBits),
    ]),
  );
}

/** How far the file of `built` is from its simulation. */
export async function compare(built: Built, runtime: Runtime): Promise<Difference[]> {
  const { file, simulation, feeds, grids, plan: { graph } } = built;
  const expected = await run(runtime, simulation, feeds, { simulate: true });
  const actual = await run(runtime, file, feeds);
  // What is computed from a tensor on a grid that differs, differs as well: it is not looked at.
  const inputs = new Set(graph.inputs.map(({ name }) => name));
  const judged = Object.keys(expected).filter((name) => {
    const read = graph.producer(name)?.input[0] ?? "";
    return grids.has(name) || inputs.has(read) || !name.endsWith("_read");
  });
  return judged.map((name) => {
    const step = grids.get(name)?.scale;
    const want = Array.from(expected[name].data, Number),
      have = Array.from(actual[name].data, Number);
    const unit = step ?? Math.max(1e-30, ...want.map(Math.abs));
    const off = want.map((v, i) => Math.abs(v - have[i]) / unit);
    const same = have.length === want.length && have.every((v) => !Number.isNaN(v));
    return {
      name,
      most: same ? Math.max(0, ...off) : Infinity,
      differing: off.filter((v) => !(v < 1e-3)).length,
      count: off.length,
      onGrid: step !== undefined,
    };
  });
}

/** The operators that onnxruntime-node runs for `model`. */
export async function operators(model: Model): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "attune-test-")), path = join(folder, "model.onnx");
  try {
    const session = await ort.InferenceSession.create(serializeModel(model), {
      optimizedModelFilePath: path,
      logSeverityLevel: 3,
    });
    await session.release();
    return parseModel(readFileSync(path)).proto.graph.node.map(({ opType }) => opType);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function run(
  runtime: Runtime,
  model: Model,
  feeds: Record<string, Value>,
  options: OpenOptions = {},
): Promise<Record<string, Value>> {
  const session = await runtime.open(serializeModel(model), options);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/** `model` with the tensors `names`, of those that are computed, as outputs besides. */
function withOutputs(model: Model, names: readonly string[]): Model {
  const open = copyModel(model), { graph } = open.proto;
  const known = new Set(graph.output.map(({ name }) => name));
  const computed = new Set(graph.node.flatMap(({ output }) => output));
  for (const name of names) {
    if (computed.has(name) && !known.has(name)) graph.output.push(valueInfo(name));
  }
  return open;
}

function gridOver(lo: number, hi: number, bits: 4 | 8): ActivationGrid {
  const most = 2 ** bits - 1, scale = Math.fround(Math.max(1e-6, (hi - lo) / most));
  return { bits, scale, zeroPoint: Math.min(most, Math.max(0, Math.round(-lo / scale))) };
}

/** `layer` rounded to nearest, with its own bias or one of noise. */
function nearest(
  made: Plan,
  layer: LayerPlan,
  grids: ReadonlyMap<string, ActivationGrid>,
): Rounding {
  const { target, windows: { lows: [low], span }, groupsPerRow, granularity } = layer;
  const { groups, rows, depth, input } = target, all = groups * rows;
  const weights = readWeight(made.graph, target);
  const reach = (values: Float32Array) =>
    values.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-6);
  const count = granularity.kind === "tensor" ? 1 : all * groupsPerRow;
  const scales = Float32Array.from(
    { length: count },
    (_, i) => reach(count === 1 ? weights : weights.subarray(i * depth, (i + 1) * depth)) / -low,
  );
  const levels = Int8Array.from(weights, (v, i) => {
    const level = Math.round(v / scales[count === 1 ? 0 : Math.floor(i / depth)]);
    return Math.min(low + span, Math.max(low, level));
  });
  const rounding = { levels, scales, lows: new Int8Array(all).fill(low) };
  if (!canCorrectBias(made, layer)) return rounding;
  const source = made.activations.shared.get(input) ?? input;
  const bias = onGrid(noise(all, rows), biasScales(layer, scales, grids.get(source)));
  return { ...rounding, bias };
}
