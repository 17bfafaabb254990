/**
 * An ONNX model in memory: parsed, checked, serialized.
 *
 * @module
 */

import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
} from "./gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";
import { sortGraph, sortNodes } from "./sort.ts";
import type { ExternalData } from "./tensor.ts";

/** The oldest opset of the default domain that attune reads. */
export const MIN_OPSET = 9;

/** A parsed model, and where to find what it keeps in other files. */
export interface Model {
  /**
   * The model's message, as the ONNX format has it; its graph is present.
   *
   * @internal
   */
  readonly proto: ModelProto & { graph: GraphProto };
  /** Reads external data; undefined where the model was given as bytes alone. */
  readonly external?: ExternalData;
  /** What messages call the model: a file name, or "model". */
  readonly name: string;
}

/** Options of {@linkcode parseModel}. */
export interface ParseOptions {
  /** Reads the files that external tensors name. Default: none, such tensors are refused. */
  external?: ExternalData;
  /** What messages call the model. Default: `"model"`. */
  name?: string;
}

/**
 * Parses the bytes of an ONNX file. Fields that attune does not know are kept; nodes that are not
 * in order are sorted.
 *
 * @throws {AttuneError} `bad-model` where the bytes are no ONNX model, are cut off, or use an opset
 * before 9.
 *
 * @example
 * ```ts
 * import { parseModel } from "./model.ts";
 *
 * try {
 *   parseModel(new Uint8Array([1, 2, 3]), { name: "broken.onnx" });
 *   throw new Error("unexpected");
 * } catch (error) {
 *   if (!(error as Error).message.includes("broken.onnx")) throw error;
 * }
 * ```
 */
export function parseModel(bytes: Uint8Array, options: ParseOptions = {}): Model {
  const name = options.name ?? "model";
  let proto: ModelProto;
  try {
    // A Node Buffer's views behave otherwise than those of a Uint8Array.
    const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    proto = fromBinary(ModelProtoSchema, plain);
  } catch (cause) {
    throw new AttuneError(
      "bad-model",
      `Cannot read ${name}: it is not an ONNX model, or it is cut off (${bytes.length} bytes)`,
      { cause },
    );
  }
  if (proto.graph === undefined || proto.graph.node.length === 0) {
    throw new AttuneError(
      "bad-model",
      `Cannot read ${name}: it holds no graph; give a float32 ONNX model`,
    );
  }
  if (proto.graph.output.length === 0) {
    throw new AttuneError(
      "bad-model",
      `Cannot use ${name}: its graph has no output, so nothing that it computes can be seen; ` +
        `export the model anew`,
    );
  }
  const { node, input, initializer } = proto.graph;
  const names = [...input, ...initializer].map((each) => each.name);
  if (names.concat(node.flatMap(({ output }) => output)).includes("__proto__")) {
    throw new AttuneError(
      "bad-model",
      `Cannot use ${name}: a tensor is called "__proto__", under which JavaScript keeps nothing; ` +
        `give it another name`,
    );
  }
  sortGraph(proto.graph);
  for (const local of proto.functions) local.node = sortNodes(local.node);
  const model: Model = {
    proto: proto as Model["proto"],
    external: options.external,
    name,
  };
  const opset = opsetOf(model);
  if (opset < MIN_OPSET) {
    throw new AttuneError(
      "bad-model",
      `Cannot use ${name}: its opset is ${opset}, the oldest read is ${MIN_OPSET}; export it anew`,
    );
  }
  return model;
}

/** The bytes of `model`, without what it keeps in external files. */
export function serializeModel(model: Model): Uint8Array<ArrayBuffer> {
  return toBinary(ModelProtoSchema, model.proto);
}

/** A copy of `message` itself; what it refers to is shared. (A spread would lose the defaults.) */
export function copyMessage<T extends Message>(message: T): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message);
}

/** A copy of `model` whose graph can be changed; the bytes of its tensors are shared. */
export function copyModel(model: Model): Model {
  const proto = copyMessage(model.proto);
  proto.opsetImport = proto.opsetImport.map(copyMessage);
  proto.metadataProps = [...proto.metadataProps];
  proto.graph = copyGraph(proto.graph);
  return { ...model, proto };
}

/** A copy of `original`, and of the control-flow bodies in it, that can be changed. */
export function copyGraph(original: GraphProto): GraphProto {
  const graph = copyMessage(original);
  graph.node = graph.node.map(copyMessage);
  for (const node of graph.node) {
    node.input = [...node.input];
    node.output = [...node.output];
    node.attribute = node.attribute.map((attribute) =>
      attribute.g === undefined && attribute.graphs.length === 0
        ? attribute
        : Object.assign(copyMessage(attribute), {
          g: attribute.g && copyGraph(attribute.g),
          graphs: attribute.graphs.map(copyGraph),
        })
    );
  }
  graph.initializer = [...graph.initializer];
  graph.input = [...graph.input];
  graph.output = [...graph.output];
  graph.valueInfo = [...graph.valueInfo];
  return graph;
}

/** The version of the default operator set; 0 where the model names none. */
export function opsetOf(model: Model): number {
  const entry = model.proto.opsetImport.find((o) => o.domain === "" || o.domain === "ai.onnx");
  return Number(entry?.version ?? 0n);
}

/** Sets the version of the default operator set. */
export function setOpset(model: Model, version: number): void {
  const entry = model.proto.opsetImport.find((o) => o.domain === "" || o.domain === "ai.onnx");
  if (entry) entry.version = BigInt(version);
  else {
    model.proto.opsetImport.push(
      create(OperatorSetIdProtoSchema, { domain: "", version: BigInt(version) }),
    );
  }
}

/** An attribute's value, as {@linkcode makeNode} takes it: integers are `bigint`. */
export type AttributeValue = bigint | number | string | bigint[] | number[];

/** An attribute named `name`: a bigint is INT, a number FLOAT. */
export function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  const attribute = create(AttributeProtoSchema, { name });
  if (typeof value === "bigint") {
    attribute.type = AttributeType.INT;
    attribute.i = value;
  } else if (typeof value === "number") {
    attribute.type = AttributeType.FLOAT;
    attribute.f = value;
  } else if (typeof value === "string") {
    attribute.type = AttributeType.STRING;
    attribute.s = new TextEncoder().encode(value);
  } else if (typeof value[0] === "number") {
    attribute.type = AttributeType.FLOATS;
    attribute.floats = value as number[];
  } else {
    attribute.type = AttributeType.INTS;
    attribute.ints = value as bigint[];
  }
  return attribute;
}

/** A node of the default domain. */
export function makeNode(
  opType: string,
  name: string,
  input: string[],
  output: string[],
  attributes: Record<string, AttributeValue> = {},
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    name,
    input,
    output,
    attribute: Object.entries(attributes).map(([key, value]) => makeAttribute(key, value)),
  });
}

/** The attribute `name` of `node`. */
export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

/** The integer attribute `name`, or `fallback`. */
export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const attribute = attributeOf(node, name);
  return attribute ? Number(attribute.i) : fallback;
}

/** The float attribute `name`, or `fallback`. */
export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return attributeOf(node, name)?.f ?? fallback;
}

/** The string attribute `name`, or `fallback`. */
export function stringAttribute(node: NodeProto, name: string, fallback: string): string {
  const attribute = attributeOf(node, name);
  return attribute ? new TextDecoder().decode(attribute.s) : fallback;
}

/** The integer list attribute `name`, or undefined. */
export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return attributeOf(node, name)?.ints.map(Number);
}
