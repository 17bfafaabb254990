/** Gradients of whole graphs, and what is refused since it has none. */

import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { differentiate, unsupported } from "../src/gradient/differentiate.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { build, noise, runModel } from "./helpers/models.ts";

Deno.test("a grid of Div, Round, Clip and Mul has LSQ's gradient for its step", async () => {
  const step = 0.3, lo = -2, hi = 3, x = noise(64, 8).map((value) => 1.4 * value);
  const model = build({
    opset: 21,
    inputs: { x: [64] },
    nodes: [
      makeNode("Div", "div", ["x", "step"], ["ratio"]),
      makeNode("Round", "round", ["ratio"], ["whole"]),
      makeNode("Clip", "clip", ["whole", "lo", "hi"], ["level"]),
      makeNode("Mul", "mul", ["level", "step"], ["y"]),
    ],
    initializers: [
      floatTensor("step", [], Float32Array.of(step)),
      floatTensor("lo", [], Float32Array.of(lo)),
      floatTensor("hi", [], Float32Array.of(hi)),
    ],
    outputs: ["y"],
  });
  const shapes = new Map(["x", "ratio", "whole", "level", "y"].map((name) => [name, [64]]));
  shapes.set("step", []);
  const { model: graph, targets, gradients } = differentiate(model, shapes, { wrt: ["step", "x"] });
  const target = noise(64, 9);
  const found = await runModel(graph, {
    x: { type: "float32", dims: [64], data: x },
    step: { type: "float32", dims: [], data: Float32Array.of(step) },
    [targets.get("y")!]: { type: "float32", dims: [64], data: target },
  });
  // Esser et al. 2020: round(v) − v inside, the bound outside, v = x / s.
  let expected = 0;
  const passed = Array.from(x, (value, i) => {
    const v = value / step, level = Math.min(hi, Math.max(lo, Math.round(v)));
    const slope = 2 * (level * step - target[i]) / 64, inside = Math.round(v) === level;
    expected += slope * (inside ? level - v : level);
    return inside ? slope : 0;
  });
  const close = (a: number, b: number) => Math.abs(a - b) < 1e-5;
  assertEquals(close(Number(found[gradients.get("step")!].data[0]), expected), true);
  const slopes = found[gradients.get("x")!].data as Float32Array;
  assertEquals(passed.every((slope, i) => close(slope, slopes[i])), true);
});

Deno.test("what has no gradient is named; what does not matter is zero", async () => {
  const model = build({
    opset: 21,
    inputs: { x: [4] },
    nodes: [
      makeNode("CumSum", "running", ["x", "axis"], ["sums"]),
      makeNode("Mul", "scale", ["sums", "w"], ["y"]),
    ],
    initializers: [
      int64Tensor("axis", [], [0]),
      floatTensor("w", [4], noise(4)),
      floatTensor("unused", [2], noise(2)),
    ],
    outputs: ["y"],
  });
  const shapes = new Map([["x", [4]], ["sums", [4]], ["y", [4]], ["w", [4]], ["unused", [2]]]);
  assertEquals(unsupported(model, ["w"]), undefined);
  assertEquals(unsupported(model, ["x"])?.name, "running");
  const error = assertThrows(
    () => differentiate(model, shapes, { wrt: ["x"] }),
    AttuneError,
    'node "running": CumSum',
  );
  assertEquals(error.code, "bad-model");
  const { model: graph, gradients, targets } = differentiate(model, shapes, {
    wrt: ["w", "unused"],
  });
  const ones = { type: "float32", dims: [4], data: new Float32Array(4).fill(1) };
  const feeds = { x: ones, w: ones, unused: ones, [targets.get("y")!]: ones };
  const found = await runModel(graph, feeds);
  assertEquals([...found[gradients.get("unused")!].data], [0, 0]);
});

Deno.test("gradients that would be wrong are refused: of an exponent, of places in the data, of a second output", () => {
  const refuse = (message: string, op: string, inputs: string[], outputs = ["y"]) => {
    const model = build({
      opset: 21,
      inputs: { x: [4], i: [1] },
      types: { i: DataType.INT64 },
      nodes: [
        makeNode(op, "node", inputs, outputs),
        makeNode("Neg", "neg", [outputs.at(-1)!], ["z"]),
      ],
      initializers: [
        floatTensor("w", [4], noise(4)),
        floatTensor("g", [4], noise(4)),
        int64Tensor("one", [1], [1]),
      ],
      outputs: ["z"],
    });
    const shapes = new Map(["x", "w", "g", "y", "u", "v", "z"].map((name) => [name, [4]]));
    const error = assertThrows(
      () => differentiate(model, shapes, { wrt: ["w"] }),
      AttuneError,
      message,
    );
    assertEquals(error.code, "bad-model");
  };
  refuse("gradient of its input 1", "Pow", ["x", "w"]);
  refuse("input 1 depends on the data", "Slice", ["w", "i", "one"]);
  refuse("input 1 depends on the data", "Gather", ["w", "i"]);
  refuse("gradient of its output 1", "LayerNormalization", ["w", "g"], ["y", "u"]);
});
