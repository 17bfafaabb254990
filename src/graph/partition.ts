/**
 * Where to cut a model so that each part's weights fit into one session.
 *
 * @module
 */

import { DataType, storedLength } from "../onnx/tensor.ts";
import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { type Graph, readsOf } from "./graph.ts";

/** Bytes of weights in a part of a model that is not run as a whole. */
export const PART_BYTES = 2 ** 27;

/** How much larger the elements of a type get where onnxruntime unpacks or dequantizes them. */
const UNPACKED: Partial<Record<DataType, number>> = {
  [DataType.INT8]: 4,
  [DataType.UINT8]: 8,
  [DataType.INT4]: 8,
  [DataType.UINT4]: 8,
  [DataType.INT2]: 16,
  [DataType.UINT2]: 16,
};

/** Nodes from `start` up to `end`, and the tensors that cross to them from what is before. */
export interface Part {
  /** Index of the first node. */
  readonly start: number;
  /** Index after the last node. */
  readonly end: number;
  /** Tensors that are computed before the part, or fed, and read in it or after it. */
  readonly inputs: readonly string[];
}

/**
 * `graph` in parts whose weights have at most `most` bytes each, about, or that are a single
 * node's. What is computed from initializers alone belongs to the parts that read it, in each of
 * them.
 *
 * @param outputs what is wanted in the end; tensors among them count as read after all nodes.
 */
export function partition(
  graph: Graph,
  most: number = PART_BYTES,
  outputs: readonly string[] = graph.outputs,
): Part[] {
  const { nodes } = graph, weights = new Weights(graph);
  const starts = [0];
  /** Weights since the last cut, and where the last node with any of them lies. */
  let bytes = 0, seen = new Set<string>(), last = -1;
  for (const [i, node] of nodes.entries()) {
    const read = weights.of(node);
    if (read.length === 0) continue;
    const fresh = () => read.filter(({ name }) => !seen.has(name));
    const sum = (tensors: Constant[]) => tensors.reduce((all, { bytes }) => all + bytes, 0);
    if (last >= 0 && bytes + sum(fresh()) > most) {
      starts.push(narrowest(graph, weights, last + 1, i));
      [bytes, seen] = [0, new Set()];
    }
    bytes += sum(fresh());
    for (const { name } of read) seen.add(name);
    last = i;
  }
  return starts.map((start, k) => ({
    start,
    end: starts[k + 1] ?? nodes.length,
    inputs: crossing(graph, weights, start, outputs),
  }));
}

/** Bytes of the weights that each node of `graph` reads, unpacked. */
export function weightBytes(graph: Graph): Map<NodeProto, number> {
  const weights = new Weights(graph);
  return new Map(
    graph.nodes.map((node) => [node, weights.of(node).reduce((sum, { bytes }) => sum + bytes, 0)]),
  );
}

/** A tensor that does not depend on what is fed. */
interface Constant {
  readonly name: string;
  readonly bytes: number;
}

/** The tensors of a graph that do not depend on what is fed. */
class Weights {
  readonly #constants = new Map<string, Constant>();

  constructor(graph: Graph) {
    for (const node of graph.nodes) {
      const reads = readsOf(node), tensors = reads.map((name) => this.#find(graph, name));
      // What reads nothing draws random numbers, unless it is a constant.
      const constant = (node.opType === "Constant" || reads.length > 0) &&
        tensors.every((tensor) => tensor !== undefined);
      if (!constant) continue;
      const bytes = tensors.reduce((sum, tensor, i) => {
        const initializer = graph.constant(reads[i]);
        return sum + (initializer ? unpackedBytes(initializer) : tensor!.bytes);
      }, 0);
      for (const name of node.output) this.#constants.set(name, { name, bytes });
    }
  }

  #find(graph: Graph, name: string): Constant | undefined {
    const initializer = graph.constant(name);
    if (initializer && !this.#constants.has(name)) {
      this.#constants.set(name, { name, bytes: storedLength(initializer) });
    }
    return this.#constants.get(name);
  }

  /** Whether `name` does not depend on what is fed. */
  has(name: string): boolean {
    return this.#constants.has(name);
  }

  /** What `node` reads of them; nothing where it is itself computed ahead. */
  of(node: NodeProto): Constant[] {
    if (node.output.some((name) => this.#constants.has(name))) return [];
    return [...new Set(readsOf(node))].flatMap((name) => this.#constants.get(name) ?? []);
  }
}

function unpackedBytes(tensor: TensorProto): number {
  return storedLength(tensor) * (UNPACKED[tensor.dataType as DataType] ?? 1);
}

/** The place from `from` to `to` where fewest tensors cross, the first of them. */
function narrowest(graph: Graph, weights: Weights, from: number, to: number): number {
  let best = from, least = Infinity;
  for (let at = from; at <= to; at++) {
    const count = crossing(graph, weights, at, []).length;
    if (count < least) [best, least] = [at, count];
  }
  return best;
}

/** The tensors that cross before node `at`, in the order in which they are computed. */
function crossing(
  graph: Graph,
  weights: Weights,
  at: number,
  outputs: readonly string[],
): string[] {
  const later = new Set([...graph.nodes.slice(at).flatMap(readsOf), ...outputs]);
  const before = [
    ...graph.inputs.map(({ name }) => name),
    ...graph.nodes.slice(0, at).flatMap(({ output }) => output),
  ];
  return before.filter((name) => name !== "" && later.has(name) && !weights.has(name));
}
