/** Small models of every kind, from end to end, on real sessions. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { AttuneError } from "../src/errors.ts";
import {
  type AttributeValue,
  makeNode,
  type Model,
  opsetOf,
  serializeModel,
} from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import type { NodeProto, TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import type { Granularity } from "../src/weights/granularity.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../src/quantize/options.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import { bodyAttribute, build, graphOf, noise } from "./helpers/models.ts";

/** A layer with weights of noise. */
function layer(
  op: string,
  name: string,
  input: string,
  output: string,
  shape: number[],
  options: { bias?: number; attributes?: Record<string, AttributeValue>; scale?: number } = {},
): { node: NodeProto; initializers: TensorProto[] } {
  const size = shape.reduce((a, b) => a * b), { bias, attributes, scale = 0.5 } = options;
  const initializers = [
    floatTensor(`${name}_w`, shape, noise(size, name.length + size).map((v) => v * scale)),
  ];
  if (bias) initializers.push(floatTensor(`${name}_b`, [bias], noise(bias, bias)));
  const inputs = [input, `${name}_w`, ...(bias ? [`${name}_b`] : [])];
  return { node: makeNode(op, name, inputs, [output], attributes), initializers };
}

/** Samples of noise, `count` of them. */
async function* samples(shape: number[], count: number, name = "x"): AsyncGenerator<Sample> {
  const size = shape.reduce((a, b) => a * b);
  for (let i = 0; i < count; i++) {
    yield { inputs: { [name]: { dims: shape, data: noise(size, i + 1) } }, source: `noise ${i}` };
  }
}

async function run(
  model: Model,
  shape: number[],
  planOptions: PlanOptions,
  options: QuantizeOptions & { count?: number } = {},
) {
  using pool = inlinePool(await loadBackend("web"));
  return await quantize(makePlan(model, planOptions), samples(shape, options.count ?? 48), pool, {
    heldOut: 3,
    ...options,
  });
}

const pads = [1n, 1n, 1n, 1n];

/** conv → relu → depthwise → add → pool → flatten → gemm. */
function classifier(batch: number | string = "N", opset = 13): Model {
  const layers = [
    layer("Conv", "stem", "x", "a", [8, 3, 3, 3], { bias: 8, attributes: { pads } }),
    layer("Conv", "deep", "b", "c", [8, 1, 3, 3], { attributes: { pads, group: 8n }, bias: 8 }),
    layer("Conv", "point", "b", "d", [8, 8, 1, 1]),
    layer("Gemm", "head", "g", "y", [8, 5], { bias: 5 }),
  ];
  return build({
    opset,
    inputs: { x: [batch, 3, 8, 8] },
    nodes: [
      layers[0].node,
      makeNode("Relu", "relu", ["a"], ["b"]),
      layers[1].node,
      layers[2].node,
      makeNode("Add", "add", ["c", "d"], ["e"]),
      makeNode("GlobalAveragePool", "pool", ["e"], ["f"]),
      makeNode("Flatten", "flatten", ["f"], ["g"]),
      layers[3].node,
    ],
    initializers: layers.flatMap(({ initializers }) => initializers),
    outputs: ["y"],
  });
}

const GRANULARITIES: Granularity[] = [
  { kind: "tensor" },
  { kind: "channel" },
  { kind: "group", size: 8 },
];

for (const granularity of GRANULARITIES) {
  for (const bits of [2, 4, 5, 8]) {
    Deno.test(`the file agrees with its simulation: ${granularity.kind}, ${bits} bits`, async () => {
      const options = { bits, edgeBits: bits, granularity };
      const float = await run(classifier(), [3, 8, 8], { ...options, activationBits: "none" });
      assert(float.report.check!.mseToSimulation < 1e-10);
      const integer = await run(classifier(), [3, 8, 8], { ...options, activationBits: 8 });
      // Integer kernels round a few values to the neighbouring level.
      assert(integer.report.check!.mseToSimulation < 1e-3, "too far from the simulation");
      for (const { name, error } of [...float.report.layers, ...integer.report.layers]) {
        assert(error.final <= error.nearest * 1.000001, `${name} ends worse than nearest`);
      }
    });
  }
}

for (const format of ["packed", "matmulnbits"] as const) {
  for (const activationBits of ["none", 8, 4] as const) {
    Deno.test(`a ${format} file agrees with its simulation: activations ${activationBits}`, async () => {
      for (const bits of [3, 8]) {
        const { report } = await run(classifier(), [3, 8, 8], { bits, activationBits, format });
        const most = activationBits === "none" ? 1e-10 : 1e-3;
        assert(report.check!.mseToSimulation < most, `${report.check!.mseToSimulation}`);
      }
    });
  }
}

