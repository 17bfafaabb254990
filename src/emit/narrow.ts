/**
 * Cuts a file with nested levels to fewer bits, without data: levels are shifted, scales multiplied
 * by powers of two, and the biases put in that belong to the width.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import { AttuneError } from "../errors.ts";
import { removeUnused } from "../graph/graph.ts";
import {
  type NodeProto,
  StringStringEntryProtoSchema,
  type TensorProto,
} from "../onnx/gen/onnx_pb.ts";
import { copyModel, intsAttribute, type Model, opsetOf } from "../onnx/model.ts";
import {
  bytesOf,
  DataType,
  dimsOf,
  floatTensor,
  rawBytes,
  rawTensor,
  readFloats,
  sizeOf,
} from "../onnx/tensor.ts";
import { cutLevel } from "../weights/grid.ts";
import { planesOf } from "../formats/planes.ts";
import { ModelWriter } from "../formats/writer.ts";
import { biasOfCut, NESTED_KEY, type NestedLayer, readNested } from "./nested.ts";
import { putPlanes } from "../formats/packed.ts";
import { PACKED_DOMAIN } from "../formats/packed_functions.ts";
import { unpackLevels } from "../formats/packing.ts";
import { integerBytes } from "../formats/dequantize.ts";
import type { NestedFormat } from "../formats/format.ts";
import { OPSETS } from "../formats/opsets.ts";

/** How {@linkcode cut} writes. */
export interface CutOptions {
  /**
   * `qdq`: integers of 4 or 8 bits; `packed`: as many bits as levels have. A packed file stays
   * packed. Default: as the file is.
   */
  format?: NestedFormat;
}

/**
 * The model of `bits` bits in `model`, a file of `quantize` with nested grids. Layers that are
 * never cut (the first and the last) keep their levels.
 *
 * @throws {AttuneError} `bad-model` where the file has no nested levels or does not fit its own
 * description; `bad-option` where it does not hold that width.
 *
 * @example
 * ```ts
 * import { cut } from "./narrow.ts";
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
export function cut(model: Model, bits: number, options: CutOptions = {}): Model {
  const { format: fileFormat, widths, layers } = readNested(model);
  const { format = fileFormat } = options;
  if (!widths.includes(bits)) {
    throw new AttuneError(
      "bad-option",
      `Cannot cut ${model.name} to ${bits} bits: it holds ${widths.join(", ")}`,
    );
  }
  if (fileFormat === "packed" && format === "qdq") {
    throw new AttuneError(
      "bad-option",
      `Cannot cut ${model.name} to qdq: it is packed; leave the format out, or quantize to qdq`,
    );
  }
  if (format === "packed" && opsetOf(model) < OPSETS.bitwise) {
    throw new AttuneError(
      "bad-model",
      `Cannot cut ${model.name} to packed: its opset is ${opsetOf(model)}, unpacking takes ` +
        `${OPSETS.bitwise}; quantize the float model anew`,
    );
  }
  const cutter = new Cutter(copyModel(model), format), done = new Set<string>();
  for (const layer of layers) {
    const from = layer.widths[0], to = layer.widths.findLast((width) => width >= bits) ?? from;
    if (!done.has(layer.weight)) cutter.cutWeight(layer.weight, from, to);
    done.add(layer.weight);
    const bias = biasOfCut(layer, bits);
    if (bias) cutter.setBias(layer, bias, 2 ** (from - to));
  }
  const narrowed = cutter.finish(), { metadataProps } = narrowed.proto;
  metadataProps.splice(metadataProps.findIndex(({ key }) => key === NESTED_KEY), 1);
  metadataProps.push(create(StringStringEntryProtoSchema, { key: "attune.cut", value: `${bits}` }));
  return narrowed;
}

/** Nodes that only move values, or change their type, or repeat them. */
const MOVES = ["Reshape", "Transpose", "Cast", "Gather"];

/** A model that is being cut. */
export class Cutter {
  readonly #model: Model;
  readonly #writer: ModelWriter;
  readonly #format: NestedFormat;
  readonly #producers = new Map<string, NodeProto>();
  readonly #initializers = new Map<string, TensorProto>();

  /** Cuts `model`, a copy that can be changed, to levels in `format`. */
  constructor(model: Model, format: NestedFormat) {
    this.#model = model;
    this.#writer = new ModelWriter(model);
    this.#format = format;
    const { node, initializer } = model.proto.graph;
    for (const each of node) for (const name of each.output) this.#producers.set(name, each);
    for (const tensor of initializer) this.#initializers.set(tensor.name, tensor);
  }

