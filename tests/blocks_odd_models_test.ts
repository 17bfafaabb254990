/**
 * Blocks of models that are built otherwise: shapes computed on the way, tokens, several inputs.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import type { NodeProto, TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import type { BlockReport } from "../src/report/report.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import { build, noise } from "./helpers/models.ts";

const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
const weight = (name: string, ...shape: number[]) =>
  floatTensor(name, shape, noise(size(shape), size(shape)).map((v) => v * 2 / Math.sqrt(shape[1])));
const list = (name: string, ...values: number[]) => int64Tensor(name, [values.length], values);
const node = (
  op: string,
  inputs: string[],
  outputs: string[],
  attributes?: Record<string, AttributeValue>,
) => makeNode(op, `${op}_${outputs[0]}`, inputs, outputs, attributes);

interface Case {
  /** Shapes of one sample. */
  inputs: Record<string, number[]>;
  /** What a token is below; default: floats. */
  tokens?: number;
  nodes: NodeProto[];
  initializers: TensorProto[];
  outputs?: string[];
  opset?: number;
}

/** What became of the blocks of a model whose layers all have 2 bits. */
async function scalesPerRow(test: Case): Promise<readonly BlockReport[]> {
  const { inputs, tokens, nodes, initializers, outputs = ["y"], opset = 17 } = test;
  const model = build({
    opset,
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([name, dims]) => [name, ["N", ...dims]]),
    ),
    types: Object.fromEntries(
      Object.keys(inputs).map((name) => [name, tokens ? DataType.INT64 : DataType.FLOAT]),
    ),
    nodes,
    initializers,
    outputs,
  });
  const dataOf = (dims: number[], seed: number) => {
    const values = noise(size(dims), seed);
    if (tokens === undefined) return values;
    return BigInt64Array.from(values, (v) => BigInt(Math.floor((v + 1) / 2 * tokens)));
  };
  async function* samples(): AsyncGenerator<Sample> {
    for (let i = 0; i < 64; i++) {
      const values = Object.entries(inputs).map(([name, dims], k) => [
        name,
        { dims, data: dataOf(dims, 2 * i + k + 1) },
      ]);
      yield { source: `sample ${i}`, inputs: Object.fromEntries(values) };
    }
  }
  using pool = inlinePool(await loadBackend("web"));
  const made = makePlan(model, { bits: 2, edgeBits: 2, activationBits: "none" });
  const { report } = await quantize(made, samples(), pool, {
    reconstruction: { kind: "blocks", iterations: 12 },
    heldOut: 4,
  });
  assert(report.check!.mseToSimulation < 1e-10);
  return report.blocks;
}

/** Asserts that every block was learned; whether that gained anything depends on the noise. */
async function assertLearned(test: Case): Promise<void> {
  const blocks = await scalesPerRow(test);
  assert(
    blocks.every(({ iterations, error }) => iterations === 12 && error),
    JSON.stringify(blocks),
  );
}

/** Flattens `from` to `to` as PyTorch exports x.view(x.size(0), -1). */
const viewNodes = (from: string, shapeOf: string, to: string) => [
  node("Shape", [shapeOf], ["shape"]),
  node("Gather", ["shape", "first"], ["count"], { axis: 0n }),
  node("Unsqueeze", ["count", "zeros"], ["counts"]),
  node("Concat", ["counts", "rest"], ["to"], { axis: 0n }),
  node("Reshape", [from, "to"], [to]),
];
const viewTensors = [int64Tensor("first", [], [0]), list("zeros", 0), list("rest", -1)];

Deno.test("a shape that is computed from what is learned", () =>
  assertLearned({
    inputs: { x: [3, 6, 6] },
    nodes: [
      node("Conv", ["x", "w1", "b1"], ["a"]),
      node("Relu", ["a"], ["b"]),
      node("Conv", ["b", "w2"], ["c"]),
      node("GlobalAveragePool", ["c"], ["d"]),
      ...viewNodes("d", "d", "e"),
      node("Gemm", ["e", "w3", "b3"], ["y"], { transB: 1n }),
    ],
    initializers: [
      ...[weight("w1", 8, 3, 3, 3), weight("w2", 8, 8, 1, 1), weight("w3", 5, 8)],
      ...[floatTensor("b1", [8], noise(8)), floatTensor("b3", [5], noise(5)), ...viewTensors],
    ],
  }));

