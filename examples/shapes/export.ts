/**
 * The network as an ONNX file: float32, opset 13, free batch axis `N`, BatchNormalization kept.
 *
 * @module
 */

import { create, toBinary } from "@bufbuild/protobuf";
import {
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode } from "../../src/onnx/model.ts";
import { DataType, floatTensor } from "../../src/onnx/tensor.ts";
import { classes, side } from "./draw.ts";
import { BatchNorm, Conv, Dense, Depthwise, GlobalPool, type Layer } from "./network.ts";
import { Relu, Residual } from "./network.ts";

/** The bytes of the ONNX file: `image` (N×3×32×32) to `logits` (N×10). */
export function exportOnnx(network: readonly Layer[]): Uint8Array {
  const { nodes, initializers } = graphOf(network);
  nodes[nodes.length - 1].output = ["logits"];
  const model = create(ModelProtoSchema, {
    irVersion: 7n,
    producerName: "attune example",
    opsetImport: [{ domain: "", version: 13n }],
    graph: {
      name: "shapes",
      node: nodes,
      initializer: initializers,
      input: [valueInfo("image", ["N", 3, side, side])],
      output: [valueInfo("logits", ["N", classes.length])],
    },
  });
  return toBinary(ModelProtoSchema, model);
}

/** The nodes and weights of `network`, which reads `image`. */
function graphOf(network: readonly Layer[]): Graph {
  const graph = new Graph();
  network.reduce((input, layer) => append(graph, input, layer), "image");
  return graph;
}

/** Nodes in their order, and the weights that they read. */
class Graph {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];

  /** Adds a node of one output, and gives the output's name. */
  node(
    opType: string,
    inputs: string[],
    attributes: Record<string, AttributeValue> = {},
  ): string {
    const name = `${opType.toLowerCase()}_${this.nodes.length}`;
    this.nodes.push(makeNode(opType, name, inputs, [name], attributes));
    return name;
  }

  /** Adds a weight of the node that comes next, and gives its name. */
  tensor(kind: string, dims: number[], values: Float32Array): string {
    const name = `${kind}_${this.nodes.length}`;
    this.initializers.push(floatTensor(name, dims, values));
    return name;
  }
}

/** Adds `layer`, which reads `input`, to `graph`, and gives the name of what it computes. */
function append(graph: Graph, input: string, layer: Layer): string {
  if (layer instanceof Conv || layer instanceof Depthwise) return appendConv(graph, input, layer);
  if (layer instanceof Relu) return graph.node("Relu", [input]);
  if (layer instanceof Residual) {
    const branch = layer.layers.reduce((last, inner) => append(graph, last, inner), input);
    return graph.node("Add", [branch, input]);
  }
  if (layer instanceof GlobalPool) {
    return graph.node("Flatten", [graph.node("GlobalAveragePool", [input])], { axis: 1n });
  }
  if (layer instanceof BatchNorm) {
    const { channels, scale, shift, runningMean, runningVariance, epsilon } = layer;
    return graph.node("BatchNormalization", [
      input,
      graph.tensor("scale", [channels], scale.value),
      graph.tensor("shift", [channels], shift.value),
      graph.tensor("mean", [channels], runningMean),
      graph.tensor("variance", [channels], runningVariance),
    ], { epsilon });
  }
  if (layer instanceof Dense) {
    const { inputs, outputs, weight, bias } = layer;
    return graph.node("Gemm", [
      input,
      graph.tensor("weight", [outputs, inputs], weight.value),
      graph.tensor("bias", [outputs], bias.value),
    ], { transB: 1n });
  }
  throw new Error(`No ONNX operator for ${layer.constructor.name}`);
}

function appendConv(graph: Graph, input: string, layer: Conv | Depthwise): string {
  const { kernel, stride, weight: { value } } = layer;
  const [inputs, outputs, group] = layer instanceof Conv
    ? [layer.inputs, layer.outputs, 1]
    : [1, layer.channels, layer.channels];
  const taps = kernel * kernel;
  // Ours: outputs × taps × inputs, depthwise taps × outputs. ONNX: outputs × inputs × taps.
  const weight = Float32Array.from(value, (_, i) => {
    const [o, c, t] = [Math.floor(i / (inputs * taps)), Math.floor(i / taps) % inputs, i % taps];
    return value[group === 1 ? (o * taps + t) * inputs + c : t * outputs + o];
  });
  const shape = [outputs, inputs, kernel, kernel];
  return graph.node("Conv", [input, graph.tensor("weight", shape, weight)], {
    group: BigInt(group),
    kernel_shape: [kernel, kernel].map(BigInt),
    pads: Array(4).fill(BigInt((kernel - 1) / 2)),
    strides: [stride, stride].map(BigInt),
  });
}

function valueInfo(name: string, dims: (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) => ({
    value: typeof size === "string"
      ? { case: "dimParam" as const, value: size }
      : { case: "dimValue" as const, value: BigInt(size) },
  }));
  const tensorType = { elemType: DataType.FLOAT, shape: { dim } };
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: tensorType } },
  });
}
