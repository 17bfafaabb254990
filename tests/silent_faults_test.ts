/** What once gave wrong files without a word: each on a small model, against the float model. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { checkResult } from "../src/quantize/check.ts";
import type { Rounding } from "../src/emit/build.ts";
import { buildModel } from "../src/emit/build.ts";
import { nearestParts } from "../src/emit/nearest.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { unpairedTensors } from "../src/plan/pairing.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../src/quantize/options.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import type { Parts } from "../src/weights/rounding.ts";
import { build, noise } from "./helpers/models.ts";

const FLOAT: PlanOptions = { bits: 8, activationBits: "none" };
/** What 8-bit weights alone may cost. */
const LITTLE = 1e-3;

async function* samples(dims: number[], count = 48): AsyncGenerator<Sample> {
  const size = dims.reduce((a, b) => a * b, 1);
  for (let i = 0; i < count; i++) {
    // Not around zero, so that a mean that is learned as a weight shows.
    const data = noise(size, 7 * i + 1).map((value) => value + 0.7);
    yield { inputs: { x: { dims, data } }, source: `noise ${i}` };
  }
}

async function run(model: Model, dims: number[], options: QuantizeOptions = {}, made = FLOAT) {
  using pool = inlinePool(await loadBackend("web"));
  const { report } = await quantize(makePlan(model, made), samples(dims), pool, {
    heldOut: 3,
    ...options,
  });
  return report;
}

const weights = (name: string, dims: number[]) =>
  floatTensor(name, dims, noise(dims.reduce((a, b) => a * b), name.length + dims[0]));
const vector = (name: string, values: number[], dims = [values.length]) =>
  floatTensor(name, dims, Float32Array.from(values));

Deno.test("a bias that is computed is not learned as weights", async () => {
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 6, 6] },
    nodes: [
      makeNode("GlobalAveragePool", "pool", ["x"], ["p"]),
      makeNode("ReduceMean", "mean", ["p"], ["m"], { axes: [0n, 1n, 2n, 3n], keepdims: 0n }),
      makeNode("Mul", "scaled", ["b", "m"], ["bias"]),
      makeNode("Conv", "conv", ["x", "w", "bias"], ["y"]),
    ],
    initializers: [weights("w", [4, 3, 3, 3]), vector("b", [3, -5, 8, 2])],
    outputs: ["y"],
  });
  const { check } = await run(model, [3, 6, 6], { batch: 1 });
  assert(check!.mseToFloat < LITTLE, `error ${check!.mseToFloat}`);
});

Deno.test("what a Gemm adds is a bias only where it runs along the rows of the weights", async () => {
  const shapes: Record<string, [number[], number[]]> = {
    "a row": [[1, 4], [5, -4, 3, -2]],
    "one number": [[], [5]],
    "a column of the batch": [[4, 1], [5, -4, 3, -2]],
    "a whole matrix": [[4, 4], Array.from({ length: 16 }, (_, i) => 6 - i)],
  };
  for (const [what, [dims, values]] of Object.entries(shapes)) {
    const model = build({
      opset: 13,
      inputs: { x: [4, 8] },
      nodes: [makeNode("Gemm", "gemm", ["x", "w", "c"], ["y"])],
      initializers: [weights("w", [8, 4]), vector("c", values, dims)],
      outputs: ["y"],
    });
    for (const biasCorrection of [true, false]) {
      const { check } = await run(model, [4, 8], { batch: 1, biasCorrection });
      assert(check!.mseToFloat < LITTLE, `${what}, ${biasCorrection}: error ${check!.mseToFloat}`);
    }
  }
});

Deno.test("what another layer adds is not learned as weights", async () => {
  const model = build({
    opset: 13,
    inputs: { x: [2, 8] },
    nodes: [
      makeNode("Gemm", "one", ["x", "v"], ["c"]),
      makeNode("Gemm", "two", ["x", "w", "c"], ["y"]),
    ],
    initializers: [weights("v", [8, 4]), weights("w", [8, 4])],
    outputs: ["y"],
  });
  const { check } = await run(model, [2, 8], { batch: 1 });
  assert(check!.mseToFloat < LITTLE, `error ${check!.mseToFloat}`);
});

Deno.test("without bias correction a bias stays what it is, and the shift does not learn it", async () => {
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 6, 6] },
    nodes: [makeNode("Conv", "conv", ["x", "w", "b"], ["y"], { group: 1n })],
    initializers: [weights("w", [4, 3, 3, 3]), vector("b", [30, -50, 80, 20])],
    outputs: ["y"],
  });
  const { check } = await run(model, [3, 6, 6], { biasCorrection: false });
  assert(check!.mseToFloat < 1e-5, `error ${check!.mseToFloat}`);
});