Deno.test("attention whose heads are split by computed shapes, and sliced at computed places", () =>
  assertLearned({
    inputs: { x: [5, 8] },
    nodes: [
      node("MatMul", ["x", "wq"], ["q"]),
      node("Shape", ["q"], ["shape"]),
      node("Slice", ["shape", "zeros", "ones"], ["count"]),
      node("Concat", ["count", "heads"], ["to"], { axis: 0n }),
      node("Reshape", ["q", "to"], ["h"]),
      node("Transpose", ["h"], ["k"], { perm: [0n, 2n, 3n, 1n] }),
      node("Transpose", ["h"], ["v"], { perm: [0n, 2n, 1n, 3n] }),
      node("MatMul", ["v", "k"], ["scores"]),
      node("Softmax", ["scores"], ["shares"]),
      node("MatMul", ["shares", "v"], ["mixed"]),
      node("Transpose", ["mixed"], ["back"], { perm: [0n, 2n, 1n, 3n] }),
      node("Reshape", ["back", "shape"], ["o"]),
      node("MatMul", ["o", "wo"], ["p"]),
      node("Add", ["x", "p"], ["r"]),
      // All places but the last: its number is the second of r's sizes, less one.
      node("Shape", ["r"], ["whole"]),
      node("Slice", ["whole", "ones", "twos"], ["places"]),
      node("Sub", ["places", "ones"], ["last"]),
      node("Slice", ["r", "zeros", "last", "ones"], ["s"]),
      node("MatMul", ["s", "wy"], ["y"]),
    ],
    initializers: [
      ...[weight("wq", 8, 8), weight("wo", 8, 8), weight("wy", 8, 3)],
      ...[list("zeros", 0), list("ones", 1), list("twos", 2), list("heads", 5, 2, 4)],
    ],
  }));

Deno.test("tokens, two outputs, and layers without a bias", () =>
  assertLearned({
    inputs: { x: [6] },
    tokens: 8,
    outputs: ["y", "z"],
    nodes: [
      node("Gather", ["table", "x"], ["e"]),
      node("LayerNormalization", ["e", "g"], ["n"]),
      node("MatMul", ["n", "w1"], ["a"]),
      node("Relu", ["a"], ["b"]),
      node("MatMul", ["b", "w2"], ["c"]),
      node("Add", ["e", "c"], ["s"]),
      node("ReduceMean", ["s"], ["p"], { axes: [1n], keepdims: 0n }),
      node("MatMul", ["p", "w3"], ["y"]),
      node("MatMul", ["s", "w4"], ["z"]),
    ],
    initializers: [
      ...[weight("table", 8, 8), weight("w1", 8, 16), weight("w2", 16, 8), weight("w3", 8, 3)],
      ...[weight("w4", 8, 2), floatTensor("g", [8], noise(8).map((v) => 1 + v / 4))],
    ],
  }));

Deno.test("two inputs, and a Softmax of an old opset", () =>
  assertLearned({
    opset: 11,
    inputs: { x: [6], z: [4] },
    nodes: [
      node("MatMul", ["x", "w1"], ["a"]),
      node("Softmax", ["a"], ["b"], { axis: 1n }),
      node("Concat", ["b", "z"], ["c"], { axis: 1n }),
      node("MatMul", ["c", "w2"], ["d"]),
      node("Clip", ["d", "", "most"], ["e"]),
      node("MatMul", ["e", "w3"], ["y"]),
    ],
    initializers: [
      ...[weight("w1", 6, 8), weight("w2", 12, 8), weight("w3", 8, 4)],
      floatTensor("most", [], Float32Array.of(0.5)),
    ],
  }));

Deno.test("samples along another axis than the first: said, and left as it was rounded", async () => {
  const chain = [1, 2, 3, 4].flatMap((i) => [
    node("MatMul", [`h${i - 1}`, `w${i}`], [`a${i}`]),
    node("Relu", [`a${i}`], [`h${i}`]),
  ]);
  const blocks = await scalesPerRow({
    inputs: { x: [5, 8] },
    nodes: [
      node("MatMul", ["x", "w0"], ["a0"]),
      node("Transpose", ["a0"], ["h0"], { perm: [1n, 0n, 2n] }),
      ...chain,
      node("Transpose", ["h4"], ["t"], { perm: [1n, 0n, 2n] }),
      node("MatMul", ["t", "w5"], ["y"]),
    ],
    initializers: Array.from({ length: 6 }, (_, i) => weight(`w${i}`, 8, 8)),
  });
  assert(blocks.length > 1);
  for (const { iterations, note } of blocks) {
    assertEquals(iterations, 0);
    assert(/"h\d" does not have samples along its first axis/.test(note!), note);
  }
});

Deno.test("layers that are zero, and inputs that never change", async () => {
  const blocks = await scalesPerRow({
    inputs: { x: [8] },
    nodes: [
      node("Gemm", ["x", "w1", "b1"], ["a"]),
      node("Relu", ["a"], ["b"]),
      node("Gemm", ["b", "w2", "b2"], ["c"]),
      node("Gemm", ["c", "w3", "b2"], ["y"]),
    ],
    initializers: [
      floatTensor("w1", [8, 8], new Float32Array(64)),
      floatTensor("b1", [8], noise(8, 3)),
      ...[weight("w2", 8, 4), weight("w3", 4, 4), floatTensor("b2", [4], noise(4))],
    ],
  });
  assertEquals(blocks.length, 1);
  assert(blocks[0].error!.after < 1e-10, `${blocks[0].error!.after}`);
});
