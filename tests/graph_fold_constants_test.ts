import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { foldConstants } from "../src/graph/fold_constants.ts";
import { prepare } from "../src/graph/prepare.ts";
import type { NodeProto, TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, copyModel, makeNode, type Model } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { tensorBytes } from "../src/plan/size.ts";
import { assertSameValues, build, ints, noise, runModel, value } from "./helpers/models.ts";

const halfBits = Uint16Array.from([0x3c00, 0xbc01, 0x0001, 0x8400, 0x7bff, 0x3555]);
const CONSTANTS: TensorProto[] = [
  floatTensor("a", [2, 3], noise(6)),
  floatTensor("b", [3], noise(3, 5)),
  floatTensor("c", [2, 1], noise(2, 6)),
  floatTensor("positive", [2, 3], noise(6).map((x) => x + 1.5)),
  floatTensor("row", [1, 5], noise(5, 8)),
  floatTensor("cube", [2, 3, 4], noise(24)),
  rawTensor("half", DataType.FLOAT16, [2, 3], new Uint8Array(halfBits.buffer)),
  rawTensor("bfloat", DataType.BFLOAT16, [2], new Uint8Array([0x80, 0x3f, 0x49, 0x40])),
  int64Tensor("i", [3], [7, -7, 2]),
  int64Tensor("two", [1], [2]),
  int64Tensor("one", [1], [1]),
  int64Tensor("zero", [1], [0]),
  int64Tensor("minus", [1], [-1]),
  int64Tensor("last", [2], [-1, 0]),
  int64Tensor("end", [1], [2n ** 62n]),
  int64Tensor("begin", [1], [-(2n ** 62n)]),
  int64Tensor("back", [1], [-2]),
  int64Tensor("shape", [3], [0, -1, 1]),
  int64Tensor("wide", [3], [4, 1, 3]),
];

/** A model whose output is what the last of `nodes` computes, beside a layer's. */
function constantModel(nodes: NodeProto[]): Model {
  return build({
    opset: 17,
    inputs: { x: [1, 2] },
    nodes: [
      ...nodes,
      makeNode("Identity", "kept", ["r"], ["y"]),
      makeNode("Neg", "", ["x"], ["z"]),
    ],
    initializers: CONSTANTS,
    outputs: ["z", "y"],
  });
}

type Case = [op: string, inputs: string[], attributes?: Record<string, AttributeValue>];
const EXACT: Case[] = [
  ["Cast", ["half"], { to: 1n }],
  ["Cast", ["a"], { to: 11n }],
  ["Cast", ["i"], { to: 1n }],
  ["Cast", ["i"], { to: 6n }],
  ["Transpose", ["cube"], { perm: [2n, 0n, 1n] }],
  ["Transpose", ["cube"]],
  ["Reshape", ["cube", "shape"]],
  ["Flatten", ["cube"], { axis: 2n }],
  ["Flatten", ["cube"], { axis: -3n }],
  ["Squeeze", ["c", "one"]],
  ["Squeeze", ["c"]],
  ["Unsqueeze", ["a", "last"]],
  ["Add", ["a", "b"]],
  ["Add", ["i", "two"]],
  ["Sub", ["c", "a"]],
  ["Mul", ["a", "c"]],
  ["Div", ["a", "positive"]],
  ["Div", ["i", "two"]],
  ["Neg", ["a"]],
  ["Abs", ["a"]],
  ["Sqrt", ["positive"]],
  ["Reciprocal", ["positive"]],
  ["Concat", ["a", "positive", "a"], { axis: 1n }],
  ["Concat", ["cube", "cube"], { axis: -3n }],
  ["Slice", ["cube", "one", "end", "two"]],
  ["Slice", ["cube", "zero", "minus", "minus", "two"]],
  ["Slice", ["cube", "minus", "begin", "one", "minus"]],
  ["Slice", ["cube", "end", "zero", "two", "back"]],
  ["Slice", ["cube", "two", "back", "two", "minus"]],
  ["Gather", ["cube", "last"], { axis: 1n }],
  ["Gather", ["cube", "one"], { axis: 0n }],
  ["Expand", ["c", "wide"]],
  ["Shape", ["cube"], { start: -2n }],
  ["ConstantOfShape", ["wide"]],
  ["Identity", ["a"]],
];
const ROUNDED: Case[] = [
  ["Pow", ["positive", "b"]],
  ["ReduceSum", ["cube", "last"]],
  ["MatMul", ["c", "row"]],
  ["ReduceSum", ["cube"], { keepdims: 0n }],
  ["ReduceMean", ["cube"], { axes: [1n] }],
  ["ReduceL1", ["cube"], { axes: [0n, 2n], keepdims: 0n }],
  ["ReduceL2", ["cube"], { axes: [-1n] }],
  ["ReduceSumSquare", ["cube"], { axes: [1n] }],
];

