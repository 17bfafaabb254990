/** Weights without samples: what is known of activations, and what is made of it. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { fileURLToPath } from "node:url";
import {
  AttuneError,
  cut,
  evaluate,
  inlinePool,
  type Model,
  modelStream,
  parseModel,
  plan,
  type PlanOptions,
  quantizeWeights,
  readModel,
  type SampleSource,
  serializeModel,
} from "../mod.ts";
import { marginalsOf, momentsOf } from "../src/layer/marginals.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import { floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { classifier } from "./helpers/edge.ts";
import { build, noise } from "./helpers/models.ts";

const shapes = fileURLToPath(new URL("../examples/shapes/", import.meta.url));
const FLOATS: PlanOptions = { activationBits: "none", format: "packed" };

/** Means and deviations of three channels after the BatchNormalization of {@linkcode after}. */
const MEANS = [-0.7, 0.1, 2], DEVIATIONS = [1.3, 0.4, 2];

/** What is known of the output of `nodes`, which read the normalized tensor "n" and write "y". */
function after(nodes: ReturnType<typeof makeNode>[]) {
  const vector = (name: string, values: number[]) =>
    floatTensor(name, [values.length], Float32Array.from(values));
  const model = build({
    opset: 17,
    inputs: { x: [1, 3, 4, 4] },
    nodes: [
      makeNode("Conv", "conv", ["x", "w"], ["c"]),
      makeNode("BatchNormalization", "norm", ["c", "gamma", "beta", "mean", "var"], ["n"]),
      ...nodes,
      makeNode("Conv", "last", ["y", "v"], ["z"]),
    ],
    initializers: [
      floatTensor("w", [3, 3, 1, 1], noise(9)),
      floatTensor("v", [2, 3, 1, 1], noise(6)),
      vector("gamma", DEVIATIONS),
      vector("beta", MEANS),
      vector("mean", [0, 1, 2]),
      vector("var", [1, 2, 3]),
      vector("zero", [0]),
      vector("one", [1]),
      vector("six", [6]),
      floatTensor("each", [3, 1, 1], Float32Array.of(1, -2, 3)),
      int64Tensor("pads", [8], [0, 1, 0, 0, 0, 2, 0, 0]),
    ],
    outputs: ["z"],
  });
  const { graph, moments } = plan(model, FLOATS);
  const marginals = marginalsOf(graph, moments).get("y");
  return marginals && momentsOf(marginals);
}

/** Standard normal numbers, the same at each run. */
function normals(count: number): number[] {
  const uniform = noise(2 * count, 5).map((x) => (x + 1) / 2);
  return Array.from(
    { length: count },
    (_, i) =>
      Math.sqrt(-2 * Math.log(1 - uniform[2 * i])) * Math.cos(2 * Math.PI * uniform[2 * i + 1]),
  );
}
const DRAWS = normals(100_000);

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const node = (
  op: string,
  inputs: string[],
  output = "y",
  attributes?: Record<string, AttributeValue>,
) => makeNode(op, `${op}_${output}`, inputs, [output], attributes);
const FUNCTIONS: [string, ReturnType<typeof makeNode>[], (x: number, c: number) => number][] = [
  ["Relu", [node("Relu", ["n"])], (x) => Math.max(0, x)],
  ["Clip", [node("Clip", ["n", "zero", "six"])], (x) => Math.min(6, Math.max(0, x))],
  ["LeakyRelu", [node("LeakyRelu", ["n"])], (x) => x < 0 ? 0.01 * x : x],
  ["Tanh", [node("Tanh", ["n"])], Math.tanh],
  ["HardSwish", [node("HardSwish", ["n"])], (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5))],
  [
    "x · sigmoid(x)",
    [node("Sigmoid", ["n"], "s"), node("Mul", ["n", "s"])],
    (x) => x * sigmoid(x),
  ],
  [
    "constants",
    [node("Mul", ["each", "n"], "m"), node("Sub", ["one", "m"])],
    (x, c) => 1 - [1, -2, 3][c] * x,
  ],
];

for (const [name, nodes, apply] of FUNCTIONS) {
  Deno.test(`means and variances after ${name} are those of samples`, () => {
    const { mean, variance } = after(nodes)!;
    for (let c = 0; c < 3; c++) {
      const values = DRAWS.map((draw) => apply(MEANS[c] + DEVIATIONS[c] * draw, c));
      const expected = values.reduce((sum, x) => sum + x, 0) / values.length;
      const spread = values.reduce((sum, x) => sum + (x - expected) ** 2, 0) / values.length;
      assertAlmostEquals(mean[c], expected, 0.02 * Math.sqrt(spread) + 1e-9);
      assertAlmostEquals(variance[c], spread, 0.03 * spread);
    }
  });
}

