/**
 * Raises the opset of a model: every standard operator whose definition changed on the way is
 * rewritten so that the model computes what it did before.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  type FunctionProto,
  type GraphProto,
  GraphProtoSchema,
  type TensorProto,
} from "../onnx/gen/onnx_pb.ts";
import { copyGraph, copyMessage, makeNode, type Model, opsetOf, setOpset } from "../onnx/model.ts";
import { AttuneError } from "../errors.ts";
import { valueInfo } from "./extract.ts";
import { bodiesOf, isStandard, namesIn } from "./graph.ts";
import { type Adapter, ADAPTERS } from "./opset/adapters.ts";
import { Scope } from "./opset/scope.ts";

/** The opsets that the adapters reach: quantized models need 13 at least. */
const MIN_TARGET = 13;
/** The newest of them. */
export const MAX_OPSET = 25;

/** The oldest IR version that may hold an opset, from ONNX's table of versions. */
const IR_VERSIONS: ReadonlyArray<readonly [opset: number, irVersion: bigint]> = [
  [MIN_TARGET, 7n],
  [15, 8n],
  [19, 9n],
  [21, 10n],
  [23, 11n],
  [24, 12n],
  [25, 13n],
];

/**
 * Raises the default operator set of `model` to `target`, and its IR version to what that needs. A
 * model that is there already stays as it is. Nodes of other domains stay untouched.
 *
 * @param target an opset from 13 to {@linkcode MAX_OPSET}.
 * @returns what was rewritten, one phrase for each operator; `model` is changed.
 * @throws {AttuneError} `bad-model` where a node cannot be rewritten faithfully; `bad-option` where
 * `target` is out of range.
 *
 * @example
 * ```ts
 * import { create } from "@bufbuild/protobuf";
 * import { GraphProtoSchema, ModelProtoSchema } from "../onnx/gen/onnx_pb.ts";
 * import { makeNode, type Model, setOpset } from "../onnx/model.ts";
 * import { raiseOpset } from "./raise_opset.ts";
 *
 * const graph = create(GraphProtoSchema, {
 *   node: [makeNode("Squeeze", "", ["x"], ["y"], { axes: [1n] })],
 * });
 * const proto = create(ModelProtoSchema, { graph }) as Model["proto"];
 * const model: Model = { proto, name: "model" };
 * setOpset(model, 11);
 * const changes = raiseOpset(model, 13);
 * if (changes[0] !== "Squeeze: axes became an input (1 node)") throw new Error(changes[0]);
 * ```
 */
export function raiseOpset(model: Model, target: number): string[] {
  const from = opsetOf(model);
  if (!(target >= MIN_TARGET && target <= MAX_OPSET)) {
    throw new AttuneError(
      "bad-option",
      `Cannot raise ${model.name} to opset ${target}: give one from ${MIN_TARGET} to ${MAX_OPSET}`,
    );
  }
  const counts = new Map<string, number>();
  if (from < target) {
    const { proto } = model;
    raiseGraph(model, proto.graph, from, target, counts);
    proto.functions = proto.functions.map((local) => raiseFunction(model, local, target, counts));
    setOpset(model, target);
  }
  const needed = IR_VERSIONS.findLast(([opset]) => opset <= opsetOf(model))?.[1] ?? 0n;
  if (model.proto.irVersion < needed) model.proto.irVersion = needed;
  return [...counts].map(([change, n]) => `${change} (${n} node${n === 1 ? "" : "s"})`);
}

/** Applies the adapters between two opsets to `graph`; counts the nodes by what became of them. */
function raiseGraph(
  model: Model,
  graph: GraphProto,
  from: number,
  target: number,
  counts: Map<string, number>,
): void {
  const names = new Set(namesIn(graph));
  for (const adapter of ADAPTERS) {
    if (adapter.to <= from || adapter.to > target) continue;
    adaptGraph(new Scope(model, graph, names), adapter, counts);
  }
}

/** Applies `adapter` to the graph of `scope` and to the bodies in it. */
function adaptGraph(scope: Scope, adapter: Adapter, counts: Map<string, number>): void {
  scope.graph.node = scope.graph.node.flatMap((node) => {
    for (const body of bodiesOf(node)) adaptGraph(scope.inner(body), adapter, counts);
    if (!isStandard(node) || !adapter.ops.includes(node.opType)) return [node];
    if (node.attribute.some((attribute) => attribute.refAttrName !== "")) {
      scope.refuse(node, adapter.to, "takes an attribute from the local function around it");
    }
    const change = `${node.opType}: ${adapter.change}`;
    const result = adapter.adapt(node, scope);
    if (result === "unchanged") return [node];
    counts.set(change, (counts.get(change) ?? 0) + 1);
    return result;
  });
}

/**
 * A raised copy of a local function. It names an opset of its own, but onnxruntime takes its nodes
 * for those of the model's opset.
 */
function raiseFunction(
  model: Model,
  local: FunctionProto,
  target: number,
  counts: Map<string, number>,
): FunctionProto {
  const opsetImport = local.opsetImport.map(copyMessage);
  const opset = opsetImport.find(isStandard);
  if (opset === undefined || opset.version >= BigInt(target)) return local;
  const graph = copyGraph(create(GraphProtoSchema, {
    node: local.node,
    input: local.input.map((name) => valueInfo(name)),
    output: local.output.map((name) => valueInfo(name)),
  }));
  raiseGraph(model, graph, Number(opset.version), target, counts);
  opset.version = BigInt(target);
  // A function has no initializers.
  const node = [...graph.initializer.map(constantNode), ...graph.node];
  return Object.assign(copyMessage(local), { opsetImport, node });
}

function constantNode(tensor: TensorProto) {
  const node = makeNode("Constant", tensor.name, [], [tensor.name]);
  node.attribute.push(
    create(AttributeProtoSchema, { name: "value", type: AttributeType.TENSOR, t: tensor }),
  );
  return node;
}
