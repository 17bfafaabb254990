/**
 * The time of gradients, relative to the forward pass, on one thread:
 * `deno run -A bench/gradient.ts [web | node] [conv | blocks]`. First every formulation of a
 * convolution's gradients, the chosen one marked by a star; then gradient graphs of typical blocks,
 * which hold the forward pass, too. The best of several runs is taken, and the contestants take
 * turns, so that a busy machine bends all alike.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { differentiate } from "../src/gradient/differentiate.ts";
import { inputFormulation, weightFormulation } from "../src/gradient/rules/conv_choice.ts";
import { transposed, turnedKernel } from "../src/gradient/rules/conv_input.ts";
import {
  allTaps,
  byChannel,
  byRows,
  bySample,
  byTap,
  type Convolution,
  type Formulation,
} from "../src/gradient/rules/conv_weight.ts";
import { windowOf } from "../src/gradient/rules/window.ts";
import { Tape } from "../src/gradient/tape.ts";
import { extract, valueInfo } from "../src/graph/extract.ts";
import { GraphProtoSchema, ModelProtoSchema, type NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import {
  type AttributeValue,
  copyModel,
  makeNode,
  type Model,
  serializeModel,
  setOpset,
} from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor, sizeOf } from "../src/onnx/tensor.ts";
import { type Backend, loadBackend } from "../src/runtime/backends.ts";
import type { Runtime, Value } from "../src/runtime/session.ts";

/** Numbers in [−1, 1) from a linear congruential generator. */
function noise(dims: readonly number[]): Value {
  const data = new Float32Array(sizeOf(dims));
  for (let i = 0, state = 1; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    data[i] = state / 2 ** 31;
  }
  return { type: "float32", dims, data };
}

const OPSET = 17;

type Shapes = Readonly<Record<string, readonly number[]>>;

function modelOf(inputs: Iterable<string>, nodes: NodeProto[], outputs: string[]): Model {
  const graph = create(GraphProtoSchema, {
    name: "bench",
    node: nodes,
    input: [...inputs].map((name) => valueInfo(name, DataType.FLOAT)),
    output: outputs.map((name) => valueInfo(name)),
  });
  const proto = create(ModelProtoSchema, { irVersion: 8n, graph });
  const model: Model = { proto: proto as Model["proto"], name: "bench" };
  setOpset(model, OPSET);
  return model;
}

/** The best time of each model in milliseconds; all take turns for about `budget` milliseconds. */
async function race(
  runtime: Runtime,
  models: readonly { model: Model; feeds: Record<string, Value> }[],
  budget: number,
): Promise<number[]> {
  const sessions = [];
  for (const { model, feeds } of models) {
    sessions.push({ session: await runtime.open(serializeModel(model)), feeds, best: Infinity });
  }
  const started = performance.now();
  for (let round = 0; round < 4 || performance.now() - started < budget; round++) {
    for (const contestant of sessions) {
      const start = performance.now();
      await contestant.session.run(contestant.feeds);
      contestant.best = Math.min(contestant.best, performance.now() - start);
    }
  }
  for (const { session } of sessions) await session.release();
  return sessions.map(({ best }) => best);
}

/** A convolution to measure: N × C × size × size to O channels. */
interface Case {
  readonly n: number;
  readonly c: number;
  readonly o: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly depthwise?: boolean;
}

const CASES: readonly Case[] = [
  { n: 32, c: 16, o: 16, size: 32, kernel: 3 },
  { n: 32, c: 32, o: 32, size: 16, kernel: 3 },
  { n: 32, c: 64, o: 64, size: 8, kernel: 3 },
  { n: 32, c: 16, o: 32, size: 32, kernel: 3, stride: 2 },
  { n: 4, c: 64, o: 64, size: 56, kernel: 3 },
  { n: 8, c: 256, o: 256, size: 14, kernel: 3 },
  { n: 8, c: 512, o: 512, size: 7, kernel: 3 },
  { n: 4, c: 3, o: 32, size: 224, kernel: 3, stride: 2 },
  { n: 2, c: 16, o: 96, size: 112, kernel: 1 },
  { n: 4, c: 24, o: 144, size: 56, kernel: 1 },
  { n: 4, c: 144, o: 24, size: 56, kernel: 1 },
  { n: 16, c: 64, o: 384, size: 14, kernel: 1 },
  { n: 16, c: 384, o: 64, size: 14, kernel: 1 },
  { n: 32, c: 160, o: 960, size: 7, kernel: 1 },
  { n: 4, c: 64, o: 128, size: 56, kernel: 1, stride: 2 },
  { n: 2, c: 32, o: 32, size: 112, kernel: 3, depthwise: true },
  { n: 2, c: 96, o: 96, size: 112, kernel: 3, stride: 2, depthwise: true },
  { n: 4, c: 144, o: 144, size: 56, kernel: 3, depthwise: true },
  { n: 4, c: 144, o: 144, size: 56, kernel: 3, stride: 2, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 3, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 3, stride: 2, depthwise: true },
  { n: 16, c: 384, o: 384, size: 14, kernel: 3, depthwise: true },
  { n: 16, c: 576, o: 576, size: 14, kernel: 3, stride: 2, depthwise: true },
  { n: 32, c: 960, o: 960, size: 7, kernel: 3, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 5, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 5, stride: 2, depthwise: true },
];

