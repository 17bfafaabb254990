import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { create } from "@bufbuild/protobuf";
import { AttuneError } from "../src/errors.ts";
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from "../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode, type Model } from "../src/onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../src/onnx/tensor.ts";
import { gramPlan } from "../src/plan/memory.ts";
import { makePlan } from "../src/plan/plan.ts";
import type { Target } from "../src/weights/target.ts";
import { build, noise } from "./helpers/models.ts";

/** Two layers, the second of which has a weight that says `dims`. */
function claimed(dims: (number | bigint)[], type = DataType.FLOAT, bytes = 0): Model {
  const weight = rawTensor("bad", type, [], new Uint8Array(bytes));
  weight.dims = dims.map(BigInt);
  return build({
    opset: 17,
    inputs: { x: ["N", 8] },
    nodes: [
      makeNode("MatMul", "one", ["x", "w"], ["a"]),
      makeNode("MatMul", "two", ["a", "bad"], ["y"]),
    ],
    initializers: [floatTensor("w", [8, 8], noise(64)), weight],
    outputs: ["y"],
  });
}

/** Asserts that a plan of `model` is refused as damaged, naming `words`. */
function refused(model: Model, ...words: string[]): void {
  const error = assertThrows(() => makePlan(model), AttuneError);
  assertEquals(error.code, "bad-model");
  for (const word of words) assertStringIncludes(error.message, word);
}

Deno.test("shapes that the data does not have are refused at once, by the tensor", () => {
  refused(claimed([2n ** 40n, 2n ** 40n]), '"bad"', "no data can have");
  refused(claimed([2n ** 32n, 2n ** 32n]), '"bad"', "no data can have");
  refused(claimed([2n ** 31n, 2n ** 31n, 2n ** 2n]), '"bad"');
  refused(claimed([1_000_000_007, 3]), '"bad"', "12000000084 bytes", "has 0");
  refused(claimed([300_000, 300_000], DataType.FLOAT, 4096), '"bad"', "has 4096");
  refused(claimed([8, -8], DataType.FLOAT, 256), '"bad"', "no data can have");
  refused(claimed([8, 8], DataType.FLOAT16, 256), '"bad"', "128 bytes", "has 256");
  refused(claimed([8, 7], DataType.FLOAT, 256), '"bad"', "224 bytes");
  refused(claimed([3], DataType.INT4, 1), '"bad"', "2 bytes");
  const listed = claimed([8, 8]);
  listed.proto.graph.initializer[1].floatData = [1, 2, 3];
  refused(listed, '"bad"', "64 elements", "has 3");
});

Deno.test("external data is compared with its shape, and with the file, without being read", () => {
  const entries = (model: Model, own: Record<string, string>) => {
    Object.assign(model.proto.graph.initializer[1], {
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: Object.entries(own).map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value })
      ),
    });
    return model;
  };
  let read = 0;
  const file = (_: string, offset: number, length = NaN) => {
    if (!(offset + length <= 300)) throw new AttuneError("bad-model", "it has 300");
    read += length;
    return new Uint8Array(length);
  };
  const given = (own: Record<string, string>) => ({
    ...entries(claimed([8, 8]), { location: "data", ...own }),
    external: file,
  });
  refused(given({ length: "100" }), "256 bytes", "has 100");
  refused(given({ offset: "100" }), "it has 300");
  refused(entries(claimed([8, 8]), { location: "data" }), "which was not given");
  assertEquals(read, 0);
  assertEquals(makePlan(given({ offset: "44" })).size.before, 512);
});

Deno.test("attributes that no convolution has are refused", () => {
  const conv = (attributes: Record<string, AttributeValue>, op = "Conv") =>
    build({
      opset: 17,
      inputs: { x: ["N", 8, 9, 9] },
      nodes: [makeNode(op, "conv", ["x", "w"], ["y"], attributes)],
      initializers: [floatTensor("w", [8, 8, 3, 3], noise(576))],
      outputs: ["y"],
    });
  for (const op of ["Conv", "ConvTranspose"]) {
    refused(conv({ group: -8n }, op), '"conv"', "group -8");
    refused(conv({ group: 0n }, op), "group 0");
    refused(conv({ strides: [0n, 1n] }, op), "strides 0,1");
    refused(conv({ dilations: [1n, -1n] }, op), "dilations 1,-1");
    refused(conv({ strides: [1n] }, op), "strides 1");
    refused(conv({ pads: [1n, 1n] }, op), "pads 1,1");
  }
});

Deno.test("weights that are not finite are named, and can be left in float", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    const model = claimed([8, 8], DataType.FLOAT, 256);
    const values = noise(64);
    values[7] = bad;
    model.proto.graph.initializer[1] = floatTensor("bad", [8, 8], values);
    refused(model, 'node "two"', 'weight "bad"', String(bad));
    const { layers } = makePlan(model, { overrides: [{ pattern: "two", bits: "skip" }] });
    assertEquals(layers.length, 1);
  }
});

Deno.test("blocks of any depth are found at once", () => {
  const of = (depth: number, size?: number) =>
    gramPlan(
      { name: "deep", groups: 1, rows: 2, depth } as Target,
      size ? { kind: "group", size } : { kind: "channel" },
    );
  // A prime depth has blocks of one input.
  assertEquals(of(1_000_003), { kind: "tiles", size: 1 });
  assertEquals(of(2 ** 20), { kind: "tiles", size: 128 });
  assertEquals(of(3 * 2 ** 14, 4096), { kind: "tiles", size: 4096 });
  assertThrows(() => of(1_000_003, 32), AttuneError, "do not divide");
  assert((of(25_088) as { size: number }).size === 1792);
});