Deno.test("sums of two, new channels and means over places are known, and what is not is not", () => {
  const sum = after([node("Relu", ["n"], "r"), node("Add", ["n", "r"])])!;
  // From one Gaussian: point by point.
  assertAlmostEquals(sum.mean[2], MEANS[2] + after([node("Relu", ["n"])])!.mean[2], 1e-6);
  const padded = after([node("Pad", ["n", "pads"], "p"), node("GlobalAveragePool", ["p"])])!;
  assertEquals([...padded.mean].map((x) => Math.round(10 * x) / 10), [0, ...MEANS, 0, 0]);
  assertEquals(after([node("MaxPool", ["n"], "y", { kernel_shape: [2n, 2n] })]), undefined);
  assertEquals(after([node("Mul", ["n", "x"])]), undefined);
  assertEquals(after([node("Transpose", ["n"], "y", { perm: [0n, 2n, 1n, 3n] })]), undefined);
});

/** Noise as samples for `classifier`. */
async function* samples(count = 64): SampleSource {
  for (let i = 0; i < count; i++) {
    yield { inputs: { x: { dims: [3, 8, 8], data: noise(192, 50 + i) } }, source: `${i}` };
  }
}

/** The output error of `model` against `reference`. */
async function errorOf(model: Model, reference: Model): Promise<number> {
  using pool = inlinePool(await loadBackend("web"));
  return (await evaluate(model, reference, samples(), pool)).mse;
}

Deno.test("what BatchNormalization tells makes the outputs better", async () => {
  // A network whose statistics are right: those of its own activations on the samples.
  const model = readModel(`${shapes}shapes.onnx`);
  const made = plan(model, { ...FLOATS, bits: 3 });
  const { openSamples, startPool } = await import("../mod.ts");
  const set = await openSamples(`${shapes}val`, { inputs: made.inputs, limit: 64 });
  using pool = await startPool({ threads: 1 });
  const error = async (given: typeof made, biasCorrection: boolean) => {
    const { model: small } = await quantizeWeights(given, { biasCorrection });
    return (await evaluate(small, model, set.samples(), pool)).mse;
  };
  const blind = await error({ ...made, moments: new Map() }, true);
  const told = await error(made, false), corrected = await error(made, true);
  assert(told < blind && corrected < 0.8 * told, `${blind} ${told} ${corrected}`);
});

const VARIANTS: [string, PlanOptions, Parameters<typeof quantizeWeights>[1]?][] = [
  ["ternary", { bits: "ternary" }],
  ["piecewise levels", { bits: 4, grid: "piecewise" }],
  ["groups", { bits: 4, granularity: { kind: "group", size: 8 } }],
  ["one scale", { bits: 5, granularity: { kind: "tensor" } }],
  ["sequential rounding", { bits: 4 }, { rounding: { kind: "attention" } }],
  ["MatMulNBits", { bits: 4, format: "matmulnbits" }],
  ["a budget", { bits: { kind: "budget", budget: { kind: "average", bits: 5 } } }],
  ["nested widths", { nested: [8, 4] }],
];
for (const [name, options, how] of VARIANTS) {
  Deno.test(`without samples: ${name}`, async () => {
    const model = classifier(11, 16), made = plan(model, { ...FLOATS, ...options });
    const { model: small, report } = await quantizeWeights(made, { ...how, seed: 2 });
    const again = await quantizeWeights(made, { ...how, seed: 2 });
    assertEquals(serializeModel(again.model), serializeModel(small));
    const error = await errorOf(small, model);
    assert(error < (options.bits === "ternary" ? 1 : 0.1), `${error}`);
    assertEquals(report.samples, { calibration: 0, heldOut: 0 });
    assert(report.warnings[0].includes("2 of 3 layers"), report.warnings[0]);
    if (options.nested) {
      assert(await errorOf(cut(small, 4), model) < 0.3);
    }
  });
}

Deno.test("activations are not quantized without samples, and a budget of loss is refused", async () => {
  for (const activationBits of [8, 4] as const) {
    const error = await assertRejects(
      () => quantizeWeights(plan(classifier(1), { activationBits })),
      AttuneError,
      `activations to ${activationBits} bits without samples`,
    );
    assertEquals((error as AttuneError).remedies.map((remedy) => remedy.option), [
      "samples",
      "activationBits",
    ]);
  }
  const bits = { kind: "budget", budget: { kind: "loss", error: 0.1 } } as const;
  await assertRejects(
    () => quantizeWeights(plan(classifier(1), { ...FLOATS, bits })),
    AttuneError,
    "without samples",
  );
});

Deno.test("a signal stops it between layers, and progress reaches its end", async () => {
  const made = plan(readModel(`${shapes}shapes.onnx`), { ...FLOATS, bits: 4 });
  const stop = new AbortController();
  let layers = 0;
  const error = await assertRejects(
    () =>
      quantizeWeights(made, {
        signal: stop.signal,
        onProgress: ({ done }) => (layers = done) >= 3 && stop.abort(),
      }),
    AttuneError,
  );
  assertEquals([error.code, layers], ["aborted", 3]);
  const seen: number[] = [];
  await quantizeWeights(made, { onProgress: ({ done, total }) => seen.push(done / total) });
  assertEquals(seen.at(-1), 1);
});

Deno.test("a model as a stream has the bytes of the whole", async () => {
  const { model } = await quantizeWeights(plan(classifier(2, 64), { ...FLOATS, bits: 8 }));
  const bytes = await new Response(modelStream(model)).bytes();
  assertEquals(bytes, serializeModel(model));
  assertEquals(parseModel(bytes).proto.graph.output.length, 1);
});
