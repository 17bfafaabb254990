import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { prepare } from "../src/graph/prepare.ts";
import type { TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import { copyModel, makeNode, type Model } from "../src/onnx/model.ts";
import { DataType, rawTensor, sizeOf } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { float16ToNumber } from "../src/samples/convert.ts";
import type { Value } from "../src/runtime/session.ts";
import { bodyAttribute, build, graphOf, noise, runModel, value } from "./helpers/models.ts";

/** Values between ±1 in steps of 1/64, which 16 bits hold exactly. */
function halves(size: number, seed = 1): Uint16Array {
  return Uint16Array.from(noise(size, seed), (x) => {
    const level = Math.round(Math.abs(x) * 64);
    if (level === 0) return 0;
    const exponent = Math.floor(Math.log2(level));
    return (x < 0 ? 0x8000 : 0) | ((exponent + 9) << 10) | ((level / 2 ** exponent - 1) * 1024);
  });
}

function half(name: string, dims: number[], seed?: number): TensorProto {
  const bits = halves(sizeOf(dims), seed);
  return rawTensor(name, DataType.FLOAT16, dims, new Uint8Array(bits.buffer));
}

/** A model that computes in float16 throughout, with a body; its ends are of type `ends`. */
function model(ends: DataType): Model {
  const inside = ends === DataType.FLOAT16;
  const branch = (op: string) =>
    graphOf({
      inputs: {},
      nodes: [makeNode("MatMul", "", ["n", "v"], ["inner"]), makeNode(op, "", ["inner"], ["b"])],
      initializers: [half("v", [32, 32], 9)],
      outputs: ["b"],
    });
  const choice = makeNode("If", "choice", ["is"], ["c"]);
  choice.attribute.push(bodyAttribute("then_branch", branch("Neg")));
  choice.attribute.push(bodyAttribute("else_branch", branch("Abs")));
  const made = build({
    opset: 17,
    inputs: { x: ["N", 32] },
    types: { x: ends },
    nodes: [
      ...(inside ? [] : [makeNode("Cast", "", ["x"], ["h"], { to: 10n })]),
      makeNode("Gemm", "one", [inside ? "x" : "h", "w", "bias"], ["a"]),
      makeNode("Cast", "", ["a"], ["wide"], { to: 1n }),
      makeNode("Softmax", "", ["wide"], ["s"]),
      makeNode("Cast", "", ["s"], ["n"], { to: 10n }),
      choice,
      makeNode("Add", "", ["n", "c"], ["e"]),
      makeNode("MatMul", "two", ["e", "w2"], [inside ? "y" : "d"]),
      ...(inside ? [] : [makeNode("Cast", "", ["d"], ["y"], { to: 1n })]),
    ],
    initializers: [
      half("w", [32, 32]),
      half("w2", [32, 32], 5),
      half("bias", [32], 4),
      rawTensor("is", DataType.BOOL, [], new Uint8Array([1])),
    ],
    outputs: ["y"],
  });
  made.proto.graph.output =
    graphOf({ inputs: { y: ["N", 32] }, types: { y: ends }, nodes: [], outputs: [] })
      .input;
  return made;
}

for (const ends of [DataType.FLOAT, DataType.FLOAT16] as const) {
  Deno.test(`a float16 model is widened, its ends stay ${DataType[ends]}`, async () => {
    const original = model(ends), prepared = copyModel(original);
    prepare(prepared);
    const bits = halves(64, 7), is16 = ends === DataType.FLOAT16;
    const feeds = {
      x: is16
        ? { type: "float16", dims: [2, 32], data: bits }
        : value([2, 32], Float32Array.from(bits, float16ToNumber)),
    };
    const [{ y }, expected] = [await runModel(prepared, feeds), await runModel(original, feeds)];
    assertEquals([y.type, y.dims], [expected.y.type, expected.y.dims]);
    // Browsers and Deno carry float16 as Float16Array where there is one, else as its bits.
    const numbers = (data: ArrayLike<unknown>) =>
      data instanceof Uint16Array ? Array.from(data, float16ToNumber) : Array.from(data, Number);
    const found = numbers(y.data);
    numbers(expected.y.data).forEach((v, i) =>
      assertAlmostEquals(found[i], v, 0.01 + 0.01 * Math.abs(v))
    );
    const casts = prepared.proto.graph.node.filter(({ opType }) => opType === "Cast");
    assertEquals(casts.length, is16 ? 2 : 0);
    const made = makePlan(original, { activationBits: "none" });
    assertEquals(made.layers.map(({ target }) => target.name), ["one", "two"]);
    assertEquals(made.graph.inputs.map(({ type }) => type), [is16 ? "float16" : "float32"]);
    assert(made.skipped.some(({ name, bytes }) => name === "choice" && bytes === 2048));
  });
}

Deno.test("a float16 input with a default keeps both", async () => {
  const original = build({
    opset: 17,
    inputs: { x: [2, 32], shift: [32] },
    types: { x: DataType.FLOAT16, shift: DataType.FLOAT16 },
    nodes: [
      makeNode("MatMul", "layer", ["x", "w"], ["a"]),
      makeNode("Add", "", ["a", "shift"], ["b"]),
      makeNode("Cast", "", ["b"], ["y"], { to: 1n }),
    ],
    initializers: [half("w", [32, 32]), half("shift", [32], 3)],
    outputs: ["y"],
  });
  const { model: prepared, layers } = makePlan(original, { activationBits: "none" });
  assertEquals(layers.length, 1);
  assertEquals(prepared.proto.graph.input.map(({ name }) => name), ["x", "shift"]);
  const bits = (seed: number, ...dims: number[]) => ({
    type: "float16",
    dims,
    data: halves(sizeOf(dims), seed),
  });
  const x = bits(7, 2, 32), cases: Record<string, Value>[] = [{ x }, { x, shift: bits(8, 32) }];
  for (const feeds of cases) {
    const [found, expected] = [await runModel(prepared, feeds), await runModel(original, feeds)];
    expected.y.data.forEach((v, i) => assertAlmostEquals(Number(found.y.data[i]), Number(v), 0.05));
  }
});

Deno.test("a custom operator in a float16 model is refused by name", () => {
  const made = model(DataType.FLOAT16);
  const custom = makeNode("Spin", "spun", ["y"], ["z"]);
  custom.domain = "elsewhere";
  made.proto.graph.node.push(custom);
  assertThrows(() => makePlan(made), AttuneError, 'Spin of the domain elsewhere (node "spun")');
});
