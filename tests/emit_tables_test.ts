/** Embedding tables in onnxruntime's own operator. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { makeNode, type Model, serializeModel } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import { build, ints, noise } from "./helpers/models.ts";

const TOKENS = 6;

/** tokens → embedding → two matrix products. `more` adds a reader of the table. */
function language(depth = 32, more = false): Model {
  return build({
    opset: 13,
    inputs: { tokens: ["N", TOKENS] },
    types: { tokens: DataType.INT64 },
    nodes: [
      makeNode("Gather", "embed", ["table", "tokens"], ["e"]),
      makeNode("MatMul", "one", ["e", "one_w"], ["a"]),
      makeNode("Relu", "relu", ["a"], ["b"]),
      makeNode("MatMul", "two", ["b", "two_w"], ["y"]),
      ...(more ? [makeNode("ReduceSum", "sum", ["table", "axes"], ["z"])] : []),
    ],
    initializers: [
      floatTensor("table", [50, depth], noise(50 * depth, 7)),
      floatTensor("one_w", [depth, 48], noise(depth * 48, 8).map((v) => v / 4)),
      floatTensor("two_w", [48, 5], noise(48 * 5, 9).map((v) => v / 4)),
      int64Tensor("axes", [1], [1]),
    ],
    outputs: more ? ["y", "z"] : ["y"],
  });
}

async function* sentences(count: number): AsyncGenerator<Sample> {
  for (let i = 0; i < count; i++) {
    const data = BigInt64Array.from(
      noise(TOKENS, i + 1),
      (v) => BigInt(Math.floor((v + 1) * 25)),
    );
    yield { inputs: { tokens: { dims: [TOKENS], data } }, source: `sentence ${i}` };
  }
}

for (const bits of [2, 3, 4, 8]) {
  Deno.test(`embedding and products are quantized faithfully: ${bits} bits`, async () => {
    const made = makePlan(language(), { bits, edgeBits: bits, format: "matmulnbits" });
    const width = bits === 3 ? 4 : bits;
    // A row of 32 values has one scale.
    assertEquals(
      made.tables.map(({ nodes, bits, bytesAfter }) => [nodes, bits, bytesAfter]),
      [[["embed"], width, 50 * (4 * width + 4)]],
    );
    using pool = inlinePool(await loadBackend("web"));
    const { model, report } = await quantize(made, sentences(64), pool, {
      rounding: { kind: "nearest" },
    });
    const { node } = model.proto.graph;
    const ops = node.map(({ opType }) => opType).filter((op) => /Gather|MatMul/.test(op));
    const product = bits === 3 ? "MatMul" : "MatMulNBits";
    assertEquals(ops, ["GatherBlockQuantized", product, product]);
    assert(report.check!.mseToSimulation < 1e-4, `${report.check!.mseToSimulation}`);
    assert(
      report.check!.mseToFloat < [1, 1, 0.3, 0.1, 0.02][width >> 1],
      `${report.check!.mseToFloat}`,
    );
    assert(
      report.tables[0].error < [0, 0.2, 0.01, 0, 1e-4][width >> 1],
      `${report.tables[0].error}`,
    );
    // The other runtime reads the same.
    const feeds = { tokens: ints([2, TOKENS], [...Array(2 * TOKENS).keys()]) };
    const outputs: Float32Array[] = [];
    for (const name of ["web", "node"] as const) {
      const session = await (await loadBackend(name)).open(serializeModel(model));
      outputs.push((await session.run(feeds)).y.data as Float32Array);
      await session.release();
    }
    const distance = outputs[0].reduce((m, v, i) => Math.max(m, Math.abs(v - outputs[1][i])), 0);
    assert(distance < 1e-3, `runtimes differ by ${distance}`);
  });
}

Deno.test("a table that the operator cannot hold stays in float, and the plan says why", () => {
  const skipped = (model: Model, options = {}) => {
    const made = makePlan(model, { format: "matmulnbits", ...options });
    assertEquals(made.tables, []);
    return made.skipped;
  };
  const table = { name: "embed", op: "Gather", weight: "table" };
  assertEquals(skipped(language(24)), [
    { ...table, reason: "rows are no whole number of blocks", bytes: 4 * 50 * 24 },
  ]);
  assertEquals(skipped(language(32, true)), [
    { ...table, reason: "table is read by another operator", bytes: 4 * 50 * 32 },
  ]);
  // Formats without such an operator leave every table.
  for (const format of ["qdq", "packed", "float"] as const) {
    const made = makePlan(language(), { format });
    assertEquals(made.tables, []);
    assertEquals(made.skipped, [{ ...table, reason: "embedding table", bytes: 4 * 50 * 32 }]);
  }
});