/**
 * The weight's gradient as a convolution with N and C exchanged: what all others are faster than.
 */
const exchanged: Formulation = ({ tape, x, w, g, window }) => {
  const reach = window.kernel.map((taps, i) => taps - Math.min(0, window.after[i]));
  const [inputs, outputs] = [tape.shape(x)[1], tape.shape(g)[1]];
  const swapped = [x, g].map((name) => tape.transpose(name, [1, 0, 2, 3]));
  const product = tape.node("Conv", swapped, [inputs, outputs, ...reach], {
    dilations: window.strides.map(BigInt),
    pads: [...window.before, ...window.after].map((length) => BigInt(Math.max(0, length))),
  });
  const taps = tape.slice(product, [0, 0, 0, 0], [inputs, outputs, ...window.kernel]);
  return tape.reshape(tape.transpose(taps, [1, 0, 2, 3]), tape.shape(w));
};

const FORMULATIONS = {
  byTap,
  allTaps,
  bySample,
  byRows,
  byChannel,
  exchanged,
  turnedKernel,
  transposed,
};

/** The forward pass of `test`, and every formulation of its gradients that applies. */
async function convolutions(runtime: Runtime, test: Case): Promise<void> {
  const { n, c, o, size, kernel, stride = 1, depthwise = false } = test;
  const pad = (kernel - 1) / 2, places = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const groups = depthwise ? c : 1;
  const shapes: Shapes = {
    x: [n, c, size, size],
    w: [o, c / groups, kernel, kernel],
    g: [n, o, places, places],
  };
  const attributes: Record<string, AttributeValue> = {
    strides: [BigInt(stride), BigInt(stride)],
    pads: [pad, pad, pad, pad].map(BigInt),
    group: BigInt(groups),
  };
  const node = makeNode("Conv", "y", ["x", "w"], ["y"], attributes);
  const window = windowOf(node, [kernel, kernel], [size, size], [places, places]);
  const convolution = (): Convolution => {
    const tape = new Tape(new Map(Object.entries(shapes)), new Set(Object.keys(shapes)), OPSET);
    return { tape, x: "x", w: "w", g: "g", window, groups };
  };
  const applies = (formulation: Formulation) =>
    formulation === byRows || formulation === byChannel
      ? depthwise
      : formulation === bySample
      ? kernel === 1
      : formulation === exchanged
      ? kernel > 1 && !depthwise
      : formulation !== turnedKernel || stride === 1;
  const entrants = Object.entries(FORMULATIONS).filter(([, f]) => applies(f));
  const chosen = [weightFormulation(convolution()), inputFormulation(convolution())];
  const feeds = Object.fromEntries(Object.entries(shapes).map(([k, dims]) => [k, noise(dims)]));
  const models = entrants.map(([, formulation]) => {
    const own = convolution(), output = formulation(own);
    const model = modelOf(Object.keys(shapes), own.tape.nodes, [output]);
    model.proto.graph.initializer.push(...own.tape.initializers);
    return { model, feeds };
  });
  const forward = { model: modelOf(["x", "w"], [node], ["y"]), feeds };
  const [time, ...others] = await race(runtime, [forward, ...models], 250 * (models.length + 1));
  const cells = entrants.map(([name, formulation], i) =>
    `${name}${chosen.includes(formulation) ? "*" : ""} ${(others[i] / time).toFixed(2)}`
  );
  const what = `${n}×${c}×${size}² → ${o}, ${kernel}×${kernel}/${stride}${depthwise ? " dw" : ""}`;
  console.log(`${what.padEnd(34)} ${time.toFixed(1).padStart(6)} ms  ${cells.join("  ")}`);
}

/** A block: nodes from x to y, with the shapes of all tensors. */
class Block {
  readonly nodes: NodeProto[] = [];
  readonly shapes = new Map<string, readonly number[]>();
  readonly weights: string[] = [];
  readonly constants: Record<string, number[]> = {};
  /** Output of the last node. */
  last = "x";

  constructor(input: readonly number[]) {
    this.shapes.set("x", input);
  }

