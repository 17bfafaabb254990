/**
 * Computes what reads only constants, so that a weight that was stored turned, scaled, in pieces or
 * in 16 bits is found where a layer reads it.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import type { Model } from "../onnx/model.ts";
import { byteLength } from "../onnx/tensor.ts";
import { compute, isComputed } from "./constant_operators.ts";
import { type Constant, constantTensor, readConstant } from "./constant_values.ts";
import { freshName, Graph, isStandard, readsOf, removeUnused, tensorNames } from "./graph.ts";

/** Bytes up to which a tensor does not count. */
const SMALL = 1024;
/** Bytes of constants up to which results are computed that no layer waits for. */
const CHEAP = 2 ** 20;
/** Operators whose weights, biases and statistics are wanted as constants. */
const LAYERS = new Set(["Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"]);

/**
 * Puts the results of constant expressions into `model`. What the file would only grow by stays:
 * results that no layer reads and that take more bytes than what they are made from, and layers'
 * copies of something that is there anyway, such as an embedding table.
 *
 * @returns how many nodes were computed; `model` is changed.
 */
export function foldConstants(model: Model): number {
  const expressions = new Expressions(model);
  const results = expressions.worthwhile();
  if (results.size === 0) return 0;
  const { graph } = model.proto, before = graph.node.length;
  for (const [name, value] of results) graph.initializer.push(constantTensor(name, value));
  const names = tensorNames(model);
  for (const node of expressions.nodes) {
    node.output = node.output.map((name) => results.has(name) ? freshName(name, names) : name);
  }
  // Nodes go whose results nothing reads any longer.
  for (let count = -1; count !== graph.node.length;) {
    count = graph.node.length;
    const used = new Set(graph.node.flatMap(readsOf));
    graph.node = graph.node.filter((node) =>
      !expressions.nodes.has(node) || node.output.some((name) => used.has(name))
    );
  }
  removeUnused(model);
  return before - graph.node.length;
}

/** The constant expressions of a model. */
class Expressions {
  /** The nodes in them. */
  readonly nodes: ReadonlySet<NodeProto>;
  readonly #graph: Graph;
  readonly #values = new Map<string, Constant | undefined>();
  readonly #sources = new Map<string, ReadonlySet<string>>();
  #budget: number;
  readonly #most: number;

  constructor(model: Model) {
    const graph = this.#graph = new Graph(model);
    const nodes = new Set<NodeProto>(), names = new Set<string>();
    for (const node of graph.nodes) {
      // What the caller is given stays a node.
      const constant = isStandard(node) && isComputed(node.opType) && node.input.length > 0 &&
        !node.output.some((name) => graph.isOutput(name)) &&
        node.input.every((name) => graph.constant(name) || names.has(name));
      if (!constant) continue;
      nodes.add(node);
      const sources = new Set(node.input.flatMap((name) => [...this.#sources.get(name) ?? [name]]));
      for (const name of node.output.filter(Boolean)) {
        names.add(name);
        this.#sources.set(name, sources);
      }
    }
    this.nodes = nodes;
    const bytes = graph.proto.initializer.reduce((sum, t) => sum + (byteLength(t) ?? 0), 0);
    // A small file cannot ask for much memory.
    this.#most = 2 ** 16 + bytes;
    this.#budget = 2 ** 20 + 8 * bytes;
  }

  /** Whether a node that is in no expression reads `name`. */
  isRead(name: string): boolean {
    return this.#graph.consumers(name).some((node) => !this.nodes.has(node));
  }

  /** The results that are read and worth their bytes, by name. */
  worthwhile(): Map<string, Constant> {
    const read = [...this.#sources.keys()].filter((name) => this.isRead(name));
    const results = new Map<string, Constant>();
    for (const name of read) {
      const cheap = this.#bytesOf(this.#sources.get(name)!) <= CHEAP;
      if (!cheap && !this.#isWanted(name)) continue;
      const value = this.#value(name);
      if (value !== undefined) results.set(name, value);
    }
    // One that is left out keeps what it is made from, which may leave out more.
    for (let size = -1; size !== results.size;) {
      size = results.size;
      const kept = this.#kept(read.filter((name) => !results.has(name)));
      const readers = new Map<string, number>();
      for (const name of results.keys()) {
        for (const source of this.#sources.get(name)!) {
          readers.set(source, (readers.get(source) ?? 0) + 1);
        }
      }
      for (const [name, { data }] of results) {
        const sources = [...this.#sources.get(name)!];
        const freed = sources.filter((source) => !kept.has(source))
          .reduce((sum, source) => sum + this.#bytesOf([source]) / readers.get(source)!, 0);
        const copies = sources.some((source) =>
          kept.has(source) && this.#bytesOf([source]) > SMALL && !this.#isWeight(source)
        );
        const worth = data.byteLength <= SMALL || data.byteLength <= freed ||
          (this.#isWanted(name) && !copies);
        if (!worth) results.delete(name);
      }
    }
    return results;
  }

  /** The constants that stay in the file, where the expressions `names` stay. */
  #kept(names: readonly string[]): Set<string> {
    const all = new Set([...this.#sources.values()].flatMap((sources) => [...sources]));
    const kept = [...all].filter((name) => this.isRead(name));
    return new Set([...kept, ...names.flatMap((name) => [...this.#sources.get(name)!])]);
  }

  #bytesOf(constants: Iterable<string>): number {
    let sum = 0;
    for (const name of constants) sum += byteLength(this.#graph.constant(name)!) ?? 0;
    return sum;
  }

  /**
   * Whether a layer, or a normalization that may be folded into one, reads `name` as a parameter.
   */
  #isWanted(name: string): boolean {
    return this.#graph.consumers(name).some((node) =>
      isStandard(node) && LAYERS.has(node.opType) &&
      (node.opType === "MatMul" || node.input.indexOf(name) > 0)
    );
  }

  /** Whether only layers read the constant `name` outside of expressions. */
  #isWeight(name: string): boolean {
    return this.#isWanted(name) &&
      this.#graph.consumers(name).every((node) =>
        this.nodes.has(node) || (isStandard(node) && LAYERS.has(node.opType))
      );
  }

  #value(name: string): Constant | undefined {
    if (this.#values.has(name)) return this.#values.get(name);
    const value = this.#computed(name);
    this.#values.set(name, value);
    return value;
  }

  #computed(name: string): Constant | undefined {
    const constant = this.#graph.constant(name);
    if (constant !== undefined) return readConstant(constant, this.#graph.model.external);
    const node = this.#graph.producer(name)!;
    const inputs = node.input.map((input) => this.#value(input));
    if (this.#budget < 0 || !inputs.every((input) => input !== undefined)) return undefined;
    const result = compute(node, inputs, this.#most, node.output.indexOf(name));
    this.#budget -= result?.data.byteLength ?? 0;
    return result;
  }
}
