/**
 * Values that are no tensors: sequences, maps and optional values. They cannot be asked of a
 * session, nor kept between two parts of a model.
 *
 * @module
 */

import type { GraphProto, NodeProto, ValueInfoProto } from "../onnx/gen/onnx_pb.ts";
import { attributeOf } from "../onnx/model.ts";

/** Operators whose first output is a sequence, a map or an optional value. */
const MAKERS = new Set([
  ...["SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceMap"],
  ...["SplitToSequence", "Optional", "ZipMap"],
]);

/** The names in `graph` of values that are no tensors; those of the bodies in it left out. */
export function nonTensors(graph: GraphProto): Set<string> {
  const others = new Set<string>();
  collect(graph, others);
  return others;
}

/** Adds the values of `graph` that are no tensors to `others`, which has those around it. */
function collect(graph: GraphProto, others: Set<string>): void {
  for (const value of [...graph.input, ...graph.output, ...graph.valueInfo]) {
    if (isOther(value)) others.add(value.name);
  }
  const writers = new Map(graph.node.map((node) => [node.output[0], node]));
  for (const node of graph.node) {
    for (const name of othersOf(node, others, writers)) others.add(name);
  }
}

function isOther({ type }: ValueInfoProto): boolean {
  const kind = type?.value.case;
  return kind !== undefined && kind !== "tensorType" && kind !== "sparseTensorType";
}

/** The outputs of `node` that are no tensors. */
function othersOf(
  node: NodeProto,
  others: ReadonlySet<string>,
  writers: ReadonlyMap<string, NodeProto>,
): string[] {
  const { opType, input, output } = node;
  if (MAKERS.has(opType)) return output.slice(0, 1);
  if (opType === "Identity") return others.has(input[0]) ? output.slice(0, 1) : [];
  if (opType === "OptionalGetElement") {
    // What is in it may be a tensor: where that can be seen, it is one.
    const maker = writers.get(input[0]);
    const isTensor = !others.has(input[0]) ||
      (maker?.opType === "Optional" && maker.input.length > 0 && !others.has(maker.input[0]));
    return isTensor ? [] : output.slice(0, 1);
  }
  const body = attributeOf(node, "then_branch")?.g ?? attributeOf(node, "body")?.g;
  if (body === undefined) return [];
  const inside = new Set(others);
  // A body's inputs are called otherwise than what is fed to them. Loop's are those of the node.
  if (opType === "Loop") {
    body.input.forEach(({ name }, i) => others.has(input[i]) && inside.add(name));
  }
  collect(body, inside);
  // A Loop's body says first whether to go on.
  const results = opType === "Loop" ? body.output.slice(1) : body.output;
  return output.filter((name, i) => name !== "" && inside.has(results[i]?.name));
}
