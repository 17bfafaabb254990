/** Measures and widths of a small model, on real sessions. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { allocate, allocateUniform } from "../src/allocate/allocate.ts";
import { chooseBits, measureLayers } from "../src/allocate/choose.ts";
import { type LayerMeasures, measureWeights } from "../src/allocate/layer_measures.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, type Model, serializeModel } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import type { BitBudget, MixedBits } from "../src/plan/bits.ts";
import type { Strategy } from "../src/strategies/strategies.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { renderSweep } from "../src/report/sweep.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool, solverPool } from "../src/workers/pool.ts";
import { startPool } from "../src/workers/start.ts";
import type { Sample } from "../src/samples/sample.ts";
import { sweep } from "../src/quantize/sweep.ts";
import { build, noise } from "./helpers/models.ts";

/**
 * Convolutions of different sizes, one of them depthwise, and a dense layer; `op` follows the
 * first.
 */
function network(op = "Relu", batch: string | number = "N"): Model {
  const shapes: [string, number[], bigint][] = [
    ["first", [8, 3, 3, 3], 1n],
    ["deep", [8, 1, 3, 3], 8n],
    ["wide", [16, 8, 3, 3], 1n],
    ["narrow", [4, 16, 1, 1], 1n],
  ];
  const pads = [1n, 1n, 1n, 1n];
  const layers = shapes.map(([name, shape, group], i) => ({
    node: makeNode(
      "Conv",
      name,
      [i === 0 ? "x" : `r${i - 1}`, `${name}_w`, `${name}_b`],
      [`c${i}`],
      shape[2] === 3 ? { pads, group } : { group },
    ),
    initializers: [
      floatTensor(`${name}_w`, shape, noise(shape.reduce((a, b) => a * b), i + 1)),
      floatTensor(`${name}_b`, [shape[0]], noise(shape[0], i + 9)),
    ],
  }));
  return build({
    opset: 13,
    inputs: { x: [batch, 3, 8, 8] },
    nodes: [
      ...layers.flatMap(({ node }, i) => [
        node,
        makeNode(i === 0 ? op : "Relu", `relu${i}`, [`c${i}`], [`r${i}`]),
      ]),
      makeNode("GlobalAveragePool", "pool", ["r3"], ["p"]),
      makeNode("Flatten", "flatten", ["p"], ["f"]),
      makeNode("Gemm", "head", ["f", "head_w", "head_b"], ["y"]),
    ],
    initializers: [
      ...layers.flatMap(({ initializers }) => initializers),
      floatTensor("head_w", [4, 5], noise(20, 3)),
      floatTensor("head_b", [5], noise(5, 4)),
    ],
    outputs: ["y"],
  });
}

async function* samples(count = 48): AsyncGenerator<Sample> {
  for (let i = 0; i < count; i++) {
    const x = { dims: [3, 8, 8], data: noise(192, i + 1) };
    yield { inputs: { x }, source: `noise ${i}`, label: i % 5 };
  }
}

const floats: PlanOptions = { activationBits: "none" };
const budgeted = (budget: BitBudget, strategy?: Strategy, widths?: number[]): PlanOptions => ({
  ...floats,
  bits: { kind: "budget", budget, strategy, widths },
});
const average = (bits: number, strategy?: Strategy) =>
  budgeted({ kind: "average", bits }, strategy);

async function measured(model = network(), gradients = false): Promise<LayerMeasures[]> {
  using pool = inlinePool(await loadBackend("web"));
  return await measureLayers(makePlan(model, average(4)), { source: samples(), pool }, {
    gradients,
  });
}

