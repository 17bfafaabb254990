import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../src/onnx/tensor.ts";
import { type Override, plan, type PlanOptions, quantize } from "../mod.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import { build, noise } from "./helpers/models.ts";

/** Layers `stem`, `a`, `b`, `c` and `head`; a, b and c share a weight. */
function towers(): Model {
  const layer = (name: string, input: string, weight: string) => [
    makeNode("MatMul", name, [input, weight], [`${name}_out`]),
    makeNode("Relu", "", [`${name}_out`], [`${name}_relu`]),
  ];
  return build({
    opset: 17,
    inputs: { x: ["N", 24] },
    nodes: [
      ...layer("stem", "x", "first"),
      ...layer("a", "stem_relu", "w"),
      ...layer("b", "a_relu", "w"),
      ...layer("c", "b_relu", "w"),
      makeNode("MatMul", "head", ["c_relu", "last"], ["y"]),
    ],
    initializers: [
      floatTensor("first", [24, 24], noise(576)),
      floatTensor("w", [24, 24], noise(576, 2)),
      floatTensor("last", [24, 24], noise(576, 3)),
    ],
    outputs: ["y"],
  });
}

async function* samples(): AsyncGenerator<Sample> {
  for (let i = 0; i < 16; i++) {
    yield { inputs: { x: { dims: [24], data: noise(24, i + 1) } }, source: `${i}` };
  }
}

const CASES: Record<string, [overrides: Override[], bits: Record<string, number | "float">]> = {
  "one differs": [[{ pattern: "b", bits: 6 }], { a: 4, b: 6, c: 4 }],
  "one stays in float": [[{ pattern: "c", bits: "skip" }], { a: 4, b: 4, c: "float" }],
  "all differ": [
    [{ pattern: "a", bits: 3 }, { pattern: "b", bits: 5 }],
    { a: 3, b: 5, c: 4 },
  ],
  "by the weight, and one by its name": [
    [{ pattern: "w", bits: 8 }, { pattern: "a", bits: 2 }],
    { a: 2, b: 8, c: 8 },
  ],
  "by the weight alone": [[{ pattern: "w", bits: 5 }], { a: 5, b: 5, c: 5 }],
  "all skipped": [[{ pattern: "w", bits: "skip" }], { a: "float", b: "float", c: "float" }],
};

for (const [name, [overrides, bits]] of Object.entries(CASES)) {
  Deno.test(`overrides of layers with one weight are kept: ${name}`, async () => {
    const options: PlanOptions = { overrides, activationBits: "none", format: "packed" };
    const made = plan(towers(), options);
    using pool = inlinePool(await loadBackend("web"));
    const { model } = await quantize(made, samples(), pool);
    const found = Object.fromEntries(["a", "b", "c"].map((layer) => {
      const own = made.layers.find(({ target }) => target.name === layer);
      return [layer, own?.bits ?? "float"];
    }));
    assertEquals(found, bits);
    // As many weights are kept as there are widths.
    const widths = new Set(Object.values(bits));
    const weights = new Set(made.layers.map(({ target }) => target.weight));
    assertEquals(weights.size, 2 + [...widths].filter((width) => width !== "float").length);
    const floats = model.proto.graph.initializer.filter(({ dataType, dims }) =>
      dataType === DataType.FLOAT && dims.length === 2 && dims.every((size) => size === 24n)
    );
    assertEquals(floats.length, widths.has("float") ? 1 : 0);
    for (const layer of ["a", "b", "c"]) {
      if (bits[layer] !== "float") continue;
      assert(made.skipped.some((own) => own.name === layer && own.reason === "override"));
    }
  });
}

Deno.test("a weight that an edge layer shares has the width of edges everywhere", () => {
  const model = towers();
  for (const node of model.proto.graph.node) {
    node.input = node.input.map((name) => name === "last" ? "w" : name);
  }
  const { layers } = plan(model, { bits: 4 });
  assertEquals(layers.map(({ bits }) => bits), [8, 8, 8, 8, 8]);
});

Deno.test("every float weight above 1 kB is listed once, with its size and the reason", () => {
  const lstm = makeNode("LSTM", "lstm", ["turned", "lw", "lr"], ["", "h"], { hidden_size: 16n });
  const custom = makeNode("Spin", "custom", ["s", "spin"], ["t"]);
  custom.domain = "elsewhere";
  const model = build({
    opset: 17,
    inputs: { ids: ["N", 4] },
    types: { ids: DataType.INT64 },
    nodes: [
      makeNode("Gather", "embed", ["table", "ids"], ["e"]),
      makeNode("Transpose", "", ["e"], ["turned"], { perm: [1n, 0n, 2n] }),
      lstm,
      makeNode("Squeeze", "", ["h", "zero"], ["q"]),
      makeNode("Einsum", "ein", ["q", "ew"], ["s"], { equation: "bi,ij->bj" }),
      custom,
      makeNode("Mul", "scale", ["t", "long"], ["u"]),
      makeNode("MatMul", "layer", ["u", "w"], ["v"]),
      makeNode("MatMul", "cubed", ["v", "cube"], ["y"]),
    ],
    initializers: [
      floatTensor("table", [30, 16], noise(480)),
      floatTensor("lw", [1, 64, 16], noise(1024)),
      floatTensor("lr", [1, 64, 16], noise(1024)),
      floatTensor("ew", [16, 16], noise(256)),
      floatTensor("spin", [16, 16], noise(256)),
      rawTensor("long", DataType.DOUBLE, [1, 300], new Uint8Array(2400)),
      floatTensor("w", [300, 16], noise(4800)),
      floatTensor("cube", [2, 16, 16], noise(512)),
      int64Tensor("zero", [1], [0]),
    ],
    outputs: ["y"],
  });
  assertEquals(
    plan(model).skipped.map(({ name, reason, weight, bytes }) => [name, reason, weight, bytes]),
    [
      ["cubed", "weight of more than two dimensions", "cube", 2048],
      ["embed", "embedding table", "table", 1920],
      ["lstm", "recurrent layer", "lw", 4096],
      ["lstm", "recurrent layer", "lr", 4096],
      ["ein", "operator is not quantized", "ew", 1024],
      ["custom", "custom operator", "spin", 1024],
      ["scale", "vector", "long", 2400],
    ],
  );
});
