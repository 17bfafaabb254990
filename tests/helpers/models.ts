/** Small models for tests, and ways to run and compare them. */

import { create } from "@bufbuild/protobuf";
import { assertEquals } from "std/assert/equals.js";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../src/onnx/gen/onnx_pb.ts";
import { type Model, setOpset } from "../../src/onnx/model.ts";
import { sessionBytes } from "../../src/onnx/session_bytes.ts";
import { DataType, sizeOf, typeName } from "../../src/onnx/tensor.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import type { OpenOptions, Runtime, Value } from "../../src/runtime/session.ts";

/** What a test model is made of. */
export interface Parts {
  /** The opset of the default domain. */
  opset: number;
  /** Shapes of the inputs by name; a text is an axis of any length. float32 unless `types` says. */
  inputs: Record<string, (number | string)[]>;
  /** Element types of inputs that are not float32. */
  types?: Record<string, DataType>;
  nodes: NodeProto[];
  initializers?: TensorProto[];
  outputs: string[];
}

/** The IR version of ONNX's release with `opset`, for opsets that tests start from. */
function irVersion(opset: number): bigint {
  return opset <= 9 ? 4n : opset === 10 ? 5n : opset === 11 ? 6n : opset < 15 ? 7n : 8n;
}

/** A model of `parts`. */
export function build(parts: Parts): Model {
  const proto = create(ModelProtoSchema, {
    irVersion: irVersion(parts.opset),
    graph: graphOf(parts),
  });
  const model: Model = { proto: proto as Model["proto"], name: "test.onnx" };
  setOpset(model, parts.opset);
  return model;
}

/** A graph of `parts`, also as the body of a control-flow node. */
export function graphOf(parts: Omit<Parts, "opset">): GraphProto {
  return create(GraphProtoSchema, {
    name: "test",
    node: parts.nodes,
    initializer: parts.initializers ?? [],
    input: Object.entries(parts.inputs).map(([name, dims]) =>
      info(name, parts.types?.[name] ?? DataType.FLOAT, dims)
    ),
    output: parts.outputs.map((name) => create(ValueInfoProtoSchema, { name })),
  });
}

function info(name: string, elemType: DataType, dims: (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) => ({
    value: typeof size === "number"
      ? { case: "dimValue" as const, value: BigInt(size) }
      : { case: "dimParam" as const, value: size },
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType, shape: { dim } } } },
  });
}

/** A body attribute of a control-flow node. */
export function bodyAttribute(name: string, g: GraphProto): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g });
}

/** `size` numbers in [−1, 1) that are the same at each run. */
export function noise(size: number, seed = 1): Float32Array<ArrayBuffer> {
  let state = seed >>> 0;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** A float32 value of shape `dims`, of noise unless `data` is given. */
export function value(dims: number[], data: ArrayLike<number> = noise(sizeOf(dims))): Value {
  return { type: "float32", dims, data: Float32Array.from(data) };
}

/** An int64 value of shape `dims`. */
export function ints(dims: number[], data: number[]): Value {
  return { type: typeName(DataType.INT64), dims, data: BigInt64Array.from(data.map(BigInt)) };
}

/** onnxruntime-web, loaded once. */
let runtime: Promise<Runtime> | undefined;

/** Runs `model` on `feeds`; the sessions of one process must not overlap. */
export async function runModel(
  model: Model,
  feeds: Record<string, Value>,
  options?: OpenOptions,
): Promise<Record<string, Value>> {
  const session = await (await (runtime ??= loadBackend("web"))).open(sessionBytes(model), options);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

/** Asserts that two runs gave the same values, bit for bit. */
export function assertSameValues(
  actual: Record<string, Value>,
  expected: Record<string, Value>,
  message = "",
): void {
  assertEquals(Object.keys(actual), Object.keys(expected), message);
  for (const [name, { dims, type, data }] of Object.entries(expected)) {
    assertEquals([actual[name].type, [...actual[name].dims]], [type, [...dims]], message);
    assertEquals([...actual[name].data], [...data], message);
  }
}