Deno.test("errors fall with the width, and the outputs' share of them adds up to the truth", async () => {
  const measures = await measured();
  assertEquals(measures.map(({ weights }) => weights), [216, 72, 1152, 64, 20]);
  assertEquals(measures.map(({ free }) => free), [false, true, true, true, false]);
  for (const { outputs, weightErrors } of measures) {
    for (const errors of [outputs!.errors, weightErrors]) {
      // 8 bits have no choice of their window, so 7 may come close.
      errors.forEach((error, i) => assert(error > 0 && (i < 2 || error < errors[i - 2] / 2)));
    }
    assert(outputs!.trace > 0 && outputs!.sensitivity > 0);
  }
  using pool = inlinePool(await loadBackend("web"));
  const { allocation } = allocate(makePlan(network(), average(4)), measures);
  const { report } = await quantize(makePlan(network(), average(4)), samples(96), pool, {
    heldOut: 6,
  });
  assertEquals(report.allocation!.layers.map(({ bits }) => bits).length, 5);
  // Errors of layers add up, about: six samples and repairs of later layers make it no equation.
  const ratio = allocation!.loss! / report.check!.mseToFloat;
  assert(ratio > 0.2 && ratio < 5, `predicted ${allocation!.loss}, is ${report.check!.mseToFloat}`);
});

Deno.test("the sensitivity to the last layer is at most 1: its error is the outputs', less their mean", async () => {
  const measures = await measured();
  const head = measures.at(-1)!;
  // Its power is that of the outputs without their mean, so the sensitivity is their ratio: at
  // most 1.
  assert(head.outputs!.sensitivity <= 1.05, `${head.outputs!.sensitivity}`);
});

Deno.test("every strategy meets every budget, and more budget never means more loss by far", async () => {
  const measures = await measured(network(), true);
  const strategies: Strategy[] = [
    "coding-length",
    "coding-length:joint",
    "nuclear",
    "gradient",
    "hessian-trace",
    "measured",
  ];
  const model = network();
  const total = 72 + 1152 + 64;
  for (const strategy of strategies) {
    let before = Infinity;
    for (const bits of [2, 2.7, 3, 4, 5.5, 8]) {
      const { allocation, layers } = allocate(makePlan(model, average(bits, strategy)), measures);
      const used = layers.filter((layer) => layer.free)
        .reduce((sum, { bits, target: t }) => sum + bits * t.groups * t.rows * t.depth, 0);
      assertAlmostEquals(allocation!.averageBits, used / total, 1e-9);
      assert(used <= bits * total + 1e-6, `${strategy}: ${used / total} of ${bits}`);
      assertEquals(allocation!.layers.map(({ bits }) => bits), layers.map(({ bits }) => bits));
      if (strategy === "measured") {
        assert(allocation!.loss! <= before);
        before = allocation!.loss!;
        const even = allocateUniform(makePlan(model, average(bits)), measures, Math.floor(bits));
        assert(allocation!.loss! <= even.allocation!.loss!, "worse than one width for all");
      }
    }
    const first = allocate(makePlan(model, average(8, strategy)), measures).layers;
    assertEquals(first.map(({ bits }) => bits), [8, 8, 8, 8, 8]);
  }
  // First and last keep their width, overrides theirs, and neither counts.
  const overrides = [{ pattern: "wide", bits: 5 }];
  const kept = allocate(
    makePlan(model, { ...average(3), edgeBits: 6, overrides }),
    measures.map((own) => own.layer.target.name === "wide" ? { ...own, free: false } : own),
  );
  assertEquals(kept.layers[0].bits, 6);
  assertEquals(kept.layers[2].bits, 5);
  assert(kept.allocation!.averageBits <= 3);
});

