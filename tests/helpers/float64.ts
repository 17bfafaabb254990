/**
 * Runs a model in float64, node by node: by onnxruntime where it has kernels for doubles, and by
 * plain loops for the operators where it has none. What central differences are taken of.
 */

import { Graph } from "../../src/graph/graph.ts";
import type { NodeProto } from "../../src/onnx/gen/onnx_pb.ts";
import { floatAttribute, intAttribute, intsAttribute, type Model } from "../../src/onnx/model.ts";
import { DataType, dimsOf, rawTensor, readTensor } from "../../src/onnx/tensor.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import type { Session } from "../../src/runtime/session.ts";
import { sessionBytes } from "../../src/onnx/session_bytes.ts";
import { windowOf } from "../../src/gradient/rules/window.ts";
import { erf } from "../twins/kernel.ts";
import { build } from "./models.ts";

/** A tensor of float64, or of whole numbers. */
export interface Tensor64 {
  dims: readonly number[];
  data: Float64Array | BigInt64Array;
}

type Op = (node: NodeProto, inputs: Tensor64[], places: readonly number[]) => Tensor64;

const unary = (f: (x: number, node: NodeProto) => number): Op => (node, [x]) => ({
  dims: x.dims,
  data: (x.data as Float64Array).map((value) => f(value, node)),
});

/** Visits all index tuples below `dims`. */
function* indices(dims: readonly number[]): Generator<number[]> {
  const count = dims.reduce((a, b) => a * b, 1);
  for (let i = 0; i < count; i++) {
    let rest = i;
    yield dims.map((_, axis) => {
      const stride = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
      const at = Math.floor(rest / stride);
      rest %= stride;
      return at;
    });
  }
}

const offset = (dims: readonly number[], at: readonly number[]) =>
  at.reduce((sum, index, axis) => sum * dims[axis] + index, 0);

/** Calls `visit` for every tap of every window that lies on the image. */
function slide(
  node: NodeProto,
  kernelSize: readonly number[],
  size: readonly number[],
  places: readonly number[],
  visit: (place: number[], tap: number[], at: number[]) => void,
): void {
  const { strides, dilations, before } = windowOf(node, kernelSize, size, places);
  for (const place of indices(places)) {
    for (const tap of indices(kernelSize)) {
      const at = place.map((p, i) => p * strides[i] + tap[i] * dilations[i] - before[i]);
      if (at.every((index, i) => index >= 0 && index < size[i])) visit(place, tap, at);
    }
  }
}

/** Conv, and its adjoint: the same triples of input, weight and output, summed another way. */
function convolve(transposed: boolean): Op {
  return (node, [x, w, b], dims) => {
    const groups = intAttribute(node, "group", 1);
    // The channels of the image that windows lie on, and of the one that has a value per window.
    const [image, windows] = transposed ? [dims, x.dims] : [x.dims, dims];
    const out = new Float64Array(dims.reduce((a, c) => a * c, 1));
    const inner = w.dims[1], outer = w.dims[0] / groups;
    slide(node, w.dims.slice(2), image.slice(2), windows.slice(2), (place, tap, at) => {
      for (let n = 0; n < x.dims[0]; n++) {
        for (let o = 0; o < w.dims[0]; o++) {
          for (let c = 0; c < inner; c++) {
            const onImage = offset(image, [n, Math.floor(o / outer) * inner + c, ...at]);
            const onWindow = offset(windows, [n, o, ...place]);
            const weight = w.data[offset(w.dims, [o, c, ...tap])] as number;
            if (transposed) out[onImage] += weight * (x.data[onWindow] as number);
            else out[onWindow] += weight * (x.data[onImage] as number);
          }
        }
      }
    });
    const area = dims.slice(2).reduce((a, c) => a * c, 1);
    if (b) {
      for (let i = 0; i < out.length; i++) {
        out[i] += b.data[Math.floor(i / area) % dims[1]] as number;
      }
    }
    return { dims, data: out };
  };
}

const averagePool: Op = (node, [x], dims) => {
  const size = x.dims.slice(2),
    places = dims.slice(2),
    kernelSize = intsAttribute(node, "kernel_shape")!;
  const out = new Float64Array(dims.reduce((a, c) => a * c, 1)),
    counts = new Float64Array(out.length);
  slide(node, kernelSize, size, places, (place, _, at) => {
    for (let plane = 0; plane < dims[0] * dims[1]; plane++) {
      const to = offset([dims[0] * dims[1], ...places], [plane, ...place]);
      out[to] += x.data[offset([dims[0] * dims[1], ...size], [plane, ...at])] as number;
      counts[to]++;
    }
  });
  const all = kernelSize.reduce((a, c) => a * c, 1);
  const padding = intAttribute(node, "count_include_pad", 0) === 1;
  return { dims, data: out.map((sum, i) => sum / (padding ? all : counts[i])) };
};

/** One value for each plane of an image. */
const global = (f: (plane: Float64Array) => number): Op => (_, [x]) => {
  const area = x.dims.slice(2).reduce((a, c) => a * c, 1);
  const data = Float64Array.from(
    { length: x.dims[0] * x.dims[1] },
    (_, plane) => f((x.data as Float64Array).subarray(plane * area, (plane + 1) * area)),
  );
  return { dims: x.dims.map((size, axis) => axis < 2 ? size : 1), data };
};