Deno.test("layers whose names collide are two layers, in plans and in reports", async () => {
  const model = build({
    opset: 13,
    inputs: { x: ["N", 8] },
    nodes: [
      makeNode("MatMul", "", ["x", "v"], ["same"]),
      makeNode("Relu", "relu", ["same"], ["r"]),
      makeNode("MatMul", "same", ["r", "w"], ["s"]),
      makeNode("MatMul", "third", ["s", "u"], ["y"]),
    ],
    initializers: [weights("v", [8, 8]), weights("w", [8, 8]), weights("u", [8, 5])],
    outputs: ["y"],
  });
  const { layers, check } = await run(model, [8]);
  assertEquals(layers.map(({ name }) => name), ["same", "same (s)", "third"]);
  assertEquals(new Set(layers.map(({ weight }) => weight)).size, 3);
  assert(check!.mseToFloat < LITTLE, `error ${check!.mseToFloat}`);
});

/** Scores choose rows, and a layer works on those. */
function choosing(op: "TopK" | "NonZero"): Model {
  const chosen = op === "TopK"
    ? [
      makeNode("TopK", "top", ["s", "k"], ["values", "i"], { axis: 1n }),
      makeNode("Transpose", "turn", ["i"], ["at"], { perm: [0n, 1n, 2n] }),
      makeNode("GatherElements", "take", ["s", "at"], ["rows"], { axis: 1n }),
    ]
    : [
      makeNode("Greater", "large", ["s", "zero"], ["mask"]),
      makeNode("NonZero", "where", ["mask"], ["i"]),
      makeNode("Transpose", "turn", ["i"], ["at"], { perm: [1n, 0n] }),
      makeNode("GatherND", "take", ["s", "at"], ["values"]),
      makeNode("Unsqueeze", "rows", ["values", "one"], ["rows"]),
    ];
  return build({
    opset: 13,
    inputs: { x: ["N", 12, 8] },
    nodes: [
      makeNode("MatMul", "score", ["x", "v"], ["s"]),
      ...chosen,
      makeNode("MatMul", "after", ["rows", "w"], ["y"]),
    ],
    initializers: [
      weights("v", [8, 6]),
      weights("w", [op === "TopK" ? 6 : 1, 4]),
      vector("zero", [0.5]),
      int64Tensor("k", [1], [5]),
      int64Tensor("one", [1], [1]),
    ],
    outputs: ["y"],
  });
}

Deno.test("rows that values choose have no partners in the float model", async () => {
  for (const op of ["TopK", "NonZero"] as const) {
    const made = makePlan(choosing(op), FLOAT), unpaired = unpairedTensors(made);
    assert(unpaired.has("rows") && unpaired.has("y"), op);
    assert(!unpaired.has("s") && !unpaired.has("x"), op);
    const { layers, check, warnings } = await run(choosing(op), [12, 8], { batch: 1 });
    assertEquals(layers.length, 2);
    for (const { error } of layers) assert(error.final < LITTLE, `${op}: ${error.final}`);
    // Where as many rows were chosen they are mostly the same; where not, there is a word about it.
    assert(check === null || check.mseToFloat < 0.05, `${op}: ${check?.mseToFloat}`);
    for (const warning of warnings) assertStringIncludes(warning, "another length");
  }
});

Deno.test("choices that quantization does not touch leave rows where they are", () => {
  const model = build({
    opset: 13,
    inputs: { x: ["N", 12, 8] },
    nodes: [
      makeNode("MatMul", "layer", ["x", "v"], ["s"]),
      makeNode("Shape", "shape", ["s"], ["d"]),
      makeNode("Gather", "size", ["d", "zero"], ["n"]),
      makeNode("Reshape", "flat", ["s", "to"], ["f"]),
      makeNode("Greater", "positive", ["f", "z"], ["mask"]),
      makeNode("Where", "select", ["mask", "f", "z"], ["r"]),
      makeNode("Expand", "expand", ["r", "d2"], ["e"]),
      makeNode("MatMul", "head", ["e", "w"], ["y"]),
    ],
    initializers: [
      weights("v", [8, 6]),
      weights("w", [6, 4]),
      vector("z", [0], []),
      int64Tensor("zero", [], [0]),
      int64Tensor("to", [2], [-1, 6]),
      int64Tensor("d2", [2], [1, 1]),
    ],
    outputs: ["y", "n"],
  });
  assertEquals([...unpairedTensors(makePlan(model, FLOAT))], []);
});

