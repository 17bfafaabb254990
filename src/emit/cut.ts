/**
 * Cuts a file with nested levels to fewer bits, without data: levels are shifted, scales multiplied by
 * powers of two, and the biases put in that belong to the width.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { create } from "@bufbuild/protobuf";
import { StringStringEntryProtoSchema } from "../onnx/gen/onnx_pb.ts";
import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { copyModel, type Model } from "../onnx/model.ts";
import { bytesOf, DataType, dimsOf, floatTensor, rawBytes, rawTensor } from "../onnx/tensor.ts";
import { readFloats, sizeOf } from "../onnx/tensor.ts";
import { cutLevel } from "../plan/grid.ts";
import { storeLevels } from "./build.ts";
import { biasOfCut, NESTED_KEY, type NestedLayer, readNested } from "./nested.ts";

/**
 * The model of `bits` bits in `model`, a file of `quantize` with nested grids. Layers that are never cut
 * (the first and the last) keep their levels.
 *
 * @throws {AttuneError} `bad-model` where the file has no nested levels or does not fit its own
 * description; `bad-option` where it does not hold that width.
 *
 * @example
 * ```ts
 * import { cut } from "./cut.ts";
 * import { readModel } from "../onnx/file.ts";
 *
 * const shapes = new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname;
 * try {
 *   cut(readModel(shapes), 4);
 *   throw new Error("unexpected");
 * } catch (error) {
 *   if (!(error as Error).message.includes("no nested levels")) throw error;
 * }
 * ```
 */
export function cut(model: Model, bits: number): Model {
  const { widths, layers } = readNested(model);
  if (!widths.includes(bits)) {
    throw new AttuneError(
      "bad-option",
      `Cannot cut ${model.name} to ${bits} bits: it holds ${widths.join(", ")}`,
    );
  }
  const made = copyModel(model), done = new Set<string>();
  for (const layer of layers) {
    const own = layer.widths[0], narrow = layer.widths.findLast((width) => width >= bits) ?? own;
    if (!done.has(layer.weight)) cutWeight(made, layer.weight, own, narrow);
    done.add(layer.weight);
    const bias = biasOfCut(layer, bits);
    if (bias) setBias(made, layer, bias, 2 ** (own - narrow));
  }
  const { metadataProps } = made.proto;
  metadataProps.splice(metadataProps.findIndex(({ key }) => key === NESTED_KEY), 1);
  metadataProps.push(
    create(StringStringEntryProtoSchema, { key: "attune.cut", value: `${bits}` }),
  );
  return made;
}

/**
 * Cuts the levels of `weight` (the tensor that a DequantizeLinear, and moves after it, give) from
 * `from` bits to `to`: in the initializers of `model`.
 *
 * @throws {AttuneError} `bad-model` where its levels are not to be found.
 */
export function cutWeight(model: Model, weight: string, from: number, to: number): void {
  if (to === from) return;
  const node = dequantizeOf(model, weight);
  const levels = initializer(model, node.input[0]), scale = initializer(model, node.input[1]);
  const type = to <= 4 ? DataType.INT4 : DataType.INT8, dims = dimsOf(levels);
  const narrow = readLevels(model, levels).map((level) => cutLevel(level, from, to));
  const scales = readFloats(scale, model.external), shape = dimsOf(scale);
  const zero = storeLevels(new Int8Array(scales.length), type);
  replace(model, rawTensor(levels.name, type, dims, storeLevels(narrow, type)));
  replace(model, floatTensor(scale.name, shape, scales.map((s) => s * 2 ** (from - to))));
  if (node.input[2]) replace(model, rawTensor(node.input[2], type, shape, zero));
}

/** Sets the bias of `layer`, whose weight's scales were multiplied by `factor`. */
function setBias(model: Model, layer: NestedLayer, bias: Float32Array, factor: number): void {
  const name = layer.bias ?? "";
  if (model.proto.graph.initializer.some((tensor) => tensor.name === name)) {
    replace(model, floatTensor(name, [bias.length], bias));
    return;
  }
  // An int32 bias, at input scale × weight scale.
  const node = dequantizeOf(model, name), scale = initializer(model, node.input[1]);
  const scales = readFloats(scale, model.external).map((s) => s * factor);
  const levels = Int32Array.from(bias, (value, c) => Math.round(value / scales[c]));
  replace(model, rawTensor(node.input[0], DataType.INT32, [bias.length], bytesOf(levels)));
  replace(model, floatTensor(scale.name, dimsOf(scale), scales));
}

/** The DequantizeLinear that `name` comes from, by way of nodes that only move values. */
function dequantizeOf(model: Model, name: string): NodeProto {
  const { node: nodes } = model.proto.graph;
  for (let at = name;;) {
    const node = nodes.find((node) => node.output.includes(at));
    if (node?.opType === "DequantizeLinear" && node.input.length >= 2) return node;
    if (node?.opType !== "Reshape" && node?.opType !== "Transpose") throw damaged(model, name);
    at = node.input[0];
  }
}

function initializer(model: Model, name: string): TensorProto {
  const tensor = model.proto.graph.initializer.find((tensor) => tensor.name === name);
  if (tensor) return tensor;
  throw damaged(model, name);
}

function replace(model: Model, tensor: TensorProto): void {
  const { initializer } = model.proto.graph;
  const index = initializer.findIndex(({ name }) => name === tensor.name);
  if (index < 0) throw damaged(model, tensor.name);
  initializer[index] = tensor;
}

/** Levels as ONNX stores them: a byte each, or 4-bit integers two to a byte. */
function readLevels(model: Model, tensor: TensorProto): Int8Array {
  const bytes = rawBytes(tensor, model.external) ?? new Uint8Array();
  const size = sizeOf(tensor.dims), packed = tensor.dataType === DataType.INT4;
  if (
    (!packed && tensor.dataType !== DataType.INT8) ||
    bytes.length !== (packed ? Math.ceil(size / 2) : size)
  ) throw damaged(model, tensor.name);
  if (!packed) return Int8Array.from(new Int8Array(bytes.slice().buffer));
  return Int8Array.from({ length: size }, (_, i) => bytes[i >> 1] << (i & 1 ? 24 : 28) >> 28);
}

function damaged({ name }: Model, tensor: string): AttuneError {
  return new AttuneError(
    "bad-model",
    `Cannot cut ${name}: the levels of "${tensor}" are not where they were written; ` +
      `cut the file as quantize wrote it`,
  );
}
