/**
 * What an adapter may ask of the graph around a node, and how it adds constants to it.
 *
 * @module
 */

import type { GraphProto, NodeProto, TensorProto } from "../../onnx/gen/onnx_pb.ts";
import { attributeOf, makeNode, type Model } from "../../onnx/model.ts";
import { DataType, floatTensor, int64Tensor, readTensor } from "../../onnx/tensor.ts";
import { AttuneError } from "../../errors.ts";
import { freshName, nodeName, readsOf } from "../graph.ts";

/** Operators whose output has the rank of their first input. */
const SAME_RANK = new Set([
  ...["AveragePool", "BatchNormalization", "Cast", "Clip", "Conv", "ConvTranspose"],
  ...["Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LRN", "LeakyRelu", "MaxPool"],
  ...["Relu", "Sigmoid", "Softmax", "Tanh", "Transpose"],
]);

/** A graph, or the body of an If, Loop or Scan within one; a snapshot for one adapter's pass. */
export class Scope {
  /** The model, for its name in messages and its external data. */
  readonly model: Model;
  /** The graph whose nodes are adapted. */
  readonly graph: GraphProto;
  readonly #names: Set<string>;
  readonly #outer?: Scope;
  readonly #producers: ReadonlyMap<string, NodeProto>;
  readonly #read: ReadonlySet<string>;

  /** A scope over `graph`; `names` are all tensor names of the model and grow with it. */
  constructor(model: Model, graph: GraphProto, names: Set<string>, outer?: Scope) {
    this.model = model;
    this.graph = graph;
    this.#names = names;
    this.#outer = outer;
    this.#producers = new Map(
      graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)),
    );
    this.#read = new Set([
      ...graph.node.flatMap(readsOf),
      ...graph.output.map((value) => value.name),
    ]);
  }

  /** The scope of a control-flow body within this one. */
  inner(body: GraphProto): Scope {
    return new Scope(this.model, body, this.#names, this);
  }

  /** A tensor name that nothing else has. */
  fresh(base: string): string {
    return freshName(base, this.#names);
  }

  /** Whether anything reads `name`. */
  isRead(name: string): boolean {
    return name !== "" && this.#read.has(name);
  }

  /** Adds an int64 initializer for `node`; a list, or a scalar where `value` is one number. */
  addInts(node: NodeProto, suffix: string, value: readonly bigint[] | bigint): string {
    const name = this.fresh(`${nodeName(node)}_${suffix}`);
    const tensor = typeof value === "bigint"
      ? int64Tensor(name, [], [value])
      : int64Tensor(name, [value.length], value);
    this.graph.initializer.push(tensor);
    return name;
  }

  /**
   * Adds the float32 constant `value`, and a Cast to `before` where the element type of the tensor
   * `like` is another.
   *
   * @returns its name.
   */
  addFloat(
    node: NodeProto,
    suffix: string,
    value: number,
    like: string,
    before: NodeProto[],
  ): string {
    const name = this.fresh(`${nodeName(node)}_${suffix}`);
    this.graph.initializer.push(floatTensor(name, [], new Float32Array([value])));
    const type = this.#typeOf(like);
    if (type === DataType.FLOAT) return name;
    const cast = this.fresh(`${name}_cast`);
    before.push(makeNode("Cast", cast, [name], [cast], { to: BigInt(type) }));
    return cast;
  }

  /** The elements of the constant `name`; undefined where it is computed or fed. */
  constant(name: string): number[] | undefined {
    const tensor = this.#constantTensor(name);
    if (tensor === undefined) return undefined;
    return Array.from(readTensor(tensor, this.model.external) as ArrayLike<number>, Number);
  }

  #constantTensor(name: string): TensorProto | undefined {
    const node = this.#producers.get(name);
    if (node !== undefined) {
      return node.opType === "Constant" ? attributeOf(node, "value")?.t : undefined;
    }
    return this.graph.initializer.find((tensor) => tensor.name === name) ??
      (this.#outer ? this.#outer.#constantTensor(name) : undefined);
  }

  /** The number of axes of `name`; undefined where the model does not say. */
  rank(name: string): number | undefined {
    const shape = this.#tensorType(name)?.shape;
    if (shape !== undefined) return shape.dim.length;
    const node = this.#producers.get(name);
    if (node === undefined) {
      return this.#constantTensor(name)?.dims.length ?? this.#outer?.rank(name);
    }
    if (node.opType === "Gemm" || node.opType === "Flatten") return 2;
    if (node.opType === "Reshape") return this.#constantTensor(node.input[1])?.dims.map(Number)[0];
    return SAME_RANK.has(node.opType) ? this.rank(node.input[0]) : undefined;
  }

  /** The element type of `name`; float32 where the model does not say. */
  #typeOf(name: string): DataType {
    return this.#tensorType(name)?.elemType ?? this.#constantTensor(name)?.dataType ??
      (this.#outer ? this.#outer.#typeOf(name) : DataType.FLOAT);
  }

  #tensorType(name: string) {
    const { input, output, valueInfo } = this.graph;
    const info = [...input, ...output, ...valueInfo].find((value) => value.name === name);
    return info?.type?.value.case === "tensorType" ? info.type.value.value : undefined;
  }

  /** Says that `node` cannot be raised, why, and what to do. */
  refuse(node: NodeProto, to: number, reason: string): never {
    throw new AttuneError(
      "bad-model",
      `Cannot raise ${this.model.name} to opset ${to}: ${node.opType} "${nodeName(node)}" ` +
        `${reason}; export the model anew with opset ${to} or later`,
    );
  }
}
