/** Inputs and outputs beside the samples: what is fed, checked, and compared with what. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { AttuneError, evaluate, plan, quantize } from "../mod.ts";
import type { Sample } from "../mod.ts";
import { Runs } from "../src/forward/batching.ts";
import { makeNode } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { noise, runModel, value } from "./helpers/models.ts";
import { backend, batchingOf, model, quantized, samplesOf, stream } from "./helpers/batching.ts";

/** y = relu(x·w1) over a threshold, a single number, and scaled by `size`, times w2. */
const withSides = () =>
  model({
    inputs: { x: ["N", 16], threshold: [], size: [2] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("Sub", "", ["a", "threshold"], ["t"]),
      makeNode("ReduceSum", "", ["size"], ["total"], { keepdims: 0n }),
      makeNode("Mul", "", ["t", "total"], ["s"]),
      makeNode("Relu", "", ["s"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
    ],
  });
const scalar = (number: number) => ({ dims: [], data: Float32Array.of(number) });

Deno.test("inputs without samples are fed once, and only to samples that have the same", async () => {
  const size = { dims: [2], data: Float32Array.of(1, 2) };
  const samples = samplesOf(40, { x: [16] }, (i) => ({ threshold: scalar(i % 2), size }));
  const found = await batchingOf(withSides(), samples);
  assertEquals([found.axes, found.out, found.size], [{ x: 0 }, { y: 0 }, undefined]);
  const runs = new Runs(found.batching, 4), full: number[] = [];
  for (const sample of samples.slice(0, 9)) {
    const run = runs.add(sample);
    if (run === undefined) continue;
    full.push(run.length);
    assertEquals(new Set(run.map(({ inputs }) => inputs.threshold.data[0])).size, 1);
  }
  assertEquals([full, runs.rest().map(({ length }) => length)], [[4, 4], [1]]);
  const { report, evaluation } = await quantized(withSides(), samples);
  assertEquals(report.samples.calibration, 38);
  assert(report.check!.mseToFloat < 1e-3 && evaluation.mse < 1e-3, `${evaluation.mse}`);
});

Deno.test("quantize and evaluate check every sample", async () => {
  const ordinary = model({ inputs: { x: ["N", 16] } }), samples = samplesOf(6, { x: [16] });
  const broken = samplesOf(1, { x: [16] }, () => ({ x: { dims: [16], data: noise(16) } }))[0];
  (broken.inputs.x.data as Float32Array)[3] = NaN;
  const wrong = { ...broken, inputs: { x: { dims: [15], data: noise(15) } } };
  const refused: [Sample, string][] = [
    [broken, `element 3 of input "x" is NaN`],
    [wrong, "the sample has 15; give it the shape 16"],
    [{ ...broken, inputs: {} }, "the sample has none"],
  ];
  using pool = inlinePool(backend);
  for (const [sample, message] of refused) {
    const set = () => stream([...samples, sample]);
    await assertRejects(() => quantize(plan(ordinary), set(), pool), AttuneError, message);
    await assertRejects(() => evaluate(ordinary, ordinary, set(), pool), AttuneError, message);
  }
});

Deno.test("outputs and inputs that are called otherwise are compared by their place", async () => {
  const own = model({ inputs: { x: ["N", 16] } });
  const other = model({
    inputs: { image: ["N", 16] },
    nodes: [
      makeNode("MatMul", "m1", ["image", "w1"], ["a"]),
      makeNode("Relu", "", ["a"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["z"]),
    ],
    outputs: ["z"],
  });
  using pool = inlinePool(backend);
  const said: string[] = [], onWarning = (message: string) => void said.push(message);
  const samples = samplesOf(5, { x: [16] });
  const { mse } = await evaluate(own, other, stream(samples), pool, { onWarning });
  assertEquals([mse, said.length], [0, 2]);
  assert(/"z"/.test(said[0]) && /image/.test(said[1]));
  // The output of that name, where there is one, wherever it is.
  const more = model({
    inputs: { x: ["N", 16] },
    nodes: [...own.proto.graph.node, makeNode("Neg", "", ["y"], ["minus"])],
    outputs: ["minus", "y"],
  });
  assertEquals((await evaluate(own, more, stream(samples), pool)).mse, 0);
  await assertRejects(
    () => evaluate(own, withSides(), stream(samples), pool),
    AttuneError,
    "give two models of the same inputs",
  );
});

Deno.test("an input with a default is still one that can be fed, or not", async () => {
  const withGain = (gain: number) =>
    model({
      inputs: { x: ["N", 16], gain: [1] },
      nodes: [
        makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
        makeNode("Mul", "", ["a", "gain"], ["g"]),
        makeNode("Relu", "", ["g"], ["b"]),
        makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
      ],
      initializers: [floatTensor("gain", [1], Float32Array.of(gain))],
    });
  for (const format of ["qdq", "packed"] as const) {
    const { model: made } = await quantized(withGain(1), samplesOf(34, { x: [16] }), {}, {
      format,
      activationBits: "none",
    });
    const { graph } = made.proto;
    assertEquals(graph.input.map(({ name }) => name), ["x", "gain"]);
    const at = graph.initializer.findIndex(({ name }) => name === "gain");
    for (const gain of [1, 3]) {
      // As if it were fed: onnxruntime for JavaScript does not take inputs that have a default.
      graph.initializer[at] = floatTensor("gain", [1], Float32Array.of(gain));
      const feeds = { x: value([1, 16]) };
      const { y } = await runModel(made, feeds),
        { y: wanted } = await runModel(withGain(gain), feeds);
      y.data.forEach((v, i) => assertAlmostEquals(Number(v), Number(wanted.data[i]), 0.05 * gain));
    }
  }
});