Deno.test("a layer that no sample reaches is rounded by its weights, and named", async () => {
  const model = build({
    opset: 13,
    inputs: { x: ["N", 8] },
    nodes: [
      makeNode("MatMul", "first", ["x", "v"], ["s"]),
      makeNode("Greater", "never", ["s", "most"], ["mask"]),
      makeNode("NonZero", "where", ["mask"], ["i"]),
      makeNode("Gather", "axis", ["i", "zero"], ["rows"], { axis: 0n }),
      makeNode("Gather", "take", ["s", "rows"], ["none"]),
      makeNode("Gemm", "second", ["none", "w", "b"], ["y"]),
    ],
    initializers: [
      weights("v", [8, 6]),
      weights("w", [6, 4]),
      vector("b", [1, 2, 3, 4]),
      vector("most", [1e6], []),
      int64Tensor("zero", [], [0]),
    ],
    outputs: ["y", "s"],
  });
  for (const made of [FLOAT, { bits: 4 as const }]) {
    const { layers, warnings } = await run(model, [8], { batch: 1 }, made);
    assertEquals(layers.length, 2);
    assert(
      warnings.some((warning) => warning.startsWith("second: no sample reached")),
      `${warnings}`,
    );
  }
});

Deno.test("a vector is a matrix of one column", async () => {
  const model = build({
    opset: 13,
    inputs: { x: [8] },
    nodes: [
      makeNode("MatMul", "right", ["x", "v"], ["a"]),
      makeNode("MatMul", "left", ["w", "a"], ["y"]),
    ],
    initializers: [weights("v", [8, 6]), weights("w", [5, 6])],
    outputs: ["y"],
  });
  const { layers, check } = await run(model, [8], { batch: 1 });
  assertEquals(layers.length, 2);
  assert(check!.mseToFloat < LITTLE, `error ${check!.mseToFloat}`);
});

/** Two products, the logarithm of the first, which is below zero in places, and a constant 1/0. */
const oddOutputs = () =>
  build({
    opset: 13,
    inputs: { x: ["N", 8] },
    nodes: [
      makeNode("MatMul", "first", ["x", "v"], ["s"]),
      makeNode("MatMul", "second", ["s", "w"], ["t"]),
      makeNode("Log", "log", ["s"], ["y"]),
      makeNode("Div", "infinite", ["one", "zeros"], ["z"]),
    ],
    initializers: [
      weights("v", [8, 6]),
      weights("w", [6, 4]),
      vector("one", [1], []),
      vector("zeros", [0, 1]),
    ],
    outputs: ["t", "y", "z"],
  });

/** `parts` with the scales of the layer that writes `output` times `factor`. */
function spoiled(parts: Parts, output: string, factor: number): Parts {
  const roundings = [...parts.roundings].map(([name, rounding]) => {
    const scales = rounding.scales.map((scale) => name === output ? factor * scale : scale);
    return [name, { ...rounding, scales }] as const;
  });
  return { ...parts, roundings: new Map(roundings) };
}

Deno.test("the last check says what is wrong, and never takes the work away", async () => {
  const made = makePlan(oddOutputs(), FLOAT), heldOut: Sample[] = [];
  for await (const sample of samples([8], 4)) heldOut.push(sample);
  const good = nearestParts(made, {
    roundings: new Map(made.layers.map(({ target }) => [target.output, {} as Rounding])),
    grids: new Map(),
  });
  using pool = inlinePool(await loadBackend("web"));
  const batching = {
    inputs: made.graph.inputs,
    axes: new Map([["x", 0]]),
    outputs: new Map([["t", 0], ["y", 0]]),
    size: undefined,
  };
  const check = async (parts: Parts, written: Model) =>
    await checkResult(made, parts, written, pool, { heldOut, isNearest: false, batching });
  const file = buildModel(made, good, "qdq");
  const fine = await check(good, file);
  // Logarithms of what is below zero are no numbers in either model, and 1/0 is infinite in both.
  assert(fine.warnings.every((warning) => warning.includes("infinities")), `${fine.warnings}`);
  assertEquals(fine.check!.outputs.map(({ name }) => name), ["t", "y", "z"]);

  const wrong = spoiled(good, "s", 1.5), bad = await check(wrong, buildModel(made, wrong, "qdq"));
  assert(bad.warnings.some((warning) => warning.startsWith("first: the error of its output")));
  assert(bad.warnings.some((warning) => warning.includes('The error of output "t" is 25 %')));

  const otherwise = await check(good, buildModel(made, spoiled(good, "t", 1.1), "qdq"));
  assert(otherwise.warnings.some((warning) => warning.includes("from the simulation")));

  const broken = await check(good, { ...file, proto: { ...file.proto, opsetImport: [] } });
  assertEquals(broken.check, null);
  assertStringIncludes(broken.warnings[0], "could not be checked");
});
