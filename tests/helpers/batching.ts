/** Small models whose samples lie along various axes, and jobs that run them. */

import { evaluate, plan, quantize } from "../../mod.ts";
import type { PlanOptions, QuantizeOptions, Sample, TensorValue } from "../../mod.ts";
import { type BatchingOptions, findBatching } from "../../src/forward/probe.ts";
import { Graph } from "../../src/graph/graph.ts";
import { makeNode, type Model } from "../../src/onnx/model.ts";
import { sessionBytes } from "../../src/onnx/session_bytes.ts";
import { floatTensor, int64Tensor, sizeOf } from "../../src/onnx/tensor.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { inlinePool } from "../../src/workers/pool.ts";
import { build, noise, type Parts } from "./models.ts";

/** The runtime that the tests of batching use. */
export const backend = await loadBackend("web");

/** A float32 weight of noise. */
const weight = (name: string, ...dims: number[]) =>
  floatTensor(name, dims, noise(sizeOf(dims), name.length + dims[0]));

/** `count` samples of noise, of the shapes of `inputs`; `more` changes each. */
export function samplesOf(
  count: number,
  inputs: Record<string, number[]>,
  more: (i: number) => Record<string, TensorValue> = () => ({}),
): Sample[] {
  return Array.from({ length: count }, (_, i) => ({
    source: `s${i}`,
    inputs: {
      ...Object.fromEntries(
        Object.entries(inputs).map(([name, dims], k) => [name, {
          dims,
          data: noise(sizeOf(dims), 17 + 31 * i + k),
        }]),
      ),
      ...more(i),
    },
  }));
}

/** `samples` as a job reads them. */
export async function* stream(samples: readonly Sample[]) {
  yield* samples;
}

/** How `samples` become runs of `model`, the samples afterwards, and how often it was asked. */
export async function batchingOf(
  model: Model,
  samples: readonly Sample[],
  options?: BatchingOptions,
) {
  const session = await backend.open(sessionBytes(model));
  try {
    const { inputs, outputs } = new Graph(model);
    const run = session.run.bind(session);
    const found = await findBatching({ inputs, outputs }, stream(samples), run, options);
    const all: Sample[] = [];
    for await (const sample of found.samples) all.push(sample);
    const { axes, outputs: out, size } = found.batching;
    return { ...found, all, axes: Object.fromEntries(axes), out: Object.fromEntries(out), size };
  } finally {
    await session.release();
  }
}

/** What `quantize` makes of `model`, and how it compares with it on the same samples. */
export async function quantized(
  model: Model,
  samples: readonly Sample[],
  options: QuantizeOptions = {},
  planned: PlanOptions = {},
) {
  using pool = inlinePool(backend);
  const made = plan(model, { bits: 8, ...planned });
  const found = await quantize(made, stream(samples), pool, options);
  const given: Sample[] = [...samples];
  return { ...found, evaluation: await evaluate(found.model, model, stream(given), pool, options) };
}

/** Two layers between `before`, from x to a, and `after`, from b to y; both of 16 features. */
export function model(parts: Pick<Parts, "inputs"> & Partial<Parts>): Model {
  return build({
    opset: 17,
    outputs: ["y"],
    ...parts,
    nodes: parts.nodes ?? [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("Relu", "", ["a"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
    ],
    initializers: [weight("w1", 16, 16), weight("w2", 16, 8), ...parts.initializers ?? []],
  });
}

/** An image model without batch axis, as detectors have it: channels mix. */
export const detector = (height: number | string) =>
  build({
    opset: 17,
    inputs: { x: [3, height, 8] },
    nodes: [
      makeNode("Unsqueeze", "", ["x", "axis"], ["xs"]),
      makeNode("Conv", "c1", ["xs", "w1"], ["a"], {
        kernel_shape: [3n, 3n],
        pads: [1n, 1n, 1n, 1n],
      }),
      makeNode("Relu", "", ["a"], ["b"]),
      makeNode("Conv", "c2", ["b", "w2"], ["c"]),
      makeNode("Squeeze", "", ["c", "axis"], ["y"]),
    ],
    initializers: [
      weight("w1", 8, 3, 3, 3),
      weight("w2", 3, 8, 1, 1),
      int64Tensor("axis", [1], [0n]),
    ],
    outputs: ["y"],
  });

/** x is T×B×16; each step of time sums up those before it. */
export const sequence = (t: number | string, b: number | string) =>
  model({
    inputs: { x: [t, b, 16] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("CumSum", "", ["a", "zero"], ["s"]),
      makeNode("Tanh", "", ["s"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
    ],
    initializers: [int64Tensor("zero", [], [0n])],
  });