for (
  const kind of ["nearest", "stochastic", "adaround", "attention", "attention:gradient"] as const
) {
  Deno.test(`${kind} rounding never ends worse than nearest`, async () => {
    const { report } = await run(classifier(), [3, 8, 8], { bits: 3, activationBits: "none" }, {
      rounding: kind === "adaround" || kind === "attention:gradient"
        ? { kind, iterations: 60 }
        : { kind },
    });
    assertEquals(report.layers.length, 4);
    for (const { error } of report.layers) assert(error.final <= error.nearest * 1.000001);
  });
}

/** A model of one layer between two others, so that it gets the few bits. */
function between(op: string, shape: number[], attributes: Record<string, AttributeValue>): Model {
  const middle = layer(op, "middle", "a", "b", shape, { attributes });
  const first = layer("Conv", "first", "x", "a", [4, 4, 1, 1], { bias: 4 });
  const channels = op === "ConvTranspose" ? shape[1] * Number(attributes.group ?? 1n) : shape[0];
  const last = layer("Conv", "last", "b", "y", [3, channels, 1, 1], { bias: 3 });
  return build({
    opset: 13,
    inputs: { x: ["N", 4, 6, 6] },
    nodes: [first.node, middle.node, last.node],
    initializers: [first, middle, last].flatMap(({ initializers }) => initializers),
    outputs: ["y"],
  });
}

const MIDDLES: [string, string, number[], Record<string, AttributeValue>][] = [
  ["a grouped Conv", "Conv", [6, 2, 3, 3], { group: 2n, pads }],
  ["a ConvTranspose", "ConvTranspose", [4, 6, 2, 2], { strides: [2n, 2n] }],
  ["a grouped ConvTranspose", "ConvTranspose", [4, 3, 2, 2], { group: 2n, strides: [2n, 2n] }],
  ["a depthwise ConvTranspose", "ConvTranspose", [4, 1, 3, 3], { group: 4n }],
];

for (const [name, op, shape, attributes] of MIDDLES) {
  for (const granularity of GRANULARITIES) {
    Deno.test(`${name} is quantized faithfully: ${granularity.kind}`, async () => {
      const { report } = await run(between(op, shape, attributes), [4, 6, 6], {
        bits: 4,
        activationBits: "none",
        granularity,
      });
      assertEquals(report.layers.map(({ bits }) => bits), [8, 4, 8]);
      assert(report.check!.mseToSimulation < 1e-10);
      assert(report.check!.mseToFloat < 0.1, `error ${report.check!.mseToFloat}`);
    });
  }
}

Deno.test("a MatMul model is quantized faithfully, with and without integer activations", async () => {
  const layers = [
    layer("MatMul", "one", "x", "a", [6, 16]),
    layer("MatMul", "two", "b", "c", [16, 16]),
    layer("MatMul", "three", "c", "y", [16, 4]),
  ];
  const model = build({
    opset: 13,
    inputs: { x: ["N", 5, 6] },
    nodes: [layers[0].node, makeNode("Relu", "relu", ["a"], ["b"]), layers[1].node, layers[2].node],
    initializers: layers.flatMap(({ initializers }) => initializers),
    outputs: ["y"],
  });
  for (const activationBits of ["none", 8] as const) {
    const { report } = await run(model, [5, 6], { activationBits });
    assertEquals(report.layers.length, 3);
    assert(report.check!.mseToSimulation < 1e-3);
    assert(report.check!.mseToFloat < 0.02, `error ${report.check!.mseToFloat}`);
  }
});

Deno.test("a shared weight is rounded once and stays shared", async () => {
  const shared = layer("Conv", "first", "x", "a", [4, 4, 3, 3], { attributes: { pads } });
  const model = build({
    opset: 13,
    inputs: { x: ["N", 4, 6, 6] },
    nodes: [
      shared.node,
      makeNode("Relu", "relu", ["a"], ["b"]),
      makeNode("Conv", "second", ["b", "first_w"], ["y"], { pads }),
    ],
    initializers: shared.initializers,
    outputs: ["y"],
  });
  const { model: small, report } = await run(model, [4, 6, 6], { bits: 8 });
  const { node } = small.proto.graph;
  const weights = node.filter(({ opType }) => opType === "Conv").map(({ input }) => input[1]);
  assertEquals(weights, ["first_w", "first_w"]);
  assertEquals(node.filter(({ output }) => output[0] === "first_w").length, 1);
  assert(report.check!.mseToSimulation < 1e-3);
});

