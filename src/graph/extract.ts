/**
 * A part of a model as a model of its own, for onnxruntime to run.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import {
  GraphProtoSchema,
  type NodeProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../onnx/gen/onnx_pb.ts";
import { copyMessage, type Model } from "../onnx/model.ts";
import type { DataType } from "../onnx/tensor.ts";
import { type Graph, isControlFlow, readsOf } from "./graph.ts";

/**
 * A value info of `name`, with its element type and, where `rank` is given, as many axes of any
 * length; onnxruntime infers the rest.
 */
export function valueInfo(name: string, type?: DataType, rank?: number): ValueInfoProto {
  const shape = rank === undefined ? undefined : { dim: new Array(rank).fill({}) };
  return create(ValueInfoProtoSchema, {
    name,
    type: type === undefined
      ? undefined
      : { value: { case: "tensorType", value: { elemType: type, shape } } },
  });
}

/**
 * What a part of a model must know of a tensor that is fed: its element type, better its axes, too.
 */
export type FedTensor = DataType | { readonly type: DataType; readonly dims: readonly number[] };

/**
 * The nodes among `nodes` that `outputs` need, in their order. A tensor of `stop` is taken as
 * given: what computes it is not followed.
 */
export function ancestors(
  nodes: readonly NodeProto[],
  outputs: Iterable<string>,
  stop: ReadonlySet<string> = new Set(),
): NodeProto[] {
  const needed = new Set(outputs);
  const kept: NodeProto[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    if (!node.output.some((name) => needed.has(name) && !stop.has(name))) continue;
    kept.push(node);
    for (const name of readsOf(node)) needed.add(name);
  }
  return kept.reverse();
}

/** What {@linkcode extract} cuts out. */
export interface Cut {
  /** The tensors that are fed. Scan wants to know how many axes they have. */
  readonly inputs: ReadonlyMap<string, FedTensor>;
  /** The tensors that are returned; they may be inputs, too. */
  readonly outputs: readonly string[];
}

/**
 * The part of `model` that computes `cut.outputs` from `cut.inputs`, as a model of its own. An
 * output that is fed unchanged is passed through an Identity node's place by the caller, not here.
 */
export function extract(model: Model, cut: Cut): Model {
  const { graph } = model.proto;
  const node = ancestors(graph.node, cut.outputs, new Set(cut.inputs.keys()));
  const used = new Set([...node.flatMap(readsOf), ...cut.outputs]);
  // Only for those: beside an image of so many axes, Resize takes sizes of unknown number for none.
  const bodies = node.some(isControlFlow);
  const proto = copyMessage(model.proto);
  proto.graph = create(GraphProtoSchema, {
    name: graph.name,
    node,
    initializer: graph.initializer.filter((t) => used.has(t.name) && !cut.inputs.has(t.name)),
    sparseInitializer: graph.sparseInitializer,
    input: [...cut.inputs].filter(([name]) => used.has(name)).map(([name, fed]) => {
      if (typeof fed !== "object") return valueInfo(name, fed);
      return valueInfo(name, fed.type, bodies ? fed.dims.length : undefined);
    }),
    output: cut.outputs.map((name) => valueInfo(name)),
  });
  return { ...model, proto };
}

/**
 * The tensors that cross from `nodes[0…position)` to the rest, outputs left out; not those that are
 * computed from constants alone, which every part can compute itself.
 */
export function frontier(graph: Graph, position: number): string[] {
  const later = new Set(graph.nodes.slice(position).flatMap(readsOf));
  const before = [
    ...graph.inputs.map((input) => input.name),
    ...graph.nodes.slice(0, position).flatMap((node) => node.output),
  ];
  return before.filter((name) => later.has(name) && !graph.isSteady(name));
}
