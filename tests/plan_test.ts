import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import {
  type AttributeValue,
  makeNode,
  type Model,
  opsetOf,
  serializeModel,
} from "../src/onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../src/onnx/tensor.ts";
import { matchesPattern, type PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { build, noise } from "./helpers/models.ts";

/** Three convolutions after one another, with a residual sum around the second. */
function residual(): Model {
  const weight = (name: string, shape: number[]) =>
    floatTensor(name, shape, noise(shape.reduce((a, b) => a * b), 3));
  const conv = (name: string, from: string, to: string) =>
    makeNode("Conv", name, [from, `${name}_w`], [to]);
  return build({
    opset: 13,
    inputs: { x: ["N", 4, 6, 6] },
    nodes: [
      conv("block/one", "x", "a"),
      makeNode("Relu", "relu", ["a"], ["b"]),
      conv("block/two", "b", "c"),
      makeNode("Add", "add", ["b", "c"], ["d"]),
      makeNode("MaxPool", "pool", ["d"], ["e"], { kernel_shape: [2n, 2n] }),
      conv("head/three", "e", "y"),
    ],
    initializers: ["block/one", "block/two", "head/three"].map((n) =>
      weight(`${n}_w`, [4, 4, 1, 1])
    ),
    outputs: ["y"],
  });
}

const bitsOf = (options: PlanOptions) =>
  Object.fromEntries(makePlan(residual(), options).layers.map((l) => [l.target.name, l.bits]));

Deno.test("first and last layers get 8 bits, the others what is asked for", () => {
  assertEquals(bitsOf({ bits: 3 }), { "block/one": 8, "block/two": 3, "head/three": 8 });
  assertEquals(bitsOf({ bits: 3, edgeBits: 4 }), {
    "block/one": 4,
    "block/two": 3,
    "head/three": 4,
  });
});

Deno.test("overrides go by name, weight or glob, and the last one wins", () => {
  const overrides = [{ pattern: "block/*", bits: 5 }, { pattern: "block/two_w", bits: 2 }];
  assertEquals(bitsOf({ overrides }), { "block/one": 5, "block/two": 2, "head/three": 8 });
  const { layers, skipped } = makePlan(residual(), {
    overrides: [{ pattern: "*/two", bits: "skip" }],
  });
  assertEquals(layers.map(({ target }) => target.name), ["block/one", "head/three"]);
  assertEquals(skipped, [{ name: "block/two", op: "Conv", reason: "override" }]);
  assert(matchesPattern("a.b*[1]", "a.b/c[1]") && !matchesPattern("a.b", "axb"));
});

Deno.test("options out of range are refused, each by its value", () => {
  const cases: [PlanOptions, string][] = [
    [{ bits: 1 }, "1 as bits"],
    [{ bits: 9 }, "9 as bits"],
    [{ bits: 2.5 }, "2.5 as bits"],
    [{ bits: NaN }, "NaN as bits"],
    [{ edgeBits: 16 }, "16 as edge bits"],
    [{ granularity: { kind: "group", size: 0 } }, "0 as group size"],
    [{ activationBits: 3 as 8 }, "activation bits 3"],
    [{ overrides: [{ pattern: "nothing", bits: 4 }] }, `"nothing"`],
  ];
  for (const [options, text] of cases) {
    const error = assertThrows(() => makePlan(residual(), options), AttuneError);
    assertEquals(error.code, "bad-option");
    assert(error.message.includes(text), error.message);
  }
});

Deno.test("a plan changes nothing in the model, and raises the opset only as needed", () => {
  const model = residual(), before = serializeModel(model);
  assertEquals(opsetOf(makePlan(model, { bits: 4 }).model), 21);
  assertEquals(opsetOf(makePlan(model, { bits: 8 }).model), 13);
  assertEquals(opsetOf(makePlan(model, { bits: 8, activationBits: 4 }).model), 13);
  assertEquals(serializeModel(model), before);
});

Deno.test("activations are quantized between layers, moved values share their grid", () => {
  const { activations } = makePlan(residual());
  // Relu merges into the quantization of b; the pooled values lie on the grid of the sum.
  assertEquals(activations.ranged, ["x", "b", "c", "d"]);
  assertEquals([...activations.shared], [["e", "d"]]);
  assertEquals(makePlan(residual(), { activationBits: "none" }).activations.ranged, []);
});

Deno.test("sizes count levels and scales", () => {
  const { layers, size } = makePlan(residual(), { bits: 4, edgeBits: 4 });
  // 16 weights in 4 bits and 4 scales of 4 bytes.
  assertEquals(layers.map(({ bytesBefore, bytesAfter }) => [bytesBefore, bytesAfter]), [
    [64, 24],
    [64, 24],
    [64, 24],
  ]);
  // Besides, 4 zero points of 4 bits, 4 biases of 4 bytes that there were none of, and their
  // scales.
  assertEquals(size, { before: 192, after: 72 + 3 * (2 + 16 + 16) });
});

Deno.test("each layer that stays in float has its reason", () => {
  const weight = floatTensor("w", [4, 4], noise(16));
  const cases: [string, string[], Record<string, AttributeValue>, string][] = [
    ["MatMul", ["x", "x"], {}, "no constant weight"],
    ["MatMul", ["x", "double"], {}, "weight is not float32"],
    ["MatMul", ["x", "cube"], {}, "weight of more than two dimensions"],
    ["Gemm", ["x", "w"], { transA: 1n }, "attribute not handled"],
    ["Gemm", ["x", "w"], { alpha: 0.5 }, "attribute not handled"],
  ];
  for (const [op, inputs, attributes, reason] of cases) {
    const model = build({
      opset: 13,
      inputs: { x: [4, 4] },
      nodes: [
        makeNode("MatMul", "good", ["x", "w"], ["a"]),
        makeNode(op, "left", inputs, ["y"], attributes),
      ],
      initializers: [
        weight,
        rawTensor("double", DataType.DOUBLE, [4, 4], new Uint8Array(128)),
        floatTensor("cube", [1, 4, 4], noise(16)),
      ],
      outputs: ["a", "y"],
    });
    assertEquals(makePlan(model).skipped, [{ name: "left", op, reason }]);
  }
});

Deno.test("a model that is quantized, or has nothing to quantize, is refused", () => {
  const refuse = (op: string, text: string) => {
    const model = build({
      opset: 13,
      inputs: { x: ["N", 4] },
      nodes: [makeNode(op, "node", op === "Relu" ? ["x"] : ["x", "s"], ["y"])],
      initializers: [floatTensor("s", [], new Float32Array([1]))],
      outputs: ["y"],
    });
    const error = assertThrows(() => makePlan(model), AttuneError);
    assertEquals(error.code, "bad-model");
    assert(error.message.includes(text), error.message);
  };
  refuse("QuantizeLinear", "quantized already");
  refuse("Relu", "no Conv, ConvTranspose, Gemm or MatMul");
});
