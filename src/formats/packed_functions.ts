/**
 * The operators that unpack a packed file, as functions of the model: one that makes tables, one
 * per number of planes, and one that moves levels. A call takes a third of the room of a copy of
 * the nodes, and loads as fast: onnxruntime inlines functions before it folds.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  FunctionProtoSchema,
  type NodeProto,
  OperatorSetIdProtoSchema,
  type TensorProto,
} from "../onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode, opsetOf } from "../onnx/model.ts";
import { DataType, int64Tensor } from "../onnx/tensor.ts";
import type { ModelWriter } from "./writer.ts";
import type { Digits } from "./packing.ts";

/** The domain of the functions. */
export const PACKED_DOMAIN = "attune";

/** A node among the first ones of `writer` that calls a function. */
function call(
  writer: ModelWriter,
  name: string,
  input: string[],
  output: string,
  attributes: Record<string, AttributeValue>,
): string {
  writer.node(name, input, output, attributes).domain = PACKED_DOMAIN;
  return output;
}

/** The table of a plane, 256 × digits of a byte: int8; made once per model, when it is opened. */
export function putTable(writer: ModelWriter, { base, each, half, unit }: Digits): string {
  const key = `table_${base}_${half}_${unit}`, existing = writer.shared.get(key);
  if (existing !== undefined) return existing;
  const name = writer.name(`${PACKED_DOMAIN}_${key}`);
  writer.shared.set(key, name);
  addFunction(writer, "table", {
    input: [],
    output: ["table"],
    attribute: ["base", "each", "half", "unit"],
    node: [
      ...["base", "each", "half", "unit"].map((name) => constantOf(name, "value_int")),
      constant("zero", int64Tensor("", [], [0])),
      constant("one", int64Tensor("", [], [1])),
      constant("bytes", int64Tensor("", [], [256])),
      constant("column", int64Tensor("", [2], [256, 1])),
      makeNode("Range", "", ["zero", "bytes", "one"], ["row"]),
      makeNode("Reshape", "", ["row", "column"], ["byte"]),
      makeNode("Range", "", ["zero", "each", "one"], ["place"]),
      makeNode("Pow", "", ["base", "place"], ["worth"]),
      makeNode("Div", "", ["byte", "worth"], ["digit"]),
      makeNode("Add", "", ["digit", "half"], ["moved"]),
      makeNode("Mod", "", ["moved", "base"], ["wrapped"]),
      makeNode("Sub", "", ["wrapped", "half"], ["value"]),
      makeNode("Mul", "", ["value", "unit"], ["level"]),
      makeNode("Cast", "", ["level"], ["table"], { to: BigInt(DataType.INT8) }),
    ],
  });
  const attributes = Object.entries({ base, each, half, unit });
  return call(
    writer,
    "table",
    [],
    name,
    Object.fromEntries(attributes.map(([key, value]) => [key, BigInt(value)])),
  );
}

/**
 * Unpacks `count` codes from `planes`, each a tensor of bytes and its table, into `output`: int8 of
 * the shape `dims`. `cut` takes off the codes that fill up the last bytes; without it there are
 * half as many nodes to fold.
 */
export function putUnpack(
  writer: ModelWriter,
  planes: readonly (readonly [bytes: string, table: string])[],
  output: string,
  { dims, count, cut }: { dims: readonly number[]; count: number; cut: boolean },
): string {
  return call(writer, unpackFunction(writer, planes.length, cut), planes.flat(), output, {
    shape: dims.map(BigInt),
    ...(cut && { count: [BigInt(count)] }),
  });
}

