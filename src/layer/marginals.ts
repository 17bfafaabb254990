/**
 * What activations are like without a single sample: from the moments that BatchNormalization told
 * of (see `graph/carried_moments.ts`), through what lies between it and the next layer.
 *
 * A channel after BatchNormalization is taken for a Gaussian. It is kept as its values at fixed
 * points of the standard normal distribution, so that any function of one value is applied to
 * those: the moments after a Relu are those of a rectified Gaussian. What is computed from one
 * Gaussian alone (x · sigmoid(x)) stays point by point; a sum of two is a Gaussian again.
 *
 * Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019.
 *
 * @module
 */

import type { ChannelMoments } from "../graph/carried_moments.ts";
import { compute } from "../graph/constant_operators.ts";
import { type Constant, numbersOf, readConstant } from "../graph/constant_values.ts";
import { type Graph, isStandard } from "../graph/graph.ts";
import { floatAttribute, stringAttribute } from "../onnx/model.ts";
import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { sizeOf } from "../onnx/tensor.ts";

/** Points of the standard normal distribution: every quarter from −4 to 4. */
const POINTS = Float64Array.from({ length: 33 }, (_, i) => (i - 16) / 4);
/** Their shares. */
const SHARES = sharesOf(POINTS);

/** The distribution of each channel of a tensor. */
export interface Marginals {
  /** Values at {@linkcode POINTS}, channel by channel. */
  readonly values: Float64Array;
  /** The tensor whose Gaussian they are a function of. */
  readonly source: string;
}

/** A function of one value and of the node that computes it; undefined where it is not known. */
type Elementwise = (graph: Graph, node: NodeProto) => ((x: number) => number) | undefined;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const hardSigmoid = (alpha: number, beta: number) => (x: number) =>
  Math.max(0, Math.min(1, alpha * x + beta));

/** The functions of one value that are followed. */
const FUNCTIONS: Readonly<Record<string, Elementwise>> = {
  Identity: () => (x) => x,
  Relu: () => (x) => Math.max(0, x),
  Clip: clip,
  LeakyRelu: (_, node) => {
    const alpha = floatAttribute(node, "alpha", 0.01);
    return (x) => x < 0 ? alpha * x : x;
  },
  Sigmoid: () => sigmoid,
  Tanh: () => (x) => 2 * sigmoid(2 * x) - 1,
  HardSigmoid: (_, node) =>
    hardSigmoid(floatAttribute(node, "alpha", 0.2), floatAttribute(node, "beta", 0.5)),
  HardSwish: () => (x) => x * hardSigmoid(1 / 6, 1 / 2)(x),
};

/** What two values come to. */
const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
};

/** Integers that axes and pads are made of, at most. */
const MOST_INTEGERS = 256;

/** Operators that keep what each channel is like: they pick, move or average its values. */
const KEEPS = new Set(["AveragePool", "GlobalAveragePool", "Flatten", "Squeeze", "Reshape"]);

/** The distributions of all tensors of `graph` of which `moments` tell, by name. */
export function marginalsOf(
  graph: Graph,
  moments: ReadonlyMap<string, ChannelMoments>,
): Map<string, Marginals> {
  const known = new Map<string, Marginals>();
  for (const node of graph.nodes) {
    const [output] = node.output, told = moments.get(output);
    const result = told ? gaussian(output, told) : isStandard(node) && after(graph, node, known);
    if (result && result.values.every(Number.isFinite)) known.set(output, result);
  }
  return known;
}

/** Mean and variance of each channel. */
export function momentsOf({ values }: Marginals): ChannelMoments {
  const count = POINTS.length, channels = values.length / count;
  const mean = new Float64Array(channels), variance = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const of = values.subarray(c * count, (c + 1) * count);
    mean[c] = of.reduce((sum, value, i) => sum + SHARES[i] * value, 0);
    variance[c] = of.reduce((sum, value, i) => sum + SHARES[i] * (value - mean[c]) ** 2, 0);
  }
  return { mean, variance };
}

function gaussian(source: string, { mean, variance }: ChannelMoments): Marginals {
  const count = POINTS.length;
  const values = Float64Array.from({ length: mean.length * count }, (_, i) => {
    const c = Math.floor(i / count);
    return mean[c] + Math.sqrt(variance[c]) * POINTS[i % count];
  });
  return { values, source };
}

