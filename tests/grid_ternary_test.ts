/** Weights of three levels, from their scales to the written file. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { level } from "./twins/kernel.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { plan, type PlanOptions } from "../mod.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { ternaryScale, ternaryScales } from "../src/round/ternary.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";
import { random } from "./helpers/kernel_twins.ts";

/** Σ h (s·q − w)² with the nearest levels. */
function errorOf(w: Float32Array, h: Float32Array, s: number): number {
  return w.reduce((sum, x, j) => sum + h[j] * (s * level(x / s, -1, 1) - x) ** 2, 0);
}

Deno.test("ternaryScale: no other scale has a smaller error", () => {
  for (const size of [1, 2, 3, 15, 16, 17, 100]) {
    for (let seed = 1; seed <= 10; seed++) {
      const w = random(size, seed), h = random(size, seed + 100).map(Math.abs);
      // Ties between magnitudes, and weights that count for nothing.
      if (seed % 2 === 0) w.forEach((x, j) => w[j] = Math.round(2 * x) / 2);
      if (seed % 3 === 0) h.fill(0, 0, size >> 1);
      const least = errorOf(w, h, ternaryScale(w, h));
      for (let s = 0.01; s < 4; s += 0.01) assert(least <= errorOf(w, h, s) + 1e-9, `${size} ${s}`);
    }
  }
});

Deno.test("ternaryScale: no weights, zeros, one weight", () => {
  const one = (...w: number[]) =>
    ternaryScale(Float32Array.from(w), new Float32Array(w.length).fill(1));
  assertEquals([one(), one(0), one(0, -0), one(-3), one(2, 2, -2)], [1, 1, 1, 3, 2]);
  // What counts for nothing decides nothing.
  assertEquals(ternaryScale(Float32Array.of(9, 1), Float32Array.of(0, 1)), 1);
});

Deno.test("ternaryScales: rows, groups and perRow, each by its own weights", () => {
  using kernel = Kernel.create();
  const groups = 2, rows = 3, d = 17, groupSize = 8, perRow = 3;
  const w = random(groups * rows * d, 1), h = random(groups * d, 2).map(Math.abs);
  const scale = kernel.f32(groups * rows * perRow);
  const sizes = { groups, rows, d, groupSize };
  ternaryScales({ ...sizes, target: kernel.f32(w), importance: kernel.f32(h), scale });
  scale.view.forEach((found, i) => {
    const row = Math.floor(i / perRow),
      from = i % perRow * groupSize,
      to = Math.min(d, from + groupSize);
    const part = (all: Float32Array, r: number) => all.subarray(r * d + from, r * d + to);
    const expected = ternaryScale(part(w, row), part(h, Math.floor(row / rows)));
    assertAlmostEquals(found, expected, 1e-6);
  });
});

/** Two layers, the first of three levels. */
function model(): Model {
  return build({
    opset: 13,
    inputs: { x: ["N", 6, 8, 8] },
    nodes: [
      makeNode("Conv", "one", ["x", "one_w"], ["a"]),
      makeNode("Relu", "relu", ["a"], ["b"]),
      makeNode("Conv", "two", ["b", "two_w"], ["y"]),
    ],
    initializers: [
      floatTensor("one_w", [8, 6, 3, 3], noise(432, 3)),
      floatTensor("two_w", [5, 8, 1, 1], noise(40, 4)),
    ],
    outputs: ["y"],
  });
}

async function* samples() {
  for (let i = 0; i < 24; i++) {
    yield { inputs: { x: { dims: [6, 8, 8], data: noise(384, i + 1) } }, source: `noise ${i}` };
  }
}

Deno.test("a plan of ternary layers, all or some", () => {
  const kinds = (options: Parameters<typeof plan>[1]) =>
    plan(model(), options).layers.map(({ grid, bits }) =>
      grid.kind === "ternary" ? "ternary" : bits
    );
  assertEquals(kinds({ bits: "ternary" }), [8, 8]);
  assertEquals(kinds({ bits: "ternary", edgeBits: 2 }), ["ternary", "ternary"]);
  assertEquals(kinds({ overrides: [{ pattern: "one", bits: "ternary" }] }), ["ternary", 8]);
  assertEquals(plan(model(), { bits: "ternary", edgeBits: 2 }).layers[0].bytesAfter, 216 + 32);
  const error = assertThrows(() => plan(model(), { bits: "binary" as "ternary" }), AttuneError);
  assertEquals(error.code, "bad-option");
});

for (
  const options of [
    {},
    { granularity: { kind: "tensor" }, activationBits: 8 },
    { granularity: { kind: "group", size: 18 } },
    { format: "packed" },
    { format: "packed", activationBits: 8 },
    { format: "packed", granularity: { kind: "group", size: 18 } },
  ] satisfies PlanOptions[]
) {
  const what = JSON.stringify(options);
  Deno.test(`a ternary file has three levels, and computes what was simulated: ${what}`, async () => {
    using pool = inlinePool(await loadBackend("web"));
    const all = { activationBits: "none", bits: "ternary", edgeBits: 2, ...options } as const;
    const made = plan(model(), all);
    const { model: small, report } = await quantize(made, samples(), pool);
    const { error, levels, grid } = report.layers[0];
    assertEquals([levels, grid], [{ lo: -1, hi: 1 }, "ternary"]);
    assert(error.final < error.nearest, `${error.final} of ${error.nearest}`);
    assert(report.check!.mseToSimulation < 1e-3, `${report.check!.mseToSimulation}`);
    const { y } = await runModel(small, { x: value([1, 6, 8, 8]) });
    assertEquals([...y.dims], [1, 5, 6, 6]);
  });
}

Deno.test("packed ternary levels take five to a byte", () => {
  const made = plan(model(), { bits: "ternary", edgeBits: 2, format: "packed" });
  assertEquals(made.layers.map(({ storage, bytesAfter }) => [storage.bits, bytesAfter]), [
    [1.6, Math.ceil(432 / 5) + 32],
    [1.6, 8 + 20],
  ]);
});
