/** Along which axes of inputs and outputs samples lie. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { existsSync } from "node:fs";
import { AttuneError, evaluate, openSamples, plan, quantize, readModel } from "../mod.ts";
import { rowsOf, stackSamples } from "../src/forward/batching.ts";
import { makeNode } from "../src/onnx/model.ts";
import { int64Tensor } from "../src/onnx/tensor.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { runModel } from "./helpers/models.ts";
import {
  backend,
  batchingOf,
  detector,
  model,
  quantized,
  samplesOf,
  sequence,
} from "./helpers/batching.ts";

Deno.test("an ordinary model takes any number of samples along the first axis", async () => {
  const found = await batchingOf(model({ inputs: { x: ["N", 16] } }), samplesOf(5, { x: [16] }));
  assertEquals([found.axes, found.out, found.size], [{ x: 0 }, { y: 0 }, undefined]);
  assertEquals(found.all.length, 5);
});

Deno.test("channels of an image are no batch, whatever the shapes of the outputs", async () => {
  const whole = await batchingOf(detector(8), samplesOf(4, { x: [3, 8, 8] }));
  assertEquals([whole.axes, whole.size, whole.all.length], [{}, 1, 4]);
  const rows = await batchingOf(detector(8), samplesOf(12, { x: [8, 8] }));
  assertEquals([rows.axes, rows.size, rows.warnings.length], [{}, 1, 1]);
  assertEquals(rows.all.map(({ inputs }) => inputs.x.dims), Array(4).fill([3, 8, 8]));
  const [first, second, third] = samplesOf(12, { x: [8, 8] }).map(({ inputs }) => inputs.x.data);
  assertEquals([...rows.all[0].inputs.x.data as Float32Array], [
    ...first as Float32Array,
    ...second as Float32Array,
    ...third as Float32Array,
  ]);
  await assertRejects(
    () => batchingOf(detector(8), samplesOf(11, { x: [8, 8] })),
    AttuneError,
    "give a multiple of 3",
  );
  const { report, evaluation } = await quantized(detector("H"), samplesOf(32, { x: [3, 9, 8] }));
  assertEquals([report.samples.calibration, report.samples.heldOut], [30, 2]);
  assert(report.check!.mseToFloat < 1e-3 && evaluation.mse < 1e-3, `${evaluation.mse}`);
  assertEquals(evaluation.samples, 32);
});

Deno.test("equal channels, as of a gray image, do not look like a batch", async () => {
  const gray = samplesOf(4, { x: [8, 8] }).flatMap((sample) => [sample, sample, sample]);
  assertEquals((await batchingOf(detector(8), gray)).all.length, 4);
});

Deno.test("samples lie along the axis that a probe bears out, or the caller names", async () => {
  const samples = samplesOf(34, { x: [5, 16] });
  const found = await batchingOf(sequence("T", "B"), samples);
  assertEquals([found.axes, found.out, found.size], [{ x: 1 }, { y: 1 }, undefined]);
  assert(/along axis 1 of "x"/.test(found.warnings[0]));
  // A first axis of fixed length beside a free one.
  const state = await batchingOf(sequence(5, "N"), samples);
  assertEquals([state.axes, state.size, state.warnings], [{ x: 1 }, undefined, []]);
  const said = await batchingOf(sequence(5, 4), samples, { batchAxis: 1 });
  assertEquals([said.axes, said.size], [{ x: 1 }, 4]);
  const one = await batchingOf(sequence("T", "B"), samples, { batchAxis: { x: 1 }, batch: 1 });
  assertEquals([one.axes, one.size], [{ x: 1 }, 1]);

  // What each sample says is what it says alone.
  const stacked = stackSamples(found.batching, samples.slice(0, 3));
  assertEquals(stacked.x.dims, [5, 3, 16]);
  const { y } = await runModel(sequence("T", "B"), stacked);
  const third = rowsOf(found.batching, "y", y, 3)[2];
  const alone = await runModel(sequence("T", "B"), stackSamples(found.batching, [samples[2]]));
  third.forEach((v, i) => assertAlmostEquals(v, Number(alone.y.data[i]), 1e-5));

  const { report, evaluation } = await quantized(sequence("T", "B"), samples);
  assert(report.check!.mseToFloat < 1e-3 && evaluation.mse < 1e-3);
  assertEquals(evaluation.samples, 34);
});

Deno.test("a state has its samples along the axis that has the name of the batch", async () => {
  const stateful = model({
    inputs: { x: ["N", 16], h: [2, "N", 16] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("Add", "", ["a", "h"], ["s"]),
      makeNode("Relu", "", ["s"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
    ],
  });
  const samples = samplesOf(34, { x: [16], h: [2, 16] });
  const found = await batchingOf(stateful, samples);
  assertEquals([found.axes, found.out, found.size], [{ x: 0, h: 1 }, { y: 1 }, undefined]);
  const { report, evaluation } = await quantized(stateful, samples);
  assert(report.check!.mseToFloat < 1e-3 && evaluation.mse < 1e-3);
});

Deno.test("a batch of one inside of a free one runs one sample at a time", async () => {
  const inside = model({
    inputs: { x: ["N", 4, 16] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("Reshape", "", ["a", "one"], ["r"]),
      makeNode("MatMul", "m2", ["r", "w2"], ["y"]),
    ],
    initializers: [int64Tensor("one", [3], [1n, 4n, 16n])],
  });
  const found = await batchingOf(inside, samplesOf(3, { x: [4, 16] }));
  assertEquals([found.axes, found.size], [{ x: 0 }, 1]);
  const { report } = await quantized(inside, samplesOf(34, { x: [4, 16] }));
  assert(report.check!.mseToFloat < 1e-3);
});

Deno.test("an output that has its samples along another axis is told apart there", async () => {
  const turned = model({
    inputs: { x: ["N", 5, 16] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("Transpose", "", ["a"], ["b"], { perm: [1n, 0n, 2n] }),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
      makeNode("Identity", "", ["w2"], ["table"]),
    ],
    outputs: ["y", "table"],
  });
  const samples = samplesOf(34, { x: [5, 16] });
  const found = await batchingOf(turned, samples);
  assertEquals([found.out, found.size], [{ y: 1 }, undefined]);
  const { evaluation, report } = await quantized(turned, samples, {
    reconstruction: { kind: "blocks", iterations: 4 },
  }, { bits: 4 });
  assertEquals(evaluation.samples, 34);
  assert(report.blocks.some(({ note }) => /samples along its first axis/.test(note ?? "")));
});

Deno.test("a model without shapes takes any array", async () => {
  const open = model({ inputs: { x: ["N", 16] } });
  const type = open.proto.graph.input[0].type!.value;
  if (type.case === "tensorType") type.value.shape = undefined;
  const found = await batchingOf(open, samplesOf(3, { x: [16] }));
  assertEquals([found.axes, found.size], [{ x: 0 }, undefined]);
  const image = detector(8), imageType = image.proto.graph.input[0].type!.value;
  if (imageType.case === "tensorType") imageType.value.shape = undefined;
  const whole = await batchingOf(image, samplesOf(3, { x: [3, 8, 8] }));
  assertEquals([whole.axes, whole.size], [{}, 1]);
});

const cases = new URL("../../shared/cases/", import.meta.url).pathname;
Deno.test({
  name: "models whose samples do not lie along the first axis of every input",
  ignore: !existsSync(cases),
  async fn() {
    for (
      const [name, data, calibration, heldOut] of [
        ["chw_no_batch", "npy", 38, 2],
        ["sam_like", "npz", 38, 2],
        ["input_no_shape", "npy", 60, 4],
        ["reshape_batch1_dynamic_n", "npy", 45, 3],
        ["optional_input", "npy", 60, 4],
        ["fixed_batch8", "npy", 32, 8],
      ] as const
    ) {
      using pool = inlinePool(backend);
      const float = readModel(`${cases}${name}.onnx`), made = plan(float, { bits: 8 });
      const set = await openSamples(`${cases}${name}.${data}`, { inputs: made.graph.inputs });
      const { model, report } = await quantize(made, set.samples(), pool);
      assertEquals([report.samples.calibration, report.samples.heldOut], [calibration, heldOut]);
      const { mse } = await evaluate(model, float, set.samples(), pool);
      assert(mse < 1e-2 && report.check!.mseToFloat < 1e-2, `${name}: ${mse}`);
    }
  },
});
