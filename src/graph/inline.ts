/**
 * Local functions of a model, written out where they are called: layers are looked for in the
 * graph.
 *
 * @module
 */

import type { AttributeProto, FunctionProto, GraphProto, NodeProto } from "../onnx/gen/onnx_pb.ts";
import { copyGraph, copyMessage, type Model } from "../onnx/model.ts";
import { AttuneError } from "../errors.ts";
import { bodiesOf, freshName, isStandard, nodeName, tensorNames } from "./graph.ts";

/** Nodes that functions may be written out to, at most: functions of functions grow fast. */
const MOST_NODES = 1_000_000;

/**
 * Writes out the calls of local functions in `model`, and drops the functions that nothing calls
 * any longer. A function of another opset than the model's stays as it is.
 *
 * @returns how many calls were written out; `model` is changed.
 * @throws {AttuneError} `bad-model` where a function calls itself, or the result has too many
 * nodes.
 */
export function inlineFunctions(model: Model): number {
  if (model.proto.functions.length === 0) return 0;
  const inliner = new Inliner(model);
  inliner.writeOut(model.proto.graph, []);
  const { proto } = model, called = callsIn(proto.graph);
  for (const key of called) {
    const local = inliner.functions.get(key);
    if (local) {
      for (const { opType, ...call } of local.node) called.add(keyOf({ opType, ...call }));
    }
  }
  proto.functions = proto.functions.filter((local) => called.has(functionKey(local)));
  return inliner.calls;
}

/** What a call and its function have in common. */
function keyOf({ domain, opType, overload }: Pick<NodeProto, "domain" | "opType" | "overload">) {
  return JSON.stringify([domain === "ai.onnx" ? "" : domain, opType, overload]);
}

function functionKey({ domain, name, overload }: FunctionProto): string {
  return keyOf({ domain, opType: name, overload });
}

function callsIn(graph: GraphProto): Set<string> {
  return new Set(
    graph.node.flatMap((node) => [keyOf(node), ...bodiesOf(node).flatMap((b) => [...callsIn(b)])]),
  );
}

class Inliner {
  calls = 0;
  /** The functions that can be written out. */
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly #model: Model;
  readonly #names: Set<string>;
  #nodes = 0;

  constructor(model: Model) {
    this.#model = model;
    this.#names = tensorNames(model);
    const domainOf = (opset: { readonly domain: string }) => isStandard(opset) ? "" : opset.domain;
    const versions = new Map(
      model.proto.opsetImport.map((opset) => [domainOf(opset), opset.version]),
    );
    const fits = ({ opsetImport }: FunctionProto) =>
      opsetImport.every((opset) => versions.get(domainOf(opset)) === opset.version);
    this.functions = new Map(
      model.proto.functions.filter(fits).map((local) => [functionKey(local), local]),
    );
  }

  /**
   * Writes out the calls in `graph` and in its bodies; `open` are the functions that it is part of.
   */
  writeOut(graph: GraphProto, open: readonly string[]): void {
    graph.node = graph.node.flatMap((node) => {
      for (const body of bodiesOf(node)) this.writeOut(body, open);
      const key = keyOf(node), local = this.functions.get(key);
      if (local === undefined) return [node];
      if (open.includes(key)) throw this.#refuse(node, "calls itself");
      this.calls++;
      const written = this.#called(node, local);
      this.writeOut(written, [...open, key]);
      this.#nodes += written.node.length;
      if (this.#nodes > MOST_NODES) throw this.#refuse(node, "leads to more than a million nodes");
      return written.node;
    });
  }

  #refuse(node: NodeProto, why: string): AttuneError {
    return new AttuneError(
      "bad-model",
      `Cannot use ${this.#model.name}: the local function ${node.opType} (node "${
        nodeName(node)
      }") ` +
        `${why}; export the model without local functions`,
    );
  }

  /** The nodes of `local` with the tensors and attributes of `call`. */
  #called(call: NodeProto, local: FunctionProto): GraphProto {
    const names = new Map([["", ""]]);
    local.input.forEach((name, i) => names.set(name, call.input[i] ?? ""));
    const given = new Map<string, AttributeProto>([
      ...local.attributeProto.map((attribute) => [attribute.name, attribute] as const),
      ...call.attribute.map((attribute) => [attribute.name, attribute] as const),
    ]);
    const prefix = nodeName(call);
    local.output.forEach((name, i) => {
      if (call.output[i]) names.set(name, call.output[i]);
    });
    const inner = { node: local.node, input: [], output: [], initializer: [], valueInfo: [] };
    const graph = copyGraph(inner as unknown as GraphProto);
    this.#rename(graph, names, given, prefix);
    return graph;
  }

  /** Gives what is in `graph`, a copy of a function's nodes, the names and attributes of a call. */
  #rename(
    graph: GraphProto,
    names: Map<string, string>,
    given: ReadonlyMap<string, AttributeProto>,
    prefix: string,
  ): void {
    const rename = (name: string) => {
      let newName = names.get(name);
      if (newName === undefined) {
        newName = freshName(`${prefix}/${name}`, this.#names);
        names.set(name, newName);
      }
      return newName;
    };
    graph.initializer = graph.initializer.map((tensor) =>
      Object.assign(copyMessage(tensor), { name: rename(tensor.name) })
    );
    graph.input = graph.input.map((v) => Object.assign(copyMessage(v), { name: rename(v.name) }));
    for (const node of graph.node) {
      node.input = node.input.map(rename);
      node.output = node.output.map(rename);
      // onnxruntime wants different names of nodes.
      if (node.name !== "") node.name = freshName(`${prefix}/${node.name}`, this.#names);
      node.attribute = node.attribute.flatMap((attribute) => {
        if (attribute.refAttrName === "") return [attribute];
        const value = given.get(attribute.refAttrName);
        return value ? [Object.assign(copyMessage(value), { name: attribute.name })] : [];
      });
      for (const body of bodiesOf(node)) this.#rename(body, new Map(names), given, prefix);
    }
    graph.output = graph.output.map((v) => Object.assign(copyMessage(v), { name: rename(v.name) }));
    graph.valueInfo = [];
  }
}