for (const [cases, exact] of [[EXACT, true], [ROUNDED, false]] as const) {
  for (const [op, inputs, attributes] of cases) {
    const text = JSON.stringify(attributes, (_, v) => typeof v === "bigint" ? `${v}` : v) ?? "";
    Deno.test(`computed as onnxruntime does: ${op} of ${inputs} ${text}`, async () => {
      const model = constantModel([makeNode(op, "", inputs, ["r"], attributes)]);
      // An output of the graph stays a node; what it reads does not.
      const folded = copyModel(model), feeds = { x: value([1, 2]) };
      assertEquals(foldConstants(folded), 1);
      assertEquals(folded.proto.graph.node.map(({ opType }) => opType), ["Identity", "Neg"]);
      const [found, expected] = [await runModel(folded, feeds), await runModel(model, feeds)];
      if (exact) return assertSameValues(found, expected);
      assertEquals(found.y.dims, expected.y.dims);
      expected.y.data.forEach((v, i) =>
        assertAlmostEquals(Number(found.y.data[i]), Number(v), 1e-6)
      );
    });
  }
}

Deno.test("16-bit floats of both kinds have their values", () => {
  const model = constantModel([makeNode("Cast", "", ["bfloat"], ["r"], { to: 1n })]);
  foldConstants(model);
  const made = model.proto.graph.initializer.find(({ name }) => name === "r")!;
  assertEquals([...new Float32Array(new Uint8Array(made.rawData).buffer)], [1, 3.140625]);
});

Deno.test("hostile shapes are left to onnxruntime, and cost nothing", () => {
  const huge = int64Tensor("huge", [3], [2 ** 40, 2 ** 40, 1]);
  for (
    const node of [
      makeNode("Expand", "", ["a", "huge"], ["r"]),
      makeNode("ConstantOfShape", "", ["huge"], ["r"]),
      makeNode("Reshape", "", ["a", "huge"], ["r"]),
      makeNode("Div", "", ["i", "zero"], ["r"]),
      makeNode("Gather", "", ["a", "i"], ["r"]),
    ]
  ) {
    const model = constantModel([node]);
    model.proto.graph.initializer.push(huge);
    assertEquals(foldConstants(model), 0);
  }
});

/** Weights of 32 × 32, kept in other ways, and how many layers and copies that gives. */
const WEIGHTS: Record<string, [nodes: NodeProto[], made: string[]]> = {
  "turned": [[
    makeNode("Transpose", "", ["w"], ["t"]),
    makeNode("MatMul", "", ["x", "t"], ["y"]),
  ], ["t"]],
  "weight normalization": [[
    makeNode("ReduceL2", "", ["w"], ["norm"], { axes: [1n] }),
    makeNode("Div", "", ["w", "norm"], ["direction"]),
    makeNode("Mul", "", ["direction", "gain"], ["scaled"]),
    makeNode("Gemm", "", ["x", "scaled"], ["y"], { transB: 1n }),
  ], ["scaled"]],
  "halves of one": [[
    makeNode("Slice", "", ["w", "zero", "half", "zero"], ["w0"]),
    makeNode("Slice", "", ["w", "half", "end", "zero"], ["w1"]),
    makeNode("Gemm", "", ["x", "w0"], ["y0"], { transB: 1n }),
    makeNode("Gemm", "", ["x", "w1"], ["y1"], { transB: 1n }),
    makeNode("Concat", "", ["y0", "y1"], ["y"], { axis: 1n }),
  ], ["w0", "w1"]],
  "split in three": [[
    makeNode("Split", "", ["w", "three"], ["q", "k", "v"], { axis: 0n }),
    makeNode("Gemm", "", ["x", "q"], ["yq"], { transB: 1n }),
    makeNode("Gemm", "", ["x", "k"], ["yk"], { transB: 1n }),
    makeNode("Gemm", "", ["x", "v"], ["yv"], { transB: 1n }),
    makeNode("Concat", "", ["yq", "yk", "yv"], ["y"], { axis: 1n }),
  ], ["q", "k", "v"]],
  "of low rank on top": [[
    makeNode("MatMul", "", ["gain", "across"], ["update"]),
    makeNode("Add", "", ["w", "update"], ["sum"]),
    makeNode("MatMul", "", ["x", "sum"], ["y"]),
  ], ["sum"]],
  "tied to a table, MatMul": [[
    makeNode("Gather", "embed", ["w", "ids"], ["e"]),
    makeNode("Transpose", "", ["w"], ["t"], { perm: [1n, 0n] }),
    makeNode("MatMul", "", ["e", "t"], ["l"]),
    makeNode("MatMul", "", ["x", "t"], ["m"]),
    makeNode("Add", "", ["l", "m"], ["y"]),
  ], ["w", "w"]],
  "tied to a table, Gemm": [[
    makeNode("Gather", "embed", ["w", "ids"], ["e"]),
    makeNode("Transpose", "", ["w"], ["t"], { perm: [1n, 0n] }),
    makeNode("Gemm", "", ["e", "t"], ["y"]),
  ], ["w"]],
  "left of the product, turned, beside a table": [[
    makeNode("Gather", "embed", ["w", "ids"], ["e"]),
    makeNode("Transpose", "", ["w"], ["t"], { perm: [1n, 0n] }),
    makeNode("Transpose", "", ["e"], ["columns"]),
    makeNode("MatMul", "", ["t", "columns"], ["y"]),
  ], ["w"]],
};