Deno.test("sizes and losses are predicted, and kept", async () => {
  const measures = await measured();
  using pool = inlinePool(await loadBackend("web"));
  for (const activationBits of ["none", 8] as const) {
    for (const bits of [4, 8]) {
      const open = makePlan(network(), { bits, activationBits });
      const { model } = await quantize(open, samples(), pool, { heldOut: 0 });
      const predicted = allocateUniform(open, measures, bits).allocation!.bytes;
      const size = serializeModel(model).length;
      // Not less than it is; the metadata is estimated.
      assert(predicted >= size && predicted < size + 500, `${predicted}, is ${size}`);
    }
  }
  const size = (bytes: number) => budgeted({ kind: "size", bytes });
  const { allocation } = allocate(makePlan(network(), size(5000)), measures);
  assert(allocation!.bytes <= 5000, `${allocation!.bytes}`);
  const few = assertThrows(() => allocate(makePlan(network(), size(500)), measures), AttuneError);
  assert(/500 bytes small: with 2 bits it has/.test(few.message), few.message);
  const loss = (error: number) =>
    allocate(makePlan(network(), budgeted({ kind: "loss", error })), measures);
  const [loose, tight] = [0.05, 0.001].map((error) => loss(error).allocation!);
  assert(loose.loss! <= 0.05 && tight.loss! <= 0.001 && tight.averageBits > loose.averageBits);
  const none = assertThrows(() => loss(1e-9), AttuneError);
  assert(/output error 1e-9: with 8 bits it is/.test(none.message), none.message);
});

Deno.test("the number of engines changes no width and no figure", async () => {
  const figures = async (threads: number) => {
    using pool = await startPool({ threads });
    const open = makePlan(network(), average(3));
    const measures = await measureLayers(open, { source: samples(), pool });
    return JSON.stringify([
      measures.map(({ outputs, weightErrors }) => [outputs, weightErrors]),
      allocate(open, measures).allocation,
    ]);
  };
  assertEquals(await figures(2), await figures(1));
});

Deno.test("without samples weights decide, and what needs samples says so", async () => {
  const chosen = await chooseBits(makePlan(network(), average(3)));
  const { allocation, layers } = chosen;
  assertEquals([allocation!.basis, allocation!.loss], ["weights", undefined]);
  // The largest layer gets the fewest bits: each of them would cost most.
  assertEquals(Math.min(...layers.map(({ bits }) => bits)), layers[2].bits);
  assertEquals(await chooseBits(chosen), chosen);
  for (const strategy of ["gradient", "hessian-trace", "measured"] as const) {
    const error = await assertRejects(
      () => chooseBits(makePlan(network(), average(3, strategy))),
      AttuneError,
    );
    assertEquals(error.code, "bad-option");
    assert(error.message.includes(`by ${strategy} without samples`), error.message);
    assertEquals(error.remedies, [{ option: "samples" }]);
  }
  const clusters: MixedBits = { kind: "clusters", widths: [2, 4, 8] };
  const grouped = await chooseBits(makePlan(network(), { ...floats, bits: clusters }));
  for (const { bits } of grouped.layers) assert([2, 4, 8].includes(bits));
  assertEquals(new Set(grouped.layers.slice(1, 4).map(({ bits }) => bits)).size, 3);
  assertEquals(grouped.allocation!.strategy, "clusters");
});

Deno.test("options that make no sense are refused by their value", () => {
  const cases: [MixedBits, string][] = [
    [{ kind: "budget", budget: { kind: "average", bits: 1.5 } }, "1.5 bits on average"],
    [{ kind: "budget", budget: { kind: "average", bits: 6 }, widths: [2, 4] }, "from 2 to 4"],
    [{ kind: "budget", budget: { kind: "size", bytes: 0 } }, "0 bytes"],
    [{ kind: "budget", budget: { kind: "loss", error: 2 } }, "a loss of 2"],
    [{ kind: "clusters", widths: [4] }, "the widths 4"],
    [{ kind: "clusters", widths: [2, 9] }, "the widths 2, 9"],
  ];
  for (const [bits, text] of cases) {
    const error = assertThrows(() => makePlan(network(), { bits }), AttuneError);
    assertEquals(error.code, "bad-option");
    assert(error.message.includes(text), error.message);
  }
});