/** What `node` makes of what is known. */
function after(
  graph: Graph,
  node: NodeProto,
  known: ReadonlyMap<string, Marginals>,
): Marginals | undefined {
  const [first, second] = node.input, x = known.get(first), { opType } = node;
  if (Object.hasOwn(ARITHMETIC, opType)) {
    const combine = ARITHMETIC[opType], y = known.get(second);
    if (x && y) return ofTwo(node, combine, x, y);
    const constant = graph.floats(x ? second : first);
    return constant && withConstant(x ?? y, constant, x ? combine : (a, b) => combine(b, a));
  }
  if (x === undefined) return undefined;
  if (KEEPS.has(opType) || isSpatial(graph, node)) return x;
  if (opType === "Pad") return padded(graph, node, x);
  const apply = Object.hasOwn(FUNCTIONS, opType) ? FUNCTIONS[opType](graph, node) : undefined;
  return apply && { ...x, values: x.values.map(apply) };
}

/** Point by point where both come from one Gaussian; else only a sum is known. */
function ofTwo(
  node: NodeProto,
  combine: (a: number, b: number) => number,
  x: Marginals,
  y: Marginals,
): Marginals | undefined {
  if (x.values.length !== y.values.length) return undefined;
  if (x.source === y.source) {
    return { source: x.source, values: x.values.map((value, i) => combine(value, y.values[i])) };
  }
  if (node.opType !== "Add") return undefined;
  const a = momentsOf(x), b = momentsOf(y);
  return gaussian(node.output[0], {
    mean: a.mean.map((mean, c) => mean + b.mean[c]),
    variance: a.variance.map((variance, c) => variance + b.variance[c]),
  });
}

/** With a scalar, or a value for each channel along the second axis. */
function withConstant(
  x: Marginals | undefined,
  { values, dims }: { readonly values: Float32Array; readonly dims: readonly number[] },
  combine: (a: number, b: number) => number,
): Marginals | undefined {
  if (x === undefined) return undefined;
  const channels = x.values.length / POINTS.length;
  const perChannel = values.length === channels && dims.length >= 3 && dims.at(-3) === channels &&
    sizeOf(dims.slice(-2)) === 1;
  if (values.length !== 1 && !perChannel) return undefined;
  const of = (i: number) => values[perChannel ? Math.floor(i / POINTS.length) : 0];
  return { ...x, values: x.values.map((value, i) => combine(value, of(i))) };
}

/** The function of a Clip with constant bounds. */
function clip(graph: Graph, { input }: NodeProto): ((x: number) => number) | undefined {
  const [low, high] = [input[1], input[2]].map((name, i) =>
    name ? graph.floats(name)?.values[0] : i === 0 ? -Infinity : Infinity
  );
  if (low === undefined || high === undefined) return undefined;
  return (x) => Math.min(high, Math.max(low, x));
}

/** Whether `node` averages over, or picks among, values of the axes of an image alone. */
function isSpatial(graph: Graph, node: NodeProto): boolean {
  if (node.opType !== "ReduceMean" && node.opType !== "Slice") return false;
  const axes = integers(graph, node.input[node.opType === "Slice" ? 3 : 1] ?? "");
  return axes !== undefined && axes.length > 0 &&
    axes.every((axis) => axis >= 2 || axis === -1 || axis === -2);
}

/** With channels of zeros before and after those of `x`. */
function padded(graph: Graph, node: NodeProto, x: Marginals): Marginals | undefined {
  const pads = integers(graph, node.input[1] ?? "") ?? [], axes = pads.length / 2;
  const isZeros = stringAttribute(node, "mode", "constant") === "constant" && !node.input[2] &&
    !node.input[3];
  if (!isZeros || axes < 3 || pads.some((pad, i) => pad < 0 || (pad > 0 && i % axes !== 1))) {
    return undefined;
  }
  const before = pads[1] * POINTS.length, after = pads[axes + 1] * POINTS.length;
  const values = new Float64Array(before + x.values.length + after);
  values.set(x.values, before);
  return { ...x, values };
}

/** The integers that `name` holds, or that nodes compute from constants alone. */
function integers(graph: Graph, name: string): number[] | undefined {
  const constant = graph.isSteady(name) ? steady(graph, name) : constantOf(graph, name);
  return constant && Array.from(numbersOf(constant));
}

function constantOf(graph: Graph, name: string): Constant | undefined {
  const tensor = graph.constant(name);
  return tensor && readConstant(tensor, graph.model.external);
}

function steady(graph: Graph, name: string): Constant | undefined {
  const node = graph.producer(name);
  if (node === undefined) return constantOf(graph, name);
  const inputs = node.input.map((input) => steady(graph, input));
  const isKnown = isStandard(node) && inputs.every((input) => input !== undefined);
  return isKnown
    ? compute(node, inputs as Constant[], MOST_INTEGERS, node.output.indexOf(name))
    : undefined;
}

function sharesOf(points: Float64Array): Float64Array {
  const densities = points.map((x) => Math.exp(-x * x / 2));
  const sum = densities.reduce((sum, density) => sum + density, 0);
  return densities.map((density) => density / sum);
}