for (const [name, [nodes, made]] of Object.entries(WEIGHTS)) {
  Deno.test(`a weight ${name}: found, and the file does not grow`, async () => {
    const tied = nodes.some(({ opType }) => opType === "Gather");
    const model = build({
      opset: 13,
      inputs: tied ? { x: [4, 32], ids: [4] } : { x: [4, 32] },
      types: { ids: DataType.INT64 },
      nodes,
      initializers: [
        floatTensor("w", [32, 32], noise(1024)),
        floatTensor("gain", [32, 1], noise(32)),
        floatTensor("across", [1, 32], noise(32, 4)),
        int64Tensor("three", [3], [8, 16, 8]),
        int64Tensor("zero", [1], [0]),
        int64Tensor("half", [1], [16]),
        int64Tensor("end", [1], [99]),
      ],
      outputs: ["y"],
    });
    const found = makePlan(model, { bits: 8, activationBits: "none" });
    assertEquals(found.layers.map(({ target }) => target.weight), made);
    const prepared = copyModel(model), feeds = { x: value([4, 32]), ids: ints([4], [1, 31, 0, 7]) };
    prepare(prepared);
    assert(tensorBytes(prepared) <= tensorBytes(model), `${tensorBytes(prepared)}`);
    const [{ y }, expected] = [await runModel(prepared, feeds), await runModel(model, feeds)];
    expected.y.data.forEach((v, i) => assertAlmostEquals(Number(y.data[i]), Number(v), 1e-5));
  });
}

Deno.test("what a caller may feed is not computed with, a weight that is listed as an input is", () => {
  const model = build({
    opset: 17,
    inputs: { x: [4, 32], w: [32, 32], gain: [32] },
    nodes: [
      makeNode("Transpose", "", ["w"], ["t"]),
      makeNode("Sqrt", "", ["gain"], ["g"]),
      makeNode("MatMul", "layer", ["x", "t"], ["a"]),
      makeNode("Mul", "", ["a", "g"], ["y"]),
    ],
    initializers: [floatTensor("w", [32, 32], noise(1024)), floatTensor("gain", [32], noise(32))],
    outputs: ["y"],
  });
  const { model: prepared, layers } = makePlan(model);
  assertEquals(layers.map(({ target }) => target.weight), ["t"]);
  assertEquals(prepared.proto.graph.input.map(({ name }) => name), ["x", "gain"]);
  assert(prepared.proto.graph.node.some(({ opType }) => opType === "Sqrt"));
});

Deno.test("a 16-bit table that only a Gather reads is not blown up", () => {
  const model = build({
    opset: 17,
    inputs: { x: [4, 32], ids: [4] },
    types: { ids: DataType.INT64 },
    nodes: [
      makeNode("Cast", "", ["table"], ["t"], { to: 1n }),
      makeNode("Gather", "embed", ["t", "ids"], ["e"]),
      makeNode("MatMul", "", ["e", "w"], ["y"]),
    ],
    initializers: [
      rawTensor("table", DataType.FLOAT16, [64, 32], new Uint8Array(4096)),
      floatTensor("w", [32, 32], noise(1024)),
    ],
    outputs: ["y"],
  });
  const { skipped, model: prepared } = makePlan(model);
  assertEquals(skipped, [
    { name: "embed", op: "Gather", reason: "embedding table", weight: "table", bytes: 4096 },
  ]);
  assertEquals(prepared.proto.graph.initializer.map(({ name }) => name), ["table", "w"]);
});
