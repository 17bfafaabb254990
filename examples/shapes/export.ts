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
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];

  function add(
    opType: string,
    inputs: string[],
    attributes: Record<string, AttributeValue> = {},
  ): string {
    const name = `${opType.toLowerCase()}_${nodes.length}`;
    nodes.push(makeNode(opType, name, inputs, [name], attributes));
    return name;
  }

  function tensor(kind: string, dims: number[], values: Float32Array): string {
    const name = `${kind}_${nodes.length}`;
    initializers.push(floatTensor(name, dims, values));
    return name;
  }

  function conv(layer: Conv | Depthwise, input: string): string {
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
    return add("Conv", [input, tensor("weight", [outputs, inputs, kernel, kernel], weight)], {
      group: BigInt(group),
      kernel_shape: [kernel, kernel].map(BigInt),
      pads: Array(4).fill(BigInt((kernel - 1) / 2)),
      strides: [stride, stride].map(BigInt),
    });
  }

  function append(input: string, layer: Layer): string {
    if (layer instanceof Conv || layer instanceof Depthwise) return conv(layer, input);
    if (layer instanceof Relu) return add("Relu", [input]);
    if (layer instanceof Residual) {
      return add("Add", [layer.layers.reduce(append, input), input]);
    }
    if (layer instanceof GlobalPool) {
      return add("Flatten", [add("GlobalAveragePool", [input])], { axis: 1n });
    }
    if (layer instanceof BatchNorm) {
      const { channels, scale, shift, runningMean, runningVariance, epsilon } = layer;
      return add("BatchNormalization", [
        input,
        tensor("scale", [channels], scale.value),
        tensor("shift", [channels], shift.value),
        tensor("mean", [channels], runningMean),
        tensor("variance", [channels], runningVariance),
      ], { epsilon });
    }
    if (layer instanceof Dense) {
      const { inputs, outputs, weight, bias } = layer;
      return add("Gemm", [
        input,
        tensor("weight", [outputs, inputs], weight.value),
        tensor("bias", [outputs], bias.value),
      ], { transB: 1n });
    }
    throw new Error(`No ONNX operator for ${layer.constructor.name}`);
  }

  network.reduce(append, "image");
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
