/**
 * The float weights that a plan leaves as they are, each with its size and the reason: what a file
 * still has to carry.
 *
 * @module
 */

import type { NodeProto, TensorProto } from "../onnx/gen/onnx_pb.ts";
import { attributeOf } from "../onnx/model.ts";
import { byteLength, DataType } from "../onnx/tensor.ts";
import { bodiesOf, type Graph, isControlFlow, isStandard, nodeName } from "../graph/graph.ts";
import type { Skipped, SkipReason } from "../weights/target.ts";

/** Bytes from which on a weight is listed. */
const LISTED = 1000;
const FLOATS: ReadonlySet<number> = new Set([
  ...[DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE],
]);
/** Operators that look rows up. */
const LOOKUPS = new Set(["Gather", "GatherElements", "GatherND"]);
const RECURRENT = new Set(["LSTM", "GRU", "RNN"]);

/** A float tensor, and the node that uses it. */
interface Use {
  readonly tensor: TensorProto;
  readonly weight: string;
  readonly node: { readonly name: string; readonly op: string };
  readonly reason: SkipReason;
}

/**
 * `skipped` with the weight and the bytes of each node that has one, and with the other nodes of
 * `graph` that keep a float weight of more than 1 kB.
 *
 * @param replaced the initializers that the plan quantizes, or puts other values in place of.
 */
export function withWeights<T extends Omit<Skipped, "reason">>(
  graph: Graph,
  skipped: readonly T[],
  replaced: ReadonlySet<string>,
): (T | Skipped)[] {
  const result: (T | Skipped)[] = [...skipped];
  const filled = new Set<number>();
  for (const { weight, tensor, node, reason } of usesIn(graph, replaced)) {
    const bytes = byteLength(tensor) ?? 0;
    if (!FLOATS.has(tensor.dataType) || bytes <= LISTED) continue;
    const index = result.findIndex(({ name, op }) => name === node.name && op === node.op);
    if (index < 0 || filled.has(index)) {
      filled.add(result.push({ ...node, reason, weight, bytes }) - 1);
    } else {
      result[index] = { ...result[index], weight, bytes };
      filled.add(index);
    }
  }
  return result;
}

/** The tensors of `graph` that are not `replaced`, each with the node that uses it first. */
function usesIn(graph: Graph, replaced: ReadonlySet<string>): Use[] {
  const { initializer, sparseInitializer, node: nodes } = graph.proto;
  const sparse = sparseInitializer.flatMap(({ values }) => values ?? []);
  const outside = [...initializer, ...sparse].flatMap((tensor): Use[] => {
    const node = replaced.has(tensor.name) ? undefined : userOf(graph, tensor.name);
    if (node === undefined) return [];
    const reason = reasonOf(graph, node, tensor);
    return [{ tensor, weight: tensor.name, node: described(node), reason }];
  });
  const inside = nodes.flatMap((node) =>
    bodiesOf(node).flatMap((body) =>
      tensorsOf(body.node, body.initializer).map(([weight, tensor]): Use => ({
        tensor,
        weight,
        node: described(node),
        reason: "control flow is left alone",
      }))
    )
  );
  const local = graph.model.proto.functions.flatMap(({ name, node }) =>
    tensorsOf(node, []).map(([weight, tensor]): Use => ({
      tensor,
      weight,
      node: { name, op: name },
      reason: "local function",
    }))
  );
  return [...outside, ...inside, ...local];
}

function described(node: NodeProto): Use["node"] {
  return { name: nodeName(node), op: node.opType };
}

/** The tensors of a body, or of a function, by name; those in its Constants by what they write. */
function tensorsOf(
  nodes: readonly NodeProto[],
  initializers: readonly TensorProto[],
): [string, TensorProto][] {
  return [
    ...initializers.map((tensor): [string, TensorProto] => [tensor.name, tensor]),
    ...nodes.flatMap((node): [string, TensorProto][] => {
      const value = attributeOf(node, "value")?.t;
      return [
        ...(value ? [[node.output[0], value] as [string, TensorProto]] : []),
        ...bodiesOf(node).flatMap((body) => tensorsOf(body.node, body.initializer)),
      ];
    }),
  ];
}

/**
 * The first node that uses the constant `name` for something that depends on samples, if any does.
 */
function userOf(graph: Graph, name: string): NodeProto | undefined {
  const [reader] = graph.consumers(name);
  if (reader === undefined || !graph.isSteady(reader.output[0])) return reader;
  return userOf(graph, reader.output[0]) ?? reader;
}

function reasonOf(graph: Graph, node: NodeProto, { dims }: TensorProto): SkipReason {
  const { opType } = node;
  if (isControlFlow(node)) return "control flow is left alone";
  if (!isStandard(node)) {
    const local = graph.model.proto.functions.some(({ name, domain }) =>
      name === opType && domain === node.domain
    );
    return local ? "local function" : "custom operator";
  }
  if (RECURRENT.has(opType)) return "recurrent layer";
  if (dims.filter((size) => size > 1n).length < 2) return "vector";
  return LOOKUPS.has(opType) ? "embedding table" : "operator is not quantized";
}
