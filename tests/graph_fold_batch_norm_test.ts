import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { foldBatchNorm } from "../src/graph/fold_batch_norm.ts";
import { Graph } from "../src/graph/graph.ts";
import { type AttributeValue, copyModel, makeNode, type Model } from "../src/onnx/model.ts";
import type { TensorProto } from "../src/onnx/gen/onnx_pb.ts";
import { floatTensor, sizeOf } from "../src/onnx/tensor.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";

/** Scale, shift, mean and variance of `channels` channels, all different; variances above 0. */
function norm(channels: number, prefix = "bn"): TensorProto[] {
  return ["scale", "shift", "mean", "var"].map((part, i) =>
    floatTensor(
      `${prefix}_${part}`,
      [channels],
      noise(channels, 7 + i).map((v) => part === "var" ? 0.3 + Math.abs(v) : v + 0.1),
    )
  );
}

function normNode(input: string, output: string, prefix = "bn") {
  return makeNode(
    "BatchNormalization",
    prefix,
    [input, ...["scale", "shift", "mean", "var"].map((part) => `${prefix}_${part}`)],
    [output],
    { epsilon: 0.01 },
  );
}

function weight(name: string, dims: number[], seed = 3): TensorProto {
  return floatTensor(name, dims, noise(sizeOf(dims), seed));
}

/** A layer and a BatchNormalization after it. */
function layerAndNorm(
  op: string,
  input: number[],
  weightDims: number[],
  channels: number,
  attributes: Record<string, AttributeValue>,
  bias: boolean,
): Model {
  return build({
    opset: 13,
    inputs: { x: input },
    nodes: [
      makeNode(op, "layer", bias ? ["x", "w", "b"] : ["x", "w"], ["h"], attributes),
      normNode("h", "y"),
    ],
    initializers: [weight("w", weightDims), weight("b", [channels], 4), ...norm(channels)],
    outputs: ["y"],
  });
}

/** Asserts that the outputs of `model` before and after folding agree to float32 rounding. */
async function assertFoldsTo(model: Model, folded: string[], ops: string[]): Promise<Model> {
  const result = copyModel(model);
  assertEquals(foldBatchNorm(result), folded);
  assertEquals(result.proto.graph.node.map((node) => node.opType), ops);
  const dims = new Graph(model).inputs[0].dims as number[];
  const feeds = { x: value(dims) };
  const [before, after] = [await runModel(model, feeds), await runModel(result, feeds)];
  for (const [name, { data }] of Object.entries(before)) {
    const differences = Array.from(
      data as Float32Array,
      (v, i) => Math.abs(v - Number(after[name].data[i])),
    );
    const largest = Math.max(...Array.from(data as Float32Array, Math.abs));
    assertEquals(after[name].dims, before[name].dims);
    assert(Math.max(...differences) <= 2e-6 * (1 + largest), `${Math.max(...differences)}`);
  }
  return result;
}

const layers: [string, number[], number[], number, Record<string, AttributeValue>][] = [
  ["Conv", [2, 4, 5, 5], [6, 4, 3, 3], 6, { pads: [1n, 1n, 1n, 1n] }],
  ["Conv", [1, 4, 5, 5], [6, 2, 3, 3], 6, { group: 2n }],
  ["Conv", [1, 4, 5, 5], [4, 1, 3, 3], 4, { group: 4n }],
  ["Conv", [1, 3, 9], [5, 3, 3], 5, { strides: [2n] }],
  ["ConvTranspose", [1, 4, 5, 5], [4, 6, 3, 3], 6, { strides: [2n, 2n] }],
  ["ConvTranspose", [1, 4, 5, 5], [4, 3, 3, 2], 6, { group: 2n }],
  ["ConvTranspose", [1, 4, 5, 5], [4, 1, 3, 3], 4, { group: 4n }],
  ["Gemm", [3, 4], [4, 6], 6, {}],
  ["Gemm", [3, 4], [6, 4], 6, { transB: 1n }],
];

for (const [op, input, weightDims, channels, attributes] of layers) {
  const text = JSON.stringify(attributes, (_, v) => typeof v === "bigint" ? Number(v) : v);
  for (const bias of [false, true]) {
    Deno.test(`foldBatchNorm: ${op} ${text} ${bias ? "with" : "without"} a bias`, async () => {
      const model = layerAndNorm(op, input, weightDims, channels, attributes, bias);
      const folded = await assertFoldsTo(model, ["bn"], [op]);
      // What the folded form does not read is gone.
      assertEquals(folded.proto.graph.initializer.length, 2);
    });
  }
}