/** Adds `offsets` to the levels `name`, both int8, into `output` of the type `to`. */
export function putShift(
  writer: ModelWriter,
  name: string,
  offsets: string,
  output: string,
  to: DataType,
): string {
  const wide = { to: BigInt(DataType.INT32) };
  const cast = makeNode("Cast", "", ["sum"], ["shifted"]);
  cast.attribute.push(reference("to", "to", AttributeType.INT));
  addFunction(writer, "shift", {
    input: ["levels", "offsets"],
    output: ["shifted"],
    attribute: ["to"],
    node: [
      // There is no Add of int8.
      makeNode("Cast", "", ["levels"], ["wide"], wide),
      makeNode("Cast", "", ["offsets"], ["wide_offsets"], wide),
      makeNode("Add", "", ["wide", "wide_offsets"], ["sum"]),
      cast,
    ],
  });
  return call(writer, "shift", [name, offsets], output, { to: BigInt(to) });
}

/** The name of the function that unpacks so many planes; it is added where it is missing. */
function unpackFunction(writer: ModelWriter, planes: number, cut: boolean): string {
  const name = `unpack${planes}${cut ? "_cut" : ""}`;
  const node: NodeProto[] = [constantOf("shape", "value_ints")];
  if (cut) {
    node.push(
      constantOf("count", "value_ints"),
      constant("zero", int64Tensor("", [1], [0])),
      constant("flat", int64Tensor("", [1], [-1])),
    );
  }
  const input = Array.from({ length: planes }, (_, i) => [`p${i}`, `t${i}`]);
  const last = cut ? "all" : "levels";
  input.forEach(([plane, table], i) => {
    const codes = planes === 1 ? last : `c${i}`;
    node.push(
      makeNode("Cast", "", [plane], [`i${i}`], { to: BigInt(DataType.INT32) }),
      makeNode("Gather", "", [table, `i${i}`], [`g${i}`]),
      makeNode("Reshape", "", [`g${i}`, cut ? "flat" : "shape"], [codes]),
    );
    const sum = i === planes - 1 ? last : `o${i}`;
    if (i > 0) node.push(makeNode("BitwiseOr", "", [i === 1 ? "c0" : `o${i - 1}`, codes], [sum]));
  });
  if (cut) {
    node.push(
      makeNode("Slice", "", ["all", "zero", "count"], ["some"]),
      makeNode("Reshape", "", ["some", "shape"], ["levels"]),
    );
  }
  addFunction(writer, name, {
    input: input.flat(),
    output: ["levels"],
    attribute: cut ? ["shape", "count"] : ["shape"],
    node,
  });
  return name;
}

/** Adds the function `name` to the model, where it is missing. */
function addFunction(
  writer: ModelWriter,
  name: string,
  parts: { input: string[]; output: string[]; attribute: string[]; node: NodeProto[] },
): void {
  const { proto } = writer.model;
  if (proto.functions.some((f) => f.domain === PACKED_DOMAIN && f.name === name)) return;
  const version = (domain: string, number: number) =>
    create(OperatorSetIdProtoSchema, { domain, version: BigInt(number) });
  if (!proto.opsetImport.some(({ domain }) => domain === PACKED_DOMAIN)) {
    proto.opsetImport.push(version(PACKED_DOMAIN, 1));
  }
  proto.functions = [
    ...proto.functions,
    create(FunctionProtoSchema, {
      ...parts,
      name,
      domain: PACKED_DOMAIN,
      opsetImport: [version("", opsetOf(writer.model))],
    }),
  ];
}

/** A Constant node: a function has no initializers. */
function constant(name: string, tensor: TensorProto): NodeProto {
  const node = makeNode("Constant", "", [], [name]);
  node.attribute.push(
    create(AttributeProtoSchema, { name: "value", type: AttributeType.TENSOR, t: tensor }),
  );
  return node;
}

/** A Constant node of what the function's attribute `name` says. */
function constantOf(name: string, value: "value_int" | "value_ints"): NodeProto {
  const node = makeNode("Constant", "", [], [name]);
  const type = value === "value_int" ? AttributeType.INT : AttributeType.INTS;
  node.attribute.push(reference(value, name, type));
  return node;
}

/** An attribute that takes the value of the function's own one. */
function reference(name: string, refAttrName: string, type: AttributeType): AttributeProto {
  return create(AttributeProtoSchema, { name, type, refAttrName });
}