  node(op: string, inputs: string[], shape: readonly number[], attributes = {}): string {
    const name = `${op}${this.nodes.length}`;
    this.nodes.push(makeNode(op, name, inputs, [name], attributes));
    this.shapes.set(name, shape);
    return this.last = name;
  }

  weight(shape: readonly number[]): string {
    const name = `weight${this.weights.length}`;
    this.weights.push(name);
    this.shapes.set(name, shape);
    return name;
  }

  constant(values: number[]): string {
    const name = `list${Object.keys(this.constants).length}`;
    this.constants[name] = values;
    return name;
  }

  /** A convolution with bias. */
  conv(x: string, outputs: number, kernel: number, stride = 1, depthwise = false): string {
    const [n, c, h, w] = this.shapes.get(x)!, pad = BigInt((kernel - 1) / 2);
    const weight = this.weight([outputs, depthwise ? 1 : c, kernel, kernel]);
    const bias = this.weight([outputs]);
    const shape = [n, outputs, Math.ceil(h / stride), Math.ceil(w / stride)];
    return this.node("Conv", [x, weight, bias], shape, {
      strides: [BigInt(stride), BigInt(stride)],
      pads: [pad, pad, pad, pad],
      group: depthwise ? BigInt(c) : 1n,
    });
  }

  map(op: string, ...inputs: string[]): string {
    return this.node(op, inputs, this.shapes.get(inputs[0])!);
  }

  /** Through a grid of 4 bits with a learned step. */
  grid(x: string): string {
    for (const name of ["zero", "fifteen"]) this.shapes.set(name, []);
    const step = this.weight([]), whole = this.map("Round", this.map("Div", x, step));
    return this.map("Mul", this.map("Clip", whole, "zero", "fifteen"), step);
  }

  /** x · W + b over the last axis. */
  linear(x: string, outputs: number): string {
    const shape = this.shapes.get(x)!, weight = this.weight([shape.at(-1)!, outputs]);
    const product = this.node("MatMul", [x, weight], [...shape.slice(0, -1), outputs]);
    return this.map("Add", product, this.weight([outputs]));
  }
}

function residual(n: number, c: number, size: number): Block {
  const block = new Block([n, c, size, size]);
  const inner = block.conv(block.map("Relu", block.conv("x", c, 3)), c, 3);
  block.map("Relu", block.map("Add", inner, "x"));
  return block;
}

/** The same with 4-bit activations. */
function quantizedResidual(n: number, c: number, size: number): Block {
  const block = new Block([n, c, size, size]);
  const first = block.grid(block.map("Relu", block.conv(block.grid("x"), c, 3)));
  block.grid(block.map("Relu", block.map("Add", block.conv(first, c, 3), "x")));
  return block;
}

/** The first layers of a residual network. */
function stem(n: number, size: number): Block {
  const block = new Block([n, 3, size, size]);
  const relu = block.map("Relu", block.conv("x", 64, 7, 2));
  block.node("MaxPool", [relu], [n, 64, size / 4, size / 4], {
    kernel_shape: [3n, 3n],
    strides: [2n, 2n],
    pads: [1n, 1n, 1n, 1n],
  });
  return block;
}

function invertedResidual(n: number, c: number, size: number, wide: number, stride = 1): Block {
  const block = new Block([n, c, size, size]);
  for (const name of ["zero", "six"]) block.shapes.set(name, []);
  const clip = (x: string) => block.map("Clip", x, "zero", "six");
  const expanded = clip(block.conv("x", wide, 1));
  const narrow = block.conv(clip(block.conv(expanded, wide, 3, stride, true)), c, 1);
  if (stride === 1) block.map("Add", narrow, "x");
  return block;
}

function transformer(n: number, tokens: number, width: number, heads: number): Block {
  const block = new Block([n, tokens, width]), own = width / heads;
  const norm = (x: string) =>
    block.node(
      "LayerNormalization",
      [x, block.weight([width]), block.weight([width])],
      [n, tokens, width],
    );
  const normed = norm("x");
  const head = (order: bigint[], shape: number[]) => {
    const apart = block.node("Reshape", [
      block.linear(normed, width),
      block.constant([n, tokens, heads, own]),
    ], [n, tokens, heads, own]);
    return block.node("Transpose", [apart], shape, { perm: order });
  };
  const q = head([0n, 2n, 1n, 3n], [n, heads, tokens, own]);
  const k = head([0n, 2n, 3n, 1n], [n, heads, own, tokens]);
  const v = head([0n, 2n, 1n, 3n], [n, heads, tokens, own]);
  const scores = block.node("MatMul", [q, k], [n, heads, tokens, tokens]);
  block.shapes.set("scale", []);
  const weights = block.map("Softmax", block.map("Mul", scores, "scale"));
  const mixed = block.node("MatMul", [weights, v], [n, heads, tokens, own]);
  const together = block.node("Transpose", [mixed], [n, tokens, heads, own], {
    perm: [0n, 2n, 1n, 3n],
  });
  const joined = block.node(
    "Reshape",
    [together, block.constant([n, tokens, width])],
    [n, tokens, width],
  );
  const attended = block.map("Add", block.linear(joined, width), "x");
  const inner = block.linear(norm(attended), 4 * width);
  block.shapes.set("root", []);
  block.shapes.set("one", []);
  block.shapes.set("half", []);
  const erf = block.map("Erf", block.map("Mul", inner, "root"));
  const gelu = block.map(
    "Mul",
    block.map("Mul", inner, "half"),
    block.map("Add", erf, "one"),
  );
  block.map("Add", block.linear(gelu, width), attended);
  return block;
}

