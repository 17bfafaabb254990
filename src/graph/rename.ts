/**
 * Other names for tensors, and nodes that only pass a tensor on.
 *
 * @module
 */

import type { GraphProto, NodeProto } from "../onnx/gen/onnx_pb.ts";
import { copyMessage } from "../onnx/model.ts";
import { bodiesOf } from "./graph.ts";

/** Lets `node`, and the control-flow bodies in it, read `names.get(name)` in place of `name`. */
export function renameReads(node: NodeProto, names: ReadonlyMap<string, string>): void {
  node.input = node.input.map((name) => names.get(name) ?? name);
  for (const body of bodiesOf(node)) {
    for (const inner of body.node) renameReads(inner, names);
    // A body may give what lies around it as it is.
    body.output = body.output.map((value) =>
      Object.assign(copyMessage(value), { name: names.get(value.name) ?? value.name })
    );
  }
}

/**
 * Takes the nodes of `graph`, and of the bodies in it, out that pass their first input on as their
 * first output. The names of the graph's inputs and outputs stay; where both ends have such a name,
 * an Identity stays, too.
 *
 * @param passes whether a node does that; it is asked after what the node reads was renamed.
 * @returns how many nodes were taken out or became an Identity; `graph` is changed.
 */
export function bypass(graph: GraphProto, passes: (node: NodeProto) => boolean): number {
  const outputs = new Set(graph.output.map((value) => value.name));
  const written = new Set<string>();
  const alias = new Map<string, string>(), back = new Map<string, string>();
  let count = 0;
  graph.node = graph.node.filter((node) => {
    for (const body of bodiesOf(node)) count += bypass(body, passes);
    renameReads(node, alias);
    const [input] = node.input, [output] = node.output;
    if (!passes(node)) {
      for (const name of node.output) written.add(name);
      return true;
    }
    count++;
    if (!outputs.has(output)) alias.set(output, input);
    else if (written.has(input) && !outputs.has(input) && !back.has(input)) back.set(input, output);
    else {
      Object.assign(node, { opType: "Identity", domain: "", input: [input], output: [output] });
      node.attribute = [];
      written.add(output);
      return true;
    }
    return false;
  });
  if (back.size > 0) {
    for (const node of graph.node) {
      renameReads(node, back);
      node.output = node.output.map((name) => back.get(name) ?? name);
    }
  }
  return count;
}
