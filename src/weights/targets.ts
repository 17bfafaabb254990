/**
 * The layers of a model, and which of them are first and last.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { freshName, type Graph, isControlFlow, nodeName, readsOf } from "../graph/graph.ts";
import { operatorFor } from "./operators.ts";
import type { Skipped, Target } from "./target.ts";

/** The layers of `graph` that can be quantized, in the order in which they run, and the rest. */
export function findTargets(graph: Graph): { targets: Target[]; skipped: Skipped[] } {
  const targets: Target[] = [], skipped: Skipped[] = [];
  const layouts = new Map<string, string>(), names = new Set<string>();
  for (const node of graph.nodes) {
    const product = isControlFlow(node)
      ? "control flow is left alone"
      : operatorFor(node)?.match(graph, node);
    if (product === undefined) continue;
    const name = nodeName(node), { opType: op, output: [output] } = node;
    if (typeof product === "string") {
      skipped.push({ name, op, reason: product });
      continue;
    }
    // A weight that two layers share is rounded once, so they must see the same matrix in it.
    const { weight, axis, groups, rows, depth } = product;
    const layout = [op, axis, groups, rows, depth].join();
    if ((layouts.get(weight) ?? layout) !== layout) {
      skipped.push({ name, op, reason: "weight is shared in another layout" });
      continue;
    }
    layouts.set(weight, layout);
    // Node names need not differ, outputs do.
    const unique = freshName(names.has(name) ? `${name} (${output})` : name, names);
    targets.push({ ...product, node, name: unique, op, output });
  }
  return { targets, skipped };
}

/** The targets without another target before them, and those without one after them. */
export function edgeTargets(graph: Graph, targets: readonly Target[]): Set<Target> {
  const outputs = new Set(targets.map((target) => target.output));
  const below = reach(graph.nodes, outputs);
  const inputs = new Set(targets.map((target) => target.input));
  const above = reachBack(graph.nodes, inputs);
  return new Set(targets.filter((t) => !below.has(t.input) || !above.has(t.output)));
}

/** All tensors that depend on one of `start`, those included. */
function reach(nodes: readonly NodeProto[], start: ReadonlySet<string>): Set<string> {
  const seen = new Set(start);
  for (const node of nodes) {
    if (readsOf(node).some((name) => seen.has(name))) {
      for (const name of node.output) seen.add(name);
    }
  }
  return seen;
}

/** All tensors that one of `end` depends on, those included. */
function reachBack(nodes: readonly NodeProto[], end: ReadonlySet<string>): Set<string> {
  const seen = new Set(end);
  for (const node of nodes.toReversed()) {
    if (node.output.some((name) => seen.has(name))) {
      for (const name of readsOf(node)) seen.add(name);
    }
  }
  return seen;
}
