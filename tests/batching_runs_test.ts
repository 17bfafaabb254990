/** Which samples run together: lengths, fixed batches, one at a time. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { AttuneError, plan, sweep } from "../mod.ts";
import { makeNode } from "../src/onnx/model.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { noise } from "./helpers/models.ts";
import {
  backend,
  batchingOf,
  detector,
  model,
  quantized,
  samplesOf,
  sequence,
  stream,
} from "./helpers/batching.ts";

Deno.test("samples of several lengths run with those of their own", async () => {
  const mixed = model({
    inputs: { x: ["N", "T", 16] },
    nodes: [
      makeNode("MatMul", "m1", ["x", "w1"], ["a"]),
      makeNode("ReduceMean", "", ["a"], ["mean"], { axes: [1n], keepdims: 1n }),
      makeNode("Sub", "", ["a", "mean"], ["b"]),
      makeNode("MatMul", "m2", ["b", "w2"], ["y"]),
    ],
  });
  const samples = Array.from({ length: 60 }, (_, i) => ({
    ...samplesOf(i + 1, { x: [3 + i % 5, 16] })[i],
  }));
  const found = await batchingOf(mixed, samples);
  assertEquals([found.axes, found.size], [{ x: 0 }, undefined]);
  const { report, evaluation } = await quantized(mixed, samples, {
    reconstruction: { kind: "blocks", iterations: 4 },
  }, { bits: 4 });
  assertEquals(report.samples.calibration + report.samples.heldOut, 60);
  assertEquals(report.blocks.map(({ note }) => note), ["the samples have several shapes"]);
  assertEquals(evaluation.samples, 60);
});

Deno.test("a fixed batch keeps out one whole batch, and says how many samples it needs", async () => {
  const fixed = () => model({ inputs: { x: [8, 16] } });
  const found = await batchingOf(fixed(), samplesOf(40, { x: [16] }));
  assertEquals([found.axes, found.out, found.size], [{ x: 0 }, { y: 0 }, 8]);
  const { report, evaluation } = await quantized(fixed(), samplesOf(43, { x: [16] }));
  assertEquals([report.samples.calibration, report.samples.heldOut], [32, 8]);
  assertEquals(report.warnings, [
    "3 samples were left out: the model takes 8 of one shape at a time",
  ]);
  assert(report.check!.mseToFloat < 1e-3);
  assertEquals(evaluation.samples, 43);
  await assertRejects(
    () => quantized(fixed(), samplesOf(7, { x: [16] })),
    AttuneError,
    "on 7 samples: give at least 8, as many as the model takes in one run",
  );
  const few = await quantized(fixed(), samplesOf(8, { x: [16] }));
  assertEquals([few.report.check, few.report.warnings.length], [null, 1]);
  using pool = inlinePool(backend);
  await assertRejects(
    () => sweep(plan(fixed()), stream(samplesOf(8, { x: [16] })), pool, { averages: [4] }),
    AttuneError,
    "give at least 16",
  );
  const set = samplesOf(16, { x: [16] });
  const { points } = await sweep(plan(fixed()), stream(set), pool, {
    averages: [8],
    validation: stream(set),
  });
  assert(points[0].evaluation.mse < 1e-3 && points[0].evaluation.samples === 16);
});

Deno.test("blocks of a model that runs one sample at a time are learned", async () => {
  const { report } = await quantized(detector(8), samplesOf(40, { x: [3, 8, 8] }), {
    reconstruction: { kind: "blocks", iterations: 40 },
  }, { bits: 2, edgeBits: 2, activationBits: "none" });
  assertEquals(report.blocks.length, 1);
  assert(report.blocks[0].iterations > 0, report.blocks[0].note);
  const turned = await quantized(sequence("T", "B"), samplesOf(40, { x: [5, 16] }), {
    reconstruction: { kind: "blocks", iterations: 4 },
  }, { bits: 2, edgeBits: 2, activationBits: "none" });
  // One at a time, since samples along another axis are not picked out.
  assertEquals(turned.report.samples.calibration, 38);
});

Deno.test("gradients of a model that runs one sample at a time spread a budget", async () => {
  const bits = {
    kind: "budget",
    budget: { kind: "average", bits: 4 },
    strategy: "gradient",
  } as const;
  const options = { bits, edgeBits: 2, activationBits: "none" } as const;
  const sequences = samplesOf(20, { x: [5, 16] });
  const { report } = await quantized(model({ inputs: { x: [5, 16] } }), sequences, {}, options);
  assertEquals(report.allocation?.strategy, "gradient");
  const mixed = samplesOf(20, { x: [16] }).map((sample, i) =>
    i % 2 ? sample : { ...sample, inputs: { x: { dims: [2, 16], data: noise(32, i) } } }
  );
  await assertRejects(
    () => quantized(model({ inputs: { x: ["N", 16] } }), mixed, {}, options),
    AttuneError,
    "the samples have several shapes",
  );
});