  /** The model, complete. */
  finish(): Model {
    this.#model.proto.graph.node.unshift(...this.#writer.constantNodes);
    removeUnused(this.#model);
    return this.#model;
  }

  /**
   * Cuts the levels of `weight`, the dequantized tensor, from `from` bits to `to`.
   *
   * @throws {AttuneError} `bad-model` where its levels are not to be found.
   */
  cutWeight(weight: string, from: number, to: number): void {
    if (to === from) return;
    const { levels, scale, zero } = this.#placeOf(weight);
    const { values, dims } = this.#levelsOf(levels, from);
    const narrow = values.map((level) => cutLevel(level, from, to));
    const scales = readFloats(scale, this.#model.external).map((s) => s * 2 ** (from - to));
    this.#put(floatTensor(scale.name, dimsOf(scale), scales));
    const packed = this.#format === "packed";
    const bits = packed || to > 4 || opsetOf(this.#model) < OPSETS.int4 ? 8 : 4;
    const type = bits === 4 ? DataType.INT4 : DataType.INT8;
    const zeros = integerBytes(new Int8Array(scales.length), bits);
    if (zero !== undefined) this.#put(rawTensor(zero, type, dimsOf(scale), zeros));
    if (!packed) {
      this.#put(rawTensor(levels, type, dims, integerBytes(narrow, bits)));
      return;
    }
    if (this.#initializers.has(levels)) this.#writer.remove(levels);
    else this.#removeNode(levels);
    const coding = { layout: planesOf(to), signed: true };
    putPlanes(this.#writer, narrow, { weight: levels, dims, coding, output: levels });
  }

  /** Sets the bias of `layer`, whose weight's scales were multiplied by `factor`. */
  setBias({ bias: name = "" }: NestedLayer, bias: Float32Array, factor: number): void {
    const checkLength = (dims: readonly number[]) => {
      if (sizeOf(dims) !== bias.length) throw this.#damaged(name);
    };
    if (this.#initializers.has(name)) {
      checkLength(dimsOf(this.#initializer(name)));
      this.#put(floatTensor(name, [bias.length], bias));
      return;
    }
    // An int32 bias, at input scale × weight scale.
    const node = this.#producers.get(name);
    if (node?.opType !== "DequantizeLinear") throw this.#damaged(name);
    const [levels, scale] = node.input, product = this.#producers.get(scale);
    let steps: Float32Array;
    if (product?.opType === "Mul" && product.input.length === 2) {
      // The weight's scales, cut by now, times the input's.
      const [input, weight] = product.input.map((name) => this.#floats(name));
      steps = weight.map((s) => s * input[0]);
    } else {
      steps = this.#floats(scale).map((s) => s * factor);
      this.#put(floatTensor(scale, dimsOf(this.#initializer(scale)), steps));
    }
    checkLength(dimsOf(this.#initializer(levels)));
    if (steps.length !== 1) checkLength([steps.length]);
    const stored = Int32Array.from(
      bias,
      (value, c) => Math.round(value / steps[steps.length === 1 ? 0 : c]),
    );
    this.#put(rawTensor(levels, DataType.INT32, [bias.length], bytesOf(stored)));
  }

  /**
   * Where the levels, scales and zero points of `weight` are: initializers, or levels being
   * unpacked.
   */
  #placeOf(weight: string): { levels: string; scale: TensorProto; zero?: string } {
    const node = this.#producers.get(this.#sourceOf(weight));
    if (node?.opType !== "DequantizeLinear" && node?.opType !== "Mul") throw this.#damaged(weight);
    const [levels, scale] = node.input.map((name) => this.#sourceOf(name));
    const zero = node.opType === "Mul" ? undefined : node.input[2];
    return { levels, scale: this.#initializer(scale), zero };
  }

  /** The tensor that `name` comes from by way of nodes that only move values. */
  #sourceOf(name: string): string {
    const seen = new Set<string>();
    for (let at = name;;) {
      const node = this.#producers.get(at);
      if (node === undefined || !MOVES.includes(node.opType)) return at;
      if (seen.has(at)) throw this.#damaged(name);
      seen.add(at);
      at = node.input[0];
    }
  }

  /** Levels of `bits` bits and their shape: a byte each, two to a byte, or in planes. */
  #levelsOf(name: string, bits: number): { values: Int8Array; dims: number[] } {
    const node = this.#producers.get(name), tensor = this.#initializers.get(name);
    const layout = node?.domain === PACKED_DOMAIN
      ? planesOf(bits)
      : { kind: "planes", widths: [tensor?.dataType === DataType.INT4 ? 4 : 8] } as const;
    const dims = tensor
      ? dimsOf(tensor)
      : node
      ? (intsAttribute(node, "shape") ?? []).map(Number)
      : [];
    if (tensor && tensor.dataType !== DataType.INT4 && tensor.dataType !== DataType.INT8) {
      throw this.#damaged(name);
    }
    // The inputs of the function are planes and their tables in turn.
    const planes = (tensor ? [name] : node?.input.filter((_, i) => i % 2 === 0) ?? [])
      .map((plane) => rawBytes(this.#initializer(plane), this.#model.external) ?? new Uint8Array());
    const count = sizeOf(dims);
    const whole = layout.kind === "planes" && planes.length === layout.widths.length &&
      layout.widths.every((width, i) => planes[i].length >= Math.ceil(count * width / 8));
    if (!whole) throw this.#damaged(name);
    return { values: unpackLevels(planes, count, { layout, signed: true }), dims };
  }

  #floats(name: string): Float32Array {
    return readFloats(this.#initializer(name), this.#model.external);
  }

  #initializer(name: string): TensorProto {
    const tensor = this.#initializers.get(name);
    if (tensor) return tensor;
    throw this.#damaged(name);
  }

  /** Puts `tensor` in the place of the one of its name. */
  #put(tensor: TensorProto): void {
    this.#initializer(tensor.name);
    this.#initializers.set(this.#writer.put(tensor), tensor);
  }

  /** Removes the node that gives `name`. */
  #removeNode(name: string): void {
    const { graph } = this.#model.proto, node = this.#producers.get(name);
    graph.node = graph.node.filter((each) => each !== node);
  }

  #damaged(tensor: string): AttuneError {
    return new AttuneError(
      "bad-model",
      `Cannot cut ${this.#model.name}: the levels of "${tensor}" are not where they were written; ` +
        `cut the file as quantize wrote it`,
    );
  }
}
