/** Models that take turns, for the benchmark of gradients. */

import { create } from "@bufbuild/protobuf";
import { valueInfo } from "../src/graph/extract.ts";
import { GraphProtoSchema, ModelProtoSchema, type NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { type Model, serializeModel, setOpset } from "../src/onnx/model.ts";
import { DataType, sizeOf } from "../src/onnx/tensor.ts";
import type { Runtime, Value } from "../src/runtime/session.ts";

/** Numbers in [−1, 1) from a linear congruential generator. */
export function noise(dims: readonly number[]): Value {
  const data = new Float32Array(sizeOf(dims));
  for (let i = 0, state = 1; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    data[i] = state / 2 ** 31;
  }
  return { type: "float32", dims, data };
}

/** The opset of all models. */
export const OPSET = 17;

/** Shapes of tensors by their names. */
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** A model of `nodes` from float inputs to `outputs`. */
export function modelOf(inputs: Iterable<string>, nodes: NodeProto[], outputs: string[]): Model {
  const graph = create(GraphProtoSchema, {
    name: "bench",
    node: nodes,
    input: [...inputs].map((name) => valueInfo(name, DataType.FLOAT)),
    output: outputs.map((name) => valueInfo(name)),
  });
  const proto = create(ModelProtoSchema, { irVersion: 8n, graph });
  const model: Model = { proto: proto as Model["proto"], name: "bench" };
  setOpset(model, OPSET);
  return model;
}

/** The best time of each model in milliseconds; all take turns for about `budget` milliseconds. */
export async function race(
  runtime: Runtime,
  models: readonly { model: Model; feeds: Record<string, Value> }[],
  budget: number,
): Promise<number[]> {
  const sessions = [];
  for (const { model, feeds } of models) {
    sessions.push({ session: await runtime.open(serializeModel(model)), feeds, best: Infinity });
  }
  const started = performance.now();
  for (let round = 0; round < 4 || performance.now() - started < budget; round++) {
    for (const contestant of sessions) {
      const start = performance.now();
      await contestant.session.run(contestant.feeds);
      contestant.best = Math.min(contestant.best, performance.now() - start);
    }
  }
  for (const { session } of sessions) await session.release();
  return sessions.map(({ best }) => best);
}
