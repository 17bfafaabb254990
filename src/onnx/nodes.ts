/**
 * What a node reads, and what lies in it.
 *
 * @module
 */

import type { GraphProto, NodeProto } from "./gen/onnx_pb.ts";

/** The bodies of `node`, which If, Loop and Scan have. */
export function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((attribute) =>
    attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs
  );
}

/** The tensors that the control-flow bodies of `node` read from around it. */
function captured(node: NodeProto): string[] {
  return bodiesOf(node).flatMap((body) => {
    const defined = new Set([
      ...body.input.map((value) => value.name),
      ...body.initializer.map((tensor) => tensor.name),
      ...body.node.flatMap((inner) => inner.output),
    ]);
    const read = [...body.node.flatMap(readsOf), ...body.output.map((value) => value.name)];
    return read.filter((name) => !defined.has(name));
  });
}

/** Every tensor that `node` reads, those of its control-flow bodies included; no empty names. */
export function readsOf(node: NodeProto): string[] {
  return [...node.input, ...captured(node)].filter((name) => name !== "");
}

/** Whether `node` has a body: If, Loop, Scan. */
export function isControlFlow(node: NodeProto): boolean {
  return bodiesOf(node).length > 0;
}

/** What messages call `node`: its name, or that of its first output. */
export function nodeName(node: NodeProto): string {
  return node.name || node.output[0] || node.opType;
}

/** Whether a node is of the default operator set. */
export function isStandard(node: { readonly domain: string }): boolean {
  return node.domain === "" || node.domain === "ai.onnx";
}
