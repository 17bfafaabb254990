/**
 * Gradients of linear operators. Their loss is quadratic, so central differences are exact for any
 * step, and the gradient graph's own loss gives them without another implementation.
 */

import { assert } from "std/assert/assert.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { differentiate } from "../src/gradient/differentiate.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import type { TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import { floatTensor, int64Tensor, sizeOf } from "../src/onnx/tensor.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";

interface Case {
  op: string;
  inputs?: string[];
  attributes?: Record<string, AttributeValue>;
  constants?: TensorProto[];
  from: number[];
  to: number[];
}

/** The gradient graph of one node from x to y. */
function graphOf({ op, inputs = ["x"], attributes, constants, from, to }: Case, opset = 19) {
  const model = build({
    opset,
    inputs: { x: from },
    nodes: [makeNode(op, "node", inputs, ["y"], attributes)],
    initializers: constants,
    outputs: ["y"],
  });
  return differentiate(model, new Map([["x", from], ["y", to]]), { wrt: ["x"] });
}

async function check(what: string, test: Case, run = runModel): Promise<void> {
  const { model, targets, loss, gradients } = graphOf(test);
  const x = noise(sizeOf(test.from), 3), target = value(test.to, noise(sizeOf(test.to), 4));
  const at = (data: Float32Array) =>
    run(model, { x: value(test.from, data), [targets.get("y")!]: target });
  const slopes = (await at(x))[gradients.get("x")!];
  assert(slopes.dims.join() === test.from.join(), `${what}: shape ${slopes.dims}`);
  for (let seed = 1; seed <= 2; seed++) {
    const way = noise(x.length, 10 + seed);
    const [up, down] = await Promise.all([1, -1].map(async (sign) => {
      const results = await at(x.map((v, i) => v + sign * way[i]));
      return Number(results[loss].data[0]);
    }));
    const expected = (up - down) / 2;
    const actual = way.reduce((sum, step, i) => sum + step * Number(slopes.data[i]), 0);
    assert(
      Math.abs(actual - expected) < 1e-5 * (up + down),
      `${what}: ${actual} along a direction, not ${expected}`,
    );
  }
}

const scales = (...values: number[]) =>
  floatTensor("scales", [values.length], Float32Array.from(values));

Deno.test("gradient of Resize: nearest and linear, every mapping, up and down", async () => {
  const sizes: [number[], number[]][] = [
    [[1, 2, 3, 4], [1, 2, 6, 12]],
    [[2, 1, 4, 5], [2, 1, 7, 3]],
    [[1, 2, 6, 1], [1, 2, 2, 4]],
  ];
  for (const [from, to] of sizes) {
    const mappings = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"];
    for (const mapping of mappings) {
      for (const mode of ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil", "linear"]) {
        await check(`Resize ${from} → ${to}, ${mapping}, ${mode}`, {
          op: "Resize",
          inputs: ["x", "", "scales"],
          constants: [scales(...to.map((size, axis) => size / from[axis]))],
          attributes: {
            mode: mode === "linear" ? "linear" : "nearest",
            coordinate_transformation_mode: mapping,
            ...(mode !== "linear" && { nearest_mode: mode }),
          },
          from,
          to,
        });
      }
    }
  }
});

Deno.test("gradient of Gather with constant indices", async () => {
  const cases: [number[], number[], number, number[]][] = [
    [[5, 3], [4, 0, -1, 2], 0, [4, 3]],
    [[2, 4, 3], [1, 1, 3, 0, 1], 1, [2, 5, 3]],
    [[2, 4], [2], -1, [2]],
  ];
  for (const [from, indices, axis, to] of cases) {
    const dims = to.length === from.length ? [indices.length] : [];
    await check(`Gather ${indices} of ${from}`, {
      op: "Gather",
      inputs: ["x", "indices"],
      attributes: { axis: BigInt(axis) },
      constants: [int64Tensor("indices", dims, indices)],
      from,
      to,
    });
  }
});

Deno.test("gradient of AveragePool: ceil_mode, with and without padding counted", async () => {
  for (const counted of [0n, 1n]) {
    await check(`AveragePool ${counted}`, {
      op: "AveragePool",
      attributes: {
        kernel_shape: [3n, 2n],
        strides: [2n, 2n],
        pads: [1n, 0n, 0n, 1n],
        ceil_mode: 1n,
        count_include_pad: counted,
      },
      from: [1, 2, 5, 5],
      to: [1, 2, 3, 3],
    });
  }
});

Deno.test("gradient graphs run on onnxruntime-node, too", async () => {
  const runtime = await loadBackend("node");
  const attributes = { kernel_shape: [2n, 2n], strides: [2n, 2n] };
  await check(
    "AveragePool",
    { op: "AveragePool", attributes, from: [1, 2, 4, 4], to: [1, 2, 2, 2] },
    async (model, feeds) => {
      const session = await runtime.open(sessionBytes(model));
      try {
        return await session.run(feeds);
      } finally {
        await session.release();
      }
    },
  );
});

Deno.test("tied maxima receive the gradient once", async () => {
  for (const opset of [13, 19]) {
    for (
      const [op, to, attributes] of [
        ["MaxPool", [1, 1, 2, 2], { kernel_shape: [2n, 2n], strides: [2n, 2n] }],
        ["GlobalMaxPool", [1, 1, 1, 1]],
      ] as const
    ) {
      const from = [1, 1, 4, 4];
      const { model, targets, gradients } = graphOf(
        { op, attributes: attributes as Case["attributes"], from, to: [...to] },
        opset,
      );
      const results = await runModel(model, {
        x: value(from, new Float32Array(16).fill(3)),
        [targets.get("y")!]: value([...to], new Float32Array(sizeOf(to)).fill(1)),
      });
      // The loss grows by 2 (y − target) / count per output.
      const slopes = results[gradients.get("x")!].data as Float32Array;
      const sum = slopes.reduce((total, slope) => total + slope, 0);
      assert(Math.abs(sum - 4) < 1e-6, `${op}, opset ${opset}: ${slopes}`);
    }
  }
});

Deno.test("each output's loss has its weight", async () => {
  const model = build({
    opset: 13,
    inputs: { x: [3] },
    nodes: [makeNode("Neg", "neg", ["x"], ["y"]), makeNode("Add", "add", ["x", "x"], ["z"])],
    outputs: ["y", "z"],
  });
  const shapes = new Map(["x", "y", "z"].map((name) => [name, [3]]));
  const { model: graph, targets, loss, gradients } = differentiate(model, shapes, {
    wrt: ["x"],
    lossWeights: new Map([["y", 0.5], ["z", 3]]),
  });
  const zero = value([3], new Float32Array(3));
  const results = await runModel(graph, {
    x: value([3], Float32Array.of(1, 2, 3)),
    [targets.get("y")!]: zero,
    [targets.get("z")!]: zero,
  });
  // ½ · 14/3 + 3 · 4 · 14/3, and its derivative by x is 25 x / 3.
  assert(Math.abs(Number(results[loss].data[0]) - 12.5 * 14 / 3) < 1e-4);
  const slopes = Array.from(results[gradients.get("x")!].data as Float32Array);
  assert(slopes.every((slope, i) => Math.abs(slope - 25 * (i + 1) / 3) < 1e-4), `${slopes}`);
});

Deno.test("forms of operators that have no gradient are named", () => {
  const cases: [Case, string][] = [
    [{ op: "Cast", attributes: { to: 7n }, from: [2], to: [2] }, "Cast"],
    [{
      op: "Pad",
      inputs: ["x", "pads"],
      attributes: { mode: "reflect" },
      constants: [int64Tensor("pads", [2], [1, 1])],
      from: [3],
      to: [5],
    }, "only constant padding"],
    [{
      op: "Resize",
      inputs: ["x", "", "scales"],
      attributes: { mode: "cubic" },
      constants: [scales(2)],
      from: [4],
      to: [8],
    }, "Resize"],
  ];
  for (const [test, message] of cases) {
    assertThrows(() => graphOf(test), AttuneError, message);
  }
});

Deno.test("gradient graphs are the same in every opset", async () => {
  const shapes = new Map([
    ["x", [2, 3, 6, 6]],
    ["w", [4, 3, 3, 3]],
    ["conv", [2, 4, 6, 6]],
    ["relu", [2, 4, 6, 6]],
    ["pooled", [2, 4, 3, 3]],
    ["mean", [2, 4, 2, 2]],
    ["slice", [2, 2, 2, 2]],
    ["y", [2, 3, 4, 4]],
  ]);
  let expected: number[] | undefined;
  for (const opset of [13, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25]) {
    const model = build({
      opset,
      inputs: { x: shapes.get("x")!, w: shapes.get("w")! },
      nodes: [
        makeNode("Conv", "conv", ["x", "w"], ["conv"], { pads: [1n, 1n, 1n, 1n] }),
        makeNode("Relu", "relu", ["conv"], ["relu"]),
        makeNode("MaxPool", "pool", ["relu"], ["pooled"], {
          kernel_shape: [3n, 3n],
          strides: [2n, 2n],
          pads: [1n, 1n, 1n, 1n],
        }),
        makeNode("AveragePool", "mean", ["pooled"], ["mean"], { kernel_shape: [2n, 2n] }),
        makeNode("Slice", "slice", ["mean", "one", "three", "one"], ["slice"]),
        makeNode("Pad", "pad", ["slice", "pads"], ["y"]),
      ],
      initializers: [
        int64Tensor("one", [1], [1]),
        int64Tensor("three", [1], [3]),
        int64Tensor("pads", [8], [0, 1, 1, 1, 0, 0, 1, 1]),
      ],
      outputs: ["y"],
    });
    const { model: graph, targets, gradients } = differentiate(model, shapes, { wrt: ["x", "w"] });
    const results = await runModel(graph, {
      x: value([2, 3, 6, 6]),
      w: value([4, 3, 3, 3], noise(108, 2)),
      [targets.get("y")!]: value([2, 3, 4, 4], noise(96, 3)),
    });
    const slopes = ["x", "w"].flatMap((name) => [
      ...results[gradients.get(name)!].data as Float32Array,
    ]);
    expected ??= slopes;
    assert(slopes.some((slope) => slope !== 0));
    slopes.forEach((slope, i) =>
      assert(Math.abs(slope - expected![i]) < 1e-6, `opset ${opset}: ${slope}, not ${expected![i]}`)
    );
  }
});