Deno.test("foldBatchNorm: two layers that share a weight are folded apart", async () => {
  const model = build({
    opset: 13,
    inputs: { x: [1, 3, 4, 4] },
    nodes: [
      makeNode("Conv", "a", ["x", "w"], ["ha"]),
      normNode("ha", "ya", "bn"),
      makeNode("Conv", "b", ["x", "w"], ["hb"]),
      normNode("hb", "yb", "bn2"),
      makeNode("Conv", "c", ["x", "w"], ["yc"]),
    ],
    initializers: [
      weight("w", [2, 3, 3, 3]),
      ...norm(2),
      ...norm(2, "bn2").map((tensor, i) => weight(tensor.name, [2], 40 + i)).map((tensor) =>
        tensor.name === "bn2_var" ? floatTensor(tensor.name, [2], Float32Array.of(1, 2)) : tensor
      ),
    ],
    outputs: ["ya", "yb", "yc"],
  });
  await assertFoldsTo(model, ["bn", "bn2"], ["Conv", "Conv", "Conv"]);
});

Deno.test("foldBatchNorm: one after another", async () => {
  const model = layerAndNorm("Conv", [1, 3, 4, 4], [2, 3, 1, 1], 2, {}, true);
  const { graph } = model.proto;
  graph.node[1].output[0] = "z";
  graph.node.push(normNode("z", "y", "bn2"));
  graph.initializer.push(...norm(2, "bn2"));
  await assertFoldsTo(model, ["bn", "bn2"], ["Conv"]);
});

Deno.test("foldBatchNorm: what must stay stays", async () => {
  const usual = () => layerAndNorm("Conv", [1, 3, 4, 4], [2, 3, 1, 1], 2, {}, true);
  const both = ["Conv", "BatchNormalization"];

  const readElsewhere = usual();
  readElsewhere.proto.graph.node.push(makeNode("Relu", "", ["h"], ["r"]));
  readElsewhere.proto.graph.output.push({ ...readElsewhere.proto.graph.output[0], name: "r" });
  await assertFoldsTo(readElsewhere, [], [...both, "Relu"]);

  const isOutput = usual();
  isOutput.proto.graph.output.push({ ...isOutput.proto.graph.output[0], name: "h" });
  await assertFoldsTo(isOutput, [], both);

  const scaled = layerAndNorm("Gemm", [3, 4], [4, 6], 6, { alpha: 2 }, true);
  await assertFoldsTo(scaled, [], ["Gemm", "BatchNormalization"]);

  // A weight that is computed.
  const computed = usual();
  const { graph } = computed.proto;
  graph.node.unshift(makeNode("Neg", "", ["w"], ["w_negative"]));
  graph.node[1].input[1] = "w_negative";
  await assertFoldsTo(computed, [], ["Neg", ...both]);

  // A normalization of the input, which nothing precedes.
  const first = build({
    opset: 13,
    inputs: { x: [1, 2, 3, 3] },
    nodes: [normNode("x", "y")],
    initializers: norm(2),
    outputs: ["y"],
  });
  await assertFoldsTo(first, [], ["BatchNormalization"]);

  const foreign = usual();
  foreign.proto.graph.node[0].domain = "com.example";
  assertEquals(foldBatchNorm(foreign), []);
  const training = usual();
  training.proto.graph.node[1].output.push("mean");
  assertEquals(foldBatchNorm(training), []);
});

Deno.test("foldBatchNorm: the model that was copied stays as it was", () => {
  const model = layerAndNorm("Conv", [1, 3, 4, 4], [2, 3, 1, 1], 2, {}, false);
  foldBatchNorm(copyModel(model));
  const { node, initializer } = model.proto.graph;
  assertEquals(node.map((n) => [n.opType, n.input.length, n.output[0]]), [
    ["Conv", 2, "h"],
    ["BatchNormalization", 5, "y"],
  ]);
  assertEquals(initializer.map((tensor) => tensor.name).slice(0, 2), ["w", "b"]);
});

Deno.test("branches that share weight and normalization share what is folded", async () => {
  const branches = (second: TensorProto[], prefix: string) => {
    const norms = [normNode("ha", "na"), normNode("hb", "nb", prefix)];
    norms.forEach((node, i) => node.name = `norm ${i}`);
    return build({
      opset: 13,
      inputs: { x: [1, 4, 5, 5] },
      nodes: [
        makeNode("Conv", "a", ["x", "w"], ["ha"]),
        norms[0],
        makeNode("Relu", "", ["na"], ["ra"]),
        makeNode("Conv", "b", ["x", "w"], ["hb"]),
        norms[1],
        makeNode("Add", "", ["ra", "nb"], ["y"]),
      ],
      initializers: [weight("w", [6, 4, 3, 3]), ...norm(6), ...second],
      outputs: ["y"],
    });
  };
  const ops = ["Conv", "Relu", "Conv", "Add"];
  const shared = await assertFoldsTo(branches([], "bn"), ["norm 0", "norm 1"], ops);
  assertEquals(shared.proto.graph.initializer.length, 2);
  // Another normalization makes another weight.
  const other = await assertFoldsTo(branches(norm(6, "other"), "other"), ["norm 0", "norm 1"], ops);
  assertEquals(other.proto.graph.initializer.length, 4);
});
