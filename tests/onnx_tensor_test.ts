import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { type TensorProto, TensorProtoSchema } from "../src/onnx/gen/onnx_pb.ts";
import {
  bytesOf,
  DataType,
  floatTensor,
  int64Tensor,
  rawTensor,
  readFloats,
  readInts,
  readTensor,
  sizeOf,
  type TypedArray,
  typeName,
  typeNamed,
} from "../src/onnx/tensor.ts";

/** Extremes of each type, and the list that the format keeps them in. */
const types: [DataType, TypedArray, Partial<TensorProto>][] = [
  [DataType.FLOAT, Float32Array.of(1.5, -0, Infinity), { floatData: [1.5, -0, Infinity] }],
  [DataType.DOUBLE, Float64Array.of(0.1, -1e300), { doubleData: [0.1, -1e300] }],
  [DataType.INT8, Int8Array.of(-128, 127), { int32Data: [-128, 127] }],
  [DataType.UINT8, Uint8Array.of(0, 255), { int32Data: [0, 255] }],
  [DataType.BOOL, Uint8Array.of(0, 1), { int32Data: [0, 1] }],
  [DataType.INT16, Int16Array.of(-32768, 32767), { int32Data: [-32768, 32767] }],
  [DataType.UINT16, Uint16Array.of(0, 65535), { int32Data: [0, 65535] }],
  [DataType.INT32, Int32Array.of(-(2 ** 31), 2 ** 31 - 1), {
    int32Data: [-(2 ** 31), 2 ** 31 - 1],
  }],
  [DataType.UINT32, Uint32Array.of(0, 2 ** 32 - 1), { uint64Data: [0n, 2n ** 32n - 1n] }],
  [
    DataType.INT64,
    BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
    { int64Data: [-(2n ** 63n), 2n ** 63n - 1n] },
  ],
  [DataType.UINT64, BigUint64Array.of(0n, 2n ** 64n - 1n), { uint64Data: [0n, 2n ** 64n - 1n] }],
];

for (const [type, values, list] of types) {
  Deno.test(`readTensor: ${DataType[type]}, as raw bytes and as a list`, () => {
    const dims = [values.length, 1];
    const raw = rawTensor("t", type, dims, bytesOf(values));
    const listed = create(TensorProtoSchema, {
      ...list as Record<string, never>,
      name: "t",
      dataType: type,
      dims: dims.map(BigInt),
    });
    for (const tensor of [raw, listed]) {
      const read = readTensor(fromBinary(TensorProtoSchema, toBinary(TensorProtoSchema, tensor)));
      assertEquals(read.constructor, values.constructor);
      assertEquals(read, values);
    }
  });
}

Deno.test("readTensor: a copy, also where the bytes are not aligned", () => {
  const bytes = new Uint8Array(9);
  bytes.set(bytesOf(Float32Array.of(1, 2)), 1);
  const tensor = rawTensor("t", DataType.FLOAT, [2], bytes.subarray(1));
  const values = readTensor(tensor);
  assertEquals(values, Float32Array.of(1, 2));
  values[0] = 9;
  assertEquals(readTensor(tensor)[0], 1);
});

Deno.test("readTensor: scalars and tensors without elements", () => {
  assertEquals(readTensor(floatTensor("t", [], Float32Array.of(3))), Float32Array.of(3));
  assertEquals(readTensor(floatTensor("t", [0, 4], new Float32Array(0))), new Float32Array(0));
  assertEquals([sizeOf([]), sizeOf([2, 3]), sizeOf([2n, 0n])], [1, 6, 0]);
});

Deno.test("readTensor: refuses bytes that do not fit the shape, and types without an array", () => {
  const refused: [TensorProto, string][] = [
    [rawTensor("short", DataType.FLOAT, [3], new Uint8Array(8)), "wants 3 elements"],
    [rawTensor("odd", DataType.FLOAT, [2], new Uint8Array(7)), "7 bytes"],
    [rawTensor("empty", DataType.FLOAT, [2], new Uint8Array(0)), "wants 2 elements"],
    [rawTensor("below", DataType.FLOAT, [-1], new Uint8Array(4)), "-1"],
    [rawTensor("half", DataType.FLOAT16, [1], new Uint8Array(2)), "FLOAT16"],
    [rawTensor("words", DataType.STRING, [1], new Uint8Array(2)), "STRING"],
    [rawTensor("new", 77 as DataType, [1], new Uint8Array(2)), "77"],
  ];
  for (const [tensor, words] of refused) {
    const error = assertThrows(() => readTensor(tensor), AttuneError);
    assertEquals(error.code, "bad-model");
    assertStringIncludes(error.message, `"${tensor.name}"`);
    assertStringIncludes(error.message, words);
  }
});

Deno.test("readFloats and readInts", () => {
  assertEquals(readInts(int64Tensor("t", [2], [-1, 2n])), [-1, 2]);
  assertEquals(readFloats(floatTensor("t", [1], Float32Array.of(1))), Float32Array.of(1));
  const error = assertThrows(() => readFloats(int64Tensor("axes", [1], [1])), AttuneError);
  assertStringIncludes(error.message, '"axes"');
  assertStringIncludes(error.message, "INT64");
});

Deno.test("element types: names as onnxruntime has them, and back", () => {
  assertEquals(typeName(DataType.FLOAT), "float32");
  assertEquals(typeName(DataType.DOUBLE), "float64");
  assertEquals(typeName(DataType.UINT8), "uint8");
  for (const [type] of types) assertEquals(typeNamed(typeName(type)), type);
});
