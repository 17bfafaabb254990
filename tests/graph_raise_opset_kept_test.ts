import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { MAX_OPSET, raiseOpset } from "../src/graph/raise_opset.ts";
import { type AttributeValue, copyModel, makeNode } from "../src/onnx/model.ts";
import { floatTensor, sizeOf } from "../src/onnx/tensor.ts";
import { assertSameValues, build, noise, runModel, value } from "./helpers/models.ts";

// Operators that have newer versions, too, and are claimed to mean the same in all of them.

const image = [1, 2, 6, 7];
const window = { kernel_shape: [3n, 3n], strides: [2n, 2n], pads: [1n, 1n, 1n, 1n] };

/** Operator, opset, shape of the input, attributes, shapes of the constants. */
const kept: [string, number, number[], Record<string, AttributeValue>, number[][]][] = [
  ["Conv", 9, image, { pads: [1n, 1n, 1n, 1n] }, [[4, 2, 3, 3], [4]]],
  ["Conv", 9, image, { auto_pad: "SAME_LOWER", strides: [2n, 2n] }, [[4, 2, 3, 3]]],
  ["ConvTranspose", 9, image, { auto_pad: "SAME_UPPER", strides: [2n, 2n] }, [[2, 3, 3, 3]]],
  ["ConvTranspose", 9, image, { auto_pad: "SAME_LOWER", strides: [2n, 2n] }, [[2, 3, 3, 3]]],
  ["ConvTranspose", 9, image, { output_shape: [12n, 13n], strides: [2n, 2n] }, [[2, 3, 3, 3]]],
  ["Gemm", 9, [3, 4], { transB: 1n, alpha: 0.5 }, [[5, 4], [5]]],
  ["MaxPool", 10, image, { ...window, ceil_mode: 1n }, []],
  ["LpPool", 9, image, { kernel_shape: [2n, 2n], p: 2n }, []],
  ["GlobalAveragePool", 9, image, {}, []],
  ["InstanceNormalization", 9, image, {}, [[2], [2]]],
  ["LRN", 9, image, { size: 3n }, []],
  ["PRelu", 9, image, {}, [[2, 1, 1]]],
  ["DepthToSpace", 9, [1, 8, 2, 3], { blocksize: 2n }, []],
  ["GRU", 9, [4, 1, 2], { hidden_size: 3n }, [[1, 9, 2], [1, 9, 3]]],
  ["LSTM", 9, [4, 1, 2], { hidden_size: 3n }, [[1, 12, 2], [1, 12, 3]]],
  ["ArgMax", 9, image, { axis: 2n }, []],
  ["Cast", 9, image, { to: 7n }, []],
];

async function beforeAndAfter(
  [op, opset, input, attributes, constants]: typeof kept[number],
) {
  const names = constants.map((_, i) => `c${i}`);
  const model = build({
    opset,
    inputs: { x: input },
    nodes: [makeNode(op, "n", ["x", ...names], ["y"], attributes)],
    initializers: constants.map((dims, i) =>
      floatTensor(names[i], dims, noise(sizeOf(dims), i + 2))
    ),
    outputs: ["y"],
  });
  const raised = copyModel(model);
  assertEquals(raiseOpset(raised, MAX_OPSET), []);
  const feeds = { x: value(input) };
  return [await runModel(model, feeds), await runModel(raised, feeds)];
}

for (const entry of kept) {
  const [op, , , attributes] = entry;
  const text = JSON.stringify(attributes, (_, v) => typeof v === "bigint" ? Number(v) : v);
  Deno.test(`raiseOpset: ${op} ${text} stays as it is`, async () => {
    const [before, after] = await beforeAndAfter(entry);
    assertSameValues(after, before);
  });
}

Deno.test("raiseOpset: AveragePool stays as it is, to float32 rounding", async () => {
  // onnxruntime sums in another order as of opset 19.
  for (const ceil_mode of [0n, 1n]) {
    for (const count_include_pad of [0n, 1n]) {
      const attributes = { ...window, ceil_mode, count_include_pad };
      const [before, after] = await beforeAndAfter(["AveragePool", 10, image, attributes, []]);
      assertEquals(after.y.dims, before.y.dims);
      for (const [i, v] of before.y.data.entries()) {
        assert(Math.abs(Number(after.y.data[i]) - Number(v)) < 1e-6, `${after.y.data[i]} for ${v}`);
      }
    }
  }
});