const SCALARS: Readonly<Record<string, number>> = {
  zero: 0,
  six: 6,
  fifteen: 15,
  one: 1,
  half: 0.5,
  root: Math.SQRT1_2,
  scale: 0.2,
};

const BLOCKS: Readonly<Record<string, () => Block>> = {
  "residual 32×16×32²": () => residual(32, 16, 32),
  "residual 32×32×16²": () => residual(32, 32, 16),
  "residual 32×64×8²": () => residual(32, 64, 8),
  "residual 4×64×56²": () => residual(4, 64, 56),
  "residual 8×256×14²": () => residual(8, 256, 14),
  "residual 32×32×16², 4 bits": () => quantizedResidual(32, 32, 16),
  "residual 4×64×56², 4 bits": () => quantizedResidual(4, 64, 56),
  "stem 4×3×224²": () => stem(4, 224),
  "inverted 2×16×112² × 96 / 2": () => invertedResidual(2, 16, 112, 96, 2),
  "inverted 4×24×56² × 144": () => invertedResidual(4, 24, 56, 144),
  "inverted 8×32×28² × 192": () => invertedResidual(8, 32, 28, 192),
  "inverted 16×64×14² × 384": () => invertedResidual(16, 64, 14, 384),
  "inverted 32×160×7² × 960": () => invertedResidual(32, 160, 7, 960),
  "transformer 4×196×192, 3 heads": () => transformer(4, 196, 192, 3),
  "transformer 8×128×256, 4 heads": () => transformer(8, 128, 256, 4),
};

async function block(runtime: Runtime, name: string, make: () => Block): Promise<void> {
  const { nodes, shapes, weights, constants, last } = make();
  const model = modelOf(["x"], nodes, [last]), { graph } = model.proto;
  // Small weights, so that nothing saturates.
  const scaled = (dims: readonly number[]) => {
    const { type, data } = noise(dims);
    return { type, dims, data: (data as Float32Array).map((value) => value / 10) };
  };
  for (const weight of weights) {
    const { dims, data } = scaled(shapes.get(weight)!);
    graph.initializer.push(floatTensor(weight, dims, data));
  }
  for (const [key, value] of Object.entries(SCALARS)) {
    if (shapes.has(key)) graph.initializer.push(floatTensor(key, [], Float32Array.of(value)));
  }
  for (const [key, list] of Object.entries(constants)) {
    graph.initializer.push(int64Tensor(key, [list.length], list));
  }
  // The forward pass takes its weights as inputs, too: as constants they would be laid out in
  // advance.
  const types = new Map(["x", ...weights].map((key) => [key, DataType.FLOAT] as const));
  const forward = extract(copyModel(model), { inputs: types, outputs: [last] });
  const gradient = differentiate(model, shapes, { wrt: weights });
  const feeds = Object.fromEntries([
    ["x", noise(shapes.get("x")!)],
    ...weights.map((key) => [key, scaled(shapes.get(key)!)]),
  ]);
  const targets = Object.fromEntries(
    [...gradient.targets].map(([output, target]) => [target, noise(shapes.get(output)!)]),
  );
  const [time, whole] = await race(runtime, [
    { model: forward, feeds },
    { model: gradient.model, feeds: { ...feeds, ...targets } },
  ], 2500);
  const figures = `${time.toFixed(1).padStart(6)} ms  ${(whole / time).toFixed(2)}`;
  console.log(`${name.padEnd(34)} ${figures}`);
}

if (import.meta.main) {
  const [backend = "web", only] = Deno.args;
  const runtime = await loadBackend(backend as Backend);
  if (only !== "blocks") { for (const test of CASES) await convolutions(runtime, test); }
  if (only !== "conv") {
    for (const [name, make] of Object.entries(BLOCKS)) await block(runtime, name, make);
  }
}