Deno.test("an operator without a gradient is named, and only that strategy needs it", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const source = { source: samples(), pool }, model = network("Softsign");
  const error = await assertRejects(
    () => chooseBits(makePlan(model, average(3, "gradient")), source),
    AttuneError,
  );
  assertEquals(error.code, "bad-option");
  assert(/relu0.*Softsign/.test(error.message), error.message);
  const { allocation } = await chooseBits(makePlan(model, average(3)), { source: samples(), pool });
  assertEquals(allocation!.basis, "outputs");
});

Deno.test("layers that share a weight get one width, and pay once", async () => {
  const weight = floatTensor("w", [4, 4, 1, 1], noise(16));
  const conv = (name: string, from: string, to: string, w = "w") =>
    makeNode("Conv", name, [from, w], [to]);
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 8, 8] },
    nodes: [
      conv("in", "x", "a", "in_w"),
      conv("one", "a", "b"),
      makeNode("Relu", "relu", ["b"], ["c"]),
      conv("two", "c", "d"),
      conv("out", "d", "y", "out_w"),
    ],
    initializers: [
      weight,
      floatTensor("in_w", [4, 3, 1, 1], noise(12)),
      floatTensor("out_w", [2, 4, 1, 1], noise(8)),
    ],
    outputs: ["y"],
  });
  using pool = inlinePool(await loadBackend("web"));
  const { report } = await quantize(makePlan(model, average(3)), samples(), pool);
  const [, one, two] = report.allocation!.layers;
  assertEquals(one.bits, two.bits);
  assert(one.loss! > 0 && two.loss === 0);
  assertEquals(report.layers[1].bits, one.bits);
});

Deno.test("a batch that the model fixes is measured, gradients included", async () => {
  const measures = await measured(network("Relu", 4), true);
  for (const { outputs } of measures) assert(outputs!.gradient! > 0 && outputs!.sensitivity > 0);
});

Deno.test("the weights tell the same with and without an engine", async () => {
  using pool = solverPool();
  const measures = await measureWeights(makePlan(network(), average(3)), pool);
  for (const { spectrum, weights } of measures) {
    assertEquals(spectrum.groups * spectrum.rows * spectrum.depth, weights);
    assert(spectrum.eigenvalues.every((value) => value >= 0));
  }
});

Deno.test("a sweep compares budgets on samples that it was not calibrated on", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const stages = new Set<string>(), written: number[] = [];
  const report = await sweep(makePlan(network(), {}), samples(64), pool, {
    averages: [2, 3, 4.5, 8],
    strategies: ["coding-length", "measured"],
    onProgress: ({ stage }) => stages.add(stage),
    onModel: (model, { asked }) => {
      written.push(asked);
      assert(model.proto.graph.node.some(({ opType }) => opType === "QuantizeLinear"));
    },
  });
  assertEquals(report.samples, { calibration: 48, heldOut: 16 });
  assertEquals(report.points.map(({ strategy, asked }) => `${strategy} ${asked}`), [
    ...["uniform 2", "uniform 3", "uniform 8"],
    ...["coding-length 2", "coding-length 3", "coding-length 4.5", "coding-length 8"],
    ...["measured 2", "measured 3", "measured 4.5", "measured 8"],
  ]);
  const error = (i: number) => report.points[i].evaluation.mse;
  assert(error(3) > error(4) && error(4) > error(5) && error(5) > error(6));
  // All of them in 8 bits are the same model.
  assertEquals(error(2), error(6));
  assertEquals(report.points[2].widths, report.points[6].widths);
  assert(report.points.some(({ best }) => best) && report.points.some(({ best }) => !best));
  assert(report.points[0].evaluation.top1 !== null);
  assertEquals(written.sort(), [2, 2, 3, 3, 4.5, 4.5, 8, 8]);
  assertEquals([...stages], ["read samples", "measure", "compare"]);
  const page = renderSweep(report);
  assertEquals(page.match(/<circle[^>]*><title>/g)!.length, report.points.length);
  const few = await assertRejects(() => sweep(makePlan(network()), samples(3), pool), AttuneError);
  assertEquals(few.code, "bad-data");
});