const OPS: Record<string, Op> = {
  Conv: convolve(false),
  ConvTranspose: convolve(true),
  AveragePool: averagePool,
  GlobalAveragePool: global((own) => own.reduce((a, c) => a + c, 0) / own.length),
  GlobalMaxPool: global((own) => Math.max(...own)),
  Erf: unary(erf),
  Gelu: unary((x, node) =>
    node.attribute.length > 0
      ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : 0.5 * x * (1 + erf(x / Math.SQRT2))
  ),
  LeakyRelu: unary((x, node) => x > 0 ? x : x * floatAttribute(node, "alpha", 0.01)),
  Elu: unary((x, node) => x > 0 ? x : floatAttribute(node, "alpha", 1) * Math.expm1(x)),
  Softplus: unary((x) => Math.log1p(Math.exp(x))),
  HardSigmoid: unary((x, node) =>
    Math.min(
      1,
      Math.max(0, floatAttribute(node, "alpha", 0.2) * x + floatAttribute(node, "beta", 0.5)),
    )
  ),
  HardSwish: unary((x) => x * Math.min(1, Math.max(0, x / 6 + 0.5))),
  PRelu: (_, [x, slope]) => {
    const area = x.dims.slice(2).reduce((a, c) => a * c, 1);
    return {
      dims: x.dims,
      data: (x.data as Float64Array).map((value, i) =>
        value > 0 ? value : value * (slope.data[Math.floor(i / area) % slope.dims[0]] as number)
      ),
    };
  },
  // Of inputs of one shape.
  Mean: (_, inputs, dims) => ({
    dims,
    data: (inputs[0].data as Float64Array).map((_, i) =>
      inputs.reduce((sum, { data }) => sum + Number(data[i]), 0) / inputs.length
    ),
  }),
  Resize: (_, [x], dims) => {
    const data = new Float64Array(dims.reduce((a, c) => a * c, 1));
    let i = 0;
    for (const at of indices(dims)) {
      const from = at.map((index, axis) => Math.floor(index * x.dims[axis] / dims[axis]));
      data[i++] = x.data[offset(x.dims, from)] as number;
    }
    return { dims, data };
  },
  InstanceNormalization: (node, [x, scale, bias]) => {
    const area = x.dims.slice(2).reduce((a, c) => a * c, 1), data = new Float64Array(x.data.length);
    for (let plane = 0; plane < x.dims[0] * x.dims[1]; plane++) {
      const own = (x.data as Float64Array).subarray(plane * area, (plane + 1) * area);
      const mean = own.reduce((a, c) => a + c, 0) / area;
      const variance = own.reduce((a, c) => a + (c - mean) ** 2, 0) / area;
      const deviation = Math.sqrt(variance + floatAttribute(node, "epsilon", 1e-5));
      const c = plane % x.dims[1];
      own.forEach((value, i) =>
        data[plane * area + i] = (value - mean) / deviation * (scale.data[c] as number) +
          (bias.data[c] as number)
      );
    }
    return { dims: x.dims, data };
  },
};

/** A model in float64, for as many runs as needed. */
export class Float64Model implements AsyncDisposable {
  readonly #graph: Graph;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #sessions = new Map<NodeProto, Session>();

  /** `shapes`: of every tensor, for the batch that will be fed. */
  constructor(model: Model, shapes: ReadonlyMap<string, readonly number[]>) {
    this.#graph = new Graph(model);
    this.#shapes = shapes;
  }

  /** The outputs for `feeds`, which may hold initializers, too. */
  async run(feeds: Record<string, Tensor64>): Promise<Record<string, Tensor64>> {
    const values: Record<string, Tensor64> = { ...feeds };
    for (const tensor of this.#graph.proto.initializer) {
      if (tensor.name in values) continue;
      const data = readTensor(tensor);
      const wide = tensor.dataType === DataType.FLOAT
        ? Float64Array.from(data as Float32Array)
        : data;
      values[tensor.name] = { dims: dimsOf(tensor), data: wide as Float64Array };
    }
    for (const node of this.#graph.nodes) {
      const inputs = node.input.map((name) => values[name]);
      const op = OPS[node.opType];
      if (op) values[node.output[0]] = op(node, inputs, this.#shapes.get(node.output[0])!);
      else Object.assign(values, await this.#byRuntime(node, values));
    }
    return Object.fromEntries(this.#graph.outputs.map((name) => [name, values[name]]));
  }

  /** One node by onnxruntime's kernels for doubles. */
  async #byRuntime(node: NodeProto, values: Record<string, Tensor64>) {
    let session = this.#sessions.get(node);
    const read = [...new Set(node.input.filter((name) => name !== ""))];
    const typed = (name: string) =>
      values[name].data instanceof Float64Array ? DataType.DOUBLE : DataType.INT64;
    if (session === undefined) {
      const constant = (name: string) => typed(name) === DataType.INT64;
      const model = build({
        opset: 21,
        inputs: Object.fromEntries(
          read.filter((name) => !constant(name)).map((name) => [name, [...values[name].dims]]),
        ),
        types: Object.fromEntries(read.map((name) => [name, typed(name)])),
        nodes: [node],
        initializers: read.filter(constant).map((name) =>
          rawTensor(
            name,
            DataType.INT64,
            [...values[name].dims],
            new Uint8Array(values[name].data.slice().buffer),
          )
        ),
        outputs: node.output.filter((name) => name !== ""),
      });
      session = await (await loadBackend("web")).open(sessionBytes(model));
      this.#sessions.set(node, session);
    }
    const feeds = read.map((name) => {
      const { dims, data } = values[name];
      return [name, { type: data instanceof Float64Array ? "float64" : "int64", dims, data }];
    });
    const results = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(
      Object.entries(results).map((
        [name, { dims, data }],
      ) => [name, { dims, data: data as Float64Array }]),
    );
  }

  /** Closes the sessions. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
  }
}
