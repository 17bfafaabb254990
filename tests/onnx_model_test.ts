import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { Graph } from "../src/graph/graph.ts";
import {
  attributeOf,
  floatAttribute,
  intAttribute,
  intsAttribute,
  makeNode,
  opsetOf,
  parseModel,
  serializeModel,
  setOpset,
  stringAttribute,
} from "../src/onnx/model.ts";
import { floatTensor, readTensor } from "../src/onnx/tensor.ts";
import { build, noise } from "./helpers/models.ts";

/** A model with an attribute of each kind, a constant and two nodes. */
function small() {
  return build({
    opset: 13,
    inputs: { x: ["n", 2, 3, 3] },
    nodes: [
      makeNode("Conv", "conv", ["x", "w"], ["c"], { kernel_shape: [2n, 2n], auto_pad: "VALID" }),
      makeNode("LeakyRelu", "relu", ["c"], ["y"], { alpha: 0.5 }),
    ],
    initializers: [floatTensor("w", [1, 2, 2, 2], noise(8))],
    outputs: ["y"],
  });
}

/** A protobuf field of wire type 2 (bytes). */
function field(number: number, bytes: ArrayLike<number>): number[] {
  return [...varint(number << 3 | 2), ...varint(bytes.length), ...Array.from(bytes)];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [value & 127 | 128, ...varint(value >>> 7)];
}

Deno.test("parseModel and serializeModel: the bytes come back as they were", () => {
  const bytes = serializeModel(small());
  assertEquals(serializeModel(parseModel(bytes)), bytes);
});

Deno.test("parseModel: fields that attune does not know stay, byte for byte", () => {
  // At every level: model, graph, node, tensor.
  const unknown = field(1999, [1, 2, 3, 250]);
  const text = (value: string) => [...new TextEncoder().encode(value)];
  const node = [
    ...field(1, text("x")),
    ...field(2, text("y")),
    ...field(4, text("Relu")),
    ...unknown,
  ];
  const tensor = [...field(8, text("w")), ...unknown];
  const output = field(1, text("y"));
  const graph = [...field(1, node), ...field(5, tensor), ...field(12, output), ...unknown];
  const opset = field(8, [0x10, 13]);
  const model = Uint8Array.from([...field(7, graph), ...opset, ...unknown]);
  const written = serializeModel(parseModel(model));
  assertEquals(written.length, model.length);
  const count = (bytes: Uint8Array) => bytes.join().split(unknown.join()).length - 1;
  assertEquals(count(model), 4);
  assertEquals(count(written), 4);
});

Deno.test("parseModel: a model cut off anywhere is an AttuneError", () => {
  const bytes = serializeModel(small());
  let refused = 0;
  for (let length = 0; length < bytes.length; length++) {
    // Cut between two fields, the rest may still be a model; it must then parse as a whole.
    try {
      parseModel(bytes.subarray(0, length));
    } catch (error) {
      assert(error instanceof AttuneError && error.code === "bad-model", `${length}: ${error}`);
      refused++;
    }
  }
  assert(refused >= bytes.length - 1, `${refused} of ${bytes.length} refused`);
});

Deno.test("parseModel: flipped bits give a model or an AttuneError, never another error", () => {
  const bytes = serializeModel(small());
  let parsed = 0, refused = 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    try {
      const model = parseModel(flipped);
      new Graph(model).inputs;
      for (const tensor of model.proto.graph.initializer) readTensor(tensor);
      parsed++;
    } catch (error) {
      assert(error instanceof AttuneError, `bit ${bit}: ${(error as Error).stack}`);
      refused++;
    }
  }
  assert(parsed > 0 && refused > 0, `${parsed} parsed, ${refused} refused`);
});

Deno.test("parseModel: says what is wrong with what it is given", () => {
  const old = small();
  setOpset(old, 8);
  const empty = build({ opset: 13, inputs: {}, nodes: [], outputs: [] });
  const cases: [Uint8Array, string][] = [
    [new TextEncoder().encode("<html>"), "not an ONNX model"],
    [new Uint8Array(0), "no graph"],
    [serializeModel(empty), "no graph"],
    [serializeModel(old), "opset is 8"],
  ];
  for (const [bytes, words] of cases) {
    const error = assertThrows(() => parseModel(bytes, { name: "some.onnx" }), AttuneError);
    assertEquals(error.code, "bad-model");
    assertStringIncludes(error.message, "some.onnx");
    assertStringIncludes(error.message, words);
  }
});

Deno.test("attributes: values as they were written, fallbacks where there is none", () => {
  const [conv, relu] = parseModel(serializeModel(small())).proto.graph.node;
  assertEquals(intsAttribute(conv, "kernel_shape"), [2, 2]);
  assertEquals(stringAttribute(conv, "auto_pad", "NOTSET"), "VALID");
  assertEquals(floatAttribute(relu, "alpha", 0.01), 0.5);
  assertEquals(intsAttribute(conv, "pads"), undefined);
  assertEquals(stringAttribute(relu, "mode", "none"), "none");
  assertEquals(floatAttribute(conv, "alpha", 0.01), 0.01);
  assertEquals(intAttribute(conv, "group", 1), 1);
  assertEquals(attributeOf(conv, "group"), undefined);
});

Deno.test("opset: read and set, under both names of the default domain", () => {
  const model = small();
  setOpset(model, 21);
  assertEquals(opsetOf(parseModel(serializeModel(model))), 21);
  model.proto.opsetImport[0].domain = "ai.onnx";
  setOpset(model, 22);
  assertEquals(model.proto.opsetImport.length, 1);
  assertEquals(opsetOf(model), 22);
  model.proto.opsetImport = [];
  assertEquals(opsetOf(model), 0);
  setOpset(model, 13);
  assertEquals(opsetOf(model), 13);
});
