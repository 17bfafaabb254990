/**
 * Nodes in an order in which each reads only what was written before it.
 *
 * @module
 */

import type { GraphProto, NodeProto } from "./gen/onnx_pb.ts";
import { bodiesOf, readsOf } from "./nodes.ts";

/**
 * Sorts the nodes of `graph`, and those of the control-flow bodies in it: the format asks for it,
 * but onnxruntime does not, and its float16 converter does not do it. What is in order stays as it
 * is. Nodes on a cycle come last, in the order of the file.
 *
 * @returns whether anything moved; `graph` is changed.
 */
export function sortGraph(graph: GraphProto): boolean {
  const sorted = sortNodes(graph.node);
  const moved = sorted.some((node, i) => node !== graph.node[i]);
  graph.node = sorted;
  const inside = graph.node.flatMap(bodiesOf).map(sortGraph);
  return moved || inside.includes(true);
}

/** `nodes`, each after those that write what it reads. */
export function sortNodes(nodes: readonly NodeProto[]): NodeProto[] {
  const writers = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node])));
  const sorted: NodeProto[] = [];
  const state = new Map<NodeProto, "open" | "done">();
  const cyclic = new Set<NodeProto>();
  for (const first of nodes) {
    // Depth first, with a stack of our own: chains are as long as the file makes them.
    const stack = [first];
    while (stack.length > 0) {
      const node = stack.at(-1)!;
      if (state.get(node) === undefined) {
        state.set(node, "open");
        for (const name of readsOf(node)) {
          const writer = writers.get(name);
          if (writer === undefined || state.get(writer) === "done") continue;
          if (state.get(writer) === "open") cyclic.add(node);
          else stack.push(writer);
        }
        continue;
      }
      stack.pop();
      if (state.get(node) === "open") {
        state.set(node, "done");
        sorted.push(node);
      }
    }
  }
  return cyclic.size === 0 ? sorted : [...nodes];
}
