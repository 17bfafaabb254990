/** A small residual network, and jobs that quantize it. */

import { makeNode, type Model } from "../../src/onnx/model.ts";
import { floatTensor } from "../../src/onnx/tensor.ts";
import { makePlan } from "../../src/plan/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../../src/quantize/options.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { inlinePool } from "../../src/workers/pool.ts";
import type { Sample } from "../../src/samples/sample.ts";
import { build, noise } from "./models.ts";

const pads = { pads: [1n, 1n, 1n, 1n] };
/** A weight of noise that keeps the size of what passes it. */
export const scaled = (name: string, shape: number[], seed: number) => {
  const size = shape.reduce((a, b) => a * b), depth = size / shape[0];
  return floatTensor(name, shape, noise(size, seed).map((value) => value * 2 / Math.sqrt(depth)));
};

/** stem → two residual blocks → pool → head. */
export function residual(batch: number | string = "N"): Model {
  const block = (i: number, from: string, to: string) => [
    makeNode("Conv", `block${i}/one`, [from, `w${i}1`, `b${i}1`], [`a${i}`], pads),
    makeNode("Relu", `block${i}/relu1`, [`a${i}`], [`r${i}`]),
    makeNode("Conv", `block${i}/two`, [`r${i}`, `w${i}2`, `b${i}2`], [`c${i}`], pads),
    makeNode("Add", `block${i}/add`, [from, `c${i}`], [`s${i}`]),
    makeNode("Relu", `block${i}/relu2`, [`s${i}`], [to]),
  ];
  return build({
    opset: 13,
    inputs: { x: [batch, 3, 8, 8] },
    nodes: [
      makeNode("Conv", "stem", ["x", "w", "b"], ["p"], pads),
      makeNode("Relu", "relu", ["p"], ["h0"]),
      ...block(1, "h0", "h1"),
      ...block(2, "h1", "h2"),
      makeNode("GlobalAveragePool", "pool", ["h2"], ["g"]),
      makeNode("Flatten", "flatten", ["g"], ["f"]),
      makeNode("Gemm", "head", ["f", "wh", "bh"], ["y"], { transB: 1n }),
    ],
    initializers: [
      scaled("w", [8, 3, 3, 3], 1),
      floatTensor("b", [8], noise(8, 2)),
      ...[1, 2].flatMap((i) =>
        [1, 2].flatMap((j) => [
          scaled(`w${i}${j}`, [8, 8, 3, 3], 10 * i + j),
          floatTensor(`b${i}${j}`, [8], noise(8, 20 * i + j)),
        ])
      ),
      scaled("wh", [5, 8], 90),
      floatTensor("bh", [5], noise(5, 91)),
    ],
    outputs: ["y"],
  });
}

/** Samples of noise. */
export async function* samples(count: number): AsyncGenerator<Sample> {
  for (let i = 0; i < count; i++) {
    yield { inputs: { x: { dims: [3, 8, 8], data: noise(192, i + 1) } }, source: `noise ${i}` };
  }
}

/** A job that learns blocks. */
export const learning: QuantizeOptions = {
  reconstruction: { kind: "blocks", iterations: 40 },
  heldOut: 24,
};

/** Quantizes `model` to 2 bits on 400 samples. */
export async function run(
  model: Model,
  options: QuantizeOptions,
  activationBits: 4 | 8 | "none" = "none",
) {
  using pool = inlinePool(await loadBackend("web"));
  return await quantize(makePlan(model, { bits: 2, activationBits }), samples(400), pool, options);
}