Deno.test("a channel with almost no weight and a large bias does not overflow", async () => {
  const first = layer("Conv", "first", "x", "a", [4, 3, 1, 1], { bias: 4 });
  const weight = noise(12, 5).map((value, i) => i < 3 ? value * 1e-13 : value);
  first.initializers[0] = floatTensor("first_w", [4, 3, 1, 1], weight);
  first.initializers[1] = floatTensor("first_b", [4], new Float32Array([3, 0.1, 0.2, 0.3]));
  const last = layer("Conv", "last", "a", "y", [2, 4, 1, 1], { bias: 2 });
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 4, 4] },
    nodes: [first.node, last.node],
    initializers: [...first.initializers, ...last.initializers],
    outputs: ["y"],
  });
  const { report } = await run(model, [3, 4, 4], { bits: 8 });
  assert(report.warnings.some((text) => text.includes("first")), "no warning");
  assert(report.check!.mseToSimulation < 1e-4);
  assert(report.check!.mseToFloat < 1e-3, `error ${report.check!.mseToFloat}`);
});

Deno.test("control flow is left alone, and what it reads stays right", async () => {
  const first = layer("Conv", "first", "x", "a", [4, 3, 1, 1], { bias: 4 });
  const last = layer("Conv", "last", "c", "y", [2, 4, 1, 1], { bias: 2 });
  const branch = (op: string) =>
    graphOf({
      inputs: {},
      nodes: [makeNode(op, op, ["a"], [`out_${op}`])],
      outputs: [`out_${op}`],
    });
  const choose = makeNode("If", "choose", ["yes"], ["c"]);
  choose.attribute.push(
    bodyAttribute("then_branch", branch("Relu")),
    bodyAttribute("else_branch", branch("Neg")),
  );
  const zero = floatTensor("zero", [], new Float32Array([0]));
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 4, 4] },
    nodes: [
      first.node,
      makeNode("ReduceSum", "sum", ["a"], ["s"], { keepdims: 0n }),
      makeNode("Greater", "greater", ["s", "zero"], ["yes"]),
      choose,
      last.node,
    ],
    initializers: [...first.initializers, ...last.initializers, zero],
    outputs: ["y"],
  });
  const { report } = await run(model, [3, 4, 4], { activationBits: "none" });
  assert(
    report.skipped.some(({ name, reason }) => name === "choose" && /control flow/.test(reason)),
  );
  assertEquals(report.layers.length, 2);
  assert(report.check!.mseToSimulation < 1e-10);
});

Deno.test("models with a fixed batch and of an old opset work", async () => {
  for (const batch of [1, 4]) {
    const { report } = await run(classifier(batch), [3, 8, 8], {}, { count: 50, heldOut: 4 });
    assert(report.check === null || report.check.mseToFloat < 0.1);
    assertEquals(report.samples.calibration % batch, 0);
  }
  const { model, report } = await run(classifier("N", 9), [3, 8, 8], { bits: 4 });
  assert(opsetOf(model) >= 21);
  assert(report.check!.mseToFloat < 0.1);
});

Deno.test("the seed decides the bytes, and the model says how it was made", async () => {
  const bytes = async (seed: number) => {
    const { model } = await run(classifier(), [3, 8, 8], { bits: 3 }, { seed });
    return serializeModel(model);
  };
  const first = await bytes(1);
  assertEquals(await bytes(1), first);
  assert((await bytes(2)).some((byte, i) => byte !== first[i]), "another seed changes nothing");
  const { model } = await run(classifier(), [3, 8, 8], { bits: 3 }, { seed: 1 });
  const metadata = new Map(model.proto.metadataProps.map(({ key, value }) => [key, value]));
  assertEquals(metadata.get("attune.seed"), "1");
  assertEquals(JSON.parse(metadata.get("attune.options")!).bits, 3);
  assertEquals(metadata.get("attune.calibration.digest")!.length, 16);
});

Deno.test("no samples, wrong samples and a fired signal are told apart", async () => {
  const refused = async (work: Promise<unknown>, code: string, text: string) => {
    const error = await assertRejects(() => work, AttuneError);
    assertEquals(error.code, code);
    assert(error.message.includes(text), error.message);
  };
  await refused(run(classifier(), [3, 8, 8], {}, { count: 0 }), "bad-data", "0 samples");
  using pool = inlinePool(await loadBackend("web"));
  const named = quantize(makePlan(classifier()), samples([3, 8, 8], 4, "other"), pool);
  await refused(named, "bad-data", `"x"`);
  const signal = AbortSignal.abort();
  await refused(run(classifier(), [3, 8, 8], {}, { signal }), "aborted", "Stopped");
});
