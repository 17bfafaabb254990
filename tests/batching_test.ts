import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { existsSync } from "node:fs";
import { AttuneError, evaluate, openSamples, plan, quantize, readModel, sweep } from "../mod.ts";
import type { PlanOptions, QuantizeOptions, Sample, TensorValue } from "../mod.ts";
import { rowsOf, Runs, stackSamples } from "../src/forward/batching.ts";
import { type BatchingOptions, findBatching } from "../src/forward/probe.ts";
import { Graph } from "../src/graph/graph.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { floatTensor, int64Tensor, sizeOf } from "../src/onnx/tensor.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise, type Parts, runModel, value } from "./helpers/models.ts";

const backend = await loadBackend("web");

/** A float32 weight of noise. */
const weight = (name: string, ...dims: number[]) =>
  floatTensor(name, dims, noise(sizeOf(dims), name.length + dims[0]));

/** `count` samples of noise, of the shapes of `inputs`; `more` changes each. */
function samplesOf(
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

async function* stream(samples: readonly Sample[]) {
  yield* samples;
}

/** How `samples` become runs of `model`, the samples afterwards, and how often it was asked. */
async function batchingOf(model: Model, samples: readonly Sample[], options?: BatchingOptions) {
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

async function quantized(
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
function model(parts: Pick<Parts, "inputs"> & Partial<Parts>): Model {
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
const detector = (height: number | string) =>
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
const sequence = (t: number | string, b: number | string) =>
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
