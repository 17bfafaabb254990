/**
 * Raises the opset of a model: every standard operator whose definition changed on the way is
 * rewritten so that the model computes what it did before.
 *
 * @module
 */

import { type Model, opsetOf, setOpset } from "../onnx/model.ts";
import { AttuneError } from "../errors.ts";
import { bodiesOf, isStandard, tensorNames } from "./graph.ts";
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
 * model that is there already stays as it is. Nodes of other domains, and local functions, which
 * name their own opset, stay untouched.
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
  const changes: string[] = [];
  if (from < target) {
    const names = tensorNames(model);
    for (const adapter of ADAPTERS) {
      if (adapter.to <= from || adapter.to > target) continue;
      const counts = new Map<string, number>();
      adaptGraph(new Scope(model, model.proto.graph, names), adapter, counts);
      for (const [op, count] of counts) {
        changes.push(`${op}: ${adapter.change} (${count} node${count === 1 ? "" : "s"})`);
      }
    }
    setOpset(model, target);
  }
  const needed = IR_VERSIONS.findLast(([opset]) => opset <= opsetOf(model))?.[1] ?? 0n;
  if (model.proto.irVersion < needed) model.proto.irVersion = needed;
  return changes;
}

/** Applies `adapter` to the graph of `scope` and to the bodies in it; counts nodes by operator. */
function adaptGraph(scope: Scope, adapter: Adapter, counts: Map<string, number>): void {
  scope.graph.node = scope.graph.node.flatMap((node) => {
    for (const body of bodiesOf(node)) adaptGraph(scope.inner(body), adapter, counts);
    const op = node.opType;
    if (!isStandard(node) || !adapter.ops.includes(op)) return [node];
    const result = adapter.adapt(node, scope);
    if (result === "unchanged") return [node];
    counts.set(op, (counts.get(op) ?? 0) + 1);
    return result;
  });
}
