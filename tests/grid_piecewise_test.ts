/** Grids with dense levels in the middle and sparse ones in the tails. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { plan, type PlanOptions, quantize, serializeModel } from "../mod.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../src/calibrate/checkpoint.ts";
import { AttuneError } from "../src/errors.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { levelWindows } from "../src/weights/levels.ts";
import { solveTiled } from "../src/round/tiled.ts";
import {
  codebookGrids,
  codebookProblem,
  codebooksOf,
  nearestLevel,
} from "../src/round/codebook.ts";
import type { Problem } from "../src/round/problem.ts";
import { codebookErrors } from "../src/round/scales.ts";
import { solveLayer } from "../src/round/solve.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { EnginePool, inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";
import { random, spd } from "./helpers/kernel_twins.ts";
import { finish } from "../src/round/work.ts";

/** Weights of which a few are large. */
const heavy = (size: number, seed: number) => random(size, seed).map((x) => x * x * x);

const totalOf = (values: Float64Array) => values.reduce((a, b) => a + b, 0);

Deno.test("codebooksOf: as many levels as of the width, rising bytes, dense in the middle", () => {
  for (const bits of [2, 3, 4, 5, 6, 7]) {
    const codebooks = codebooksOf(bits);
    assert(codebooks.length > 0, `${bits}`);
    for (const levels of codebooks) {
      assertEquals(levels.length, 2 ** bits);
      assert(levels.includes(0), `${levels}`);
      const gaps = [...levels.subarray(1)].map((level, i) => level - levels[i]);
      assert(gaps.every((gap) => gap > 0) && gaps.some((gap) => gap > 1), `${levels}`);
      const middle = gaps.indexOf(1);
      assert(
        gaps.every((gap, i) => i === 0 || (i <= middle ? gap <= gaps[i - 1] : gap >= gaps[i - 1])),
      );
    }
    assertEquals(new Set(codebooks.map(String)).size, codebooks.length);
  }
});

Deno.test("nearestLevel: no level is nearer, within and beyond the range, moved or not", () => {
  for (const bits of [2, 3, 4, 7]) {
    for (const codebook of codebooksOf(bits)) {
      for (const offset of [0, 1, -1]) {
        const nearest = nearestLevel(codebook, codebook[0] + offset);
        const levels = [...codebook].map((level) => level + offset);
        for (let value = levels[0] - 3; value < levels.at(-1)! + 3; value += 0.125) {
          const found = nearest(value), off = Math.abs(found - value);
          assert(levels.includes(found), `${found} of ${levels}`);
          assert(levels.every((level) => Math.abs(level - value) >= off), `${value} of ${levels}`);
        }
        assertEquals([nearest(-Infinity), nearest(Infinity)], [levels[0], levels.at(-1)]);
      }
    }
  }
});

Deno.test("codebookProblem: rows may begin where zero is among dense levels, all of them bytes", () => {
  for (const bits of [2, 3, 4, 7]) {
    for (const codebook of codebooksOf(bits)) {
      const { span, lows } = codebookProblem(codebook, false).windows;
      assertEquals([lows[0], lows[0] + span], [codebook[0], codebook.at(-1)]);
      assertEquals(new Set(lows).size, lows.length);
      assertEquals(codebookProblem(codebook, true).windows.lows, [codebook[0]]);
      for (const lo of lows) {
        const offset = lo - lows[0];
        assert(codebook[0] + offset >= -128 && codebook.at(-1)! + offset <= 127);
        assert(
          codebook.includes(-offset) &&
            (codebook.includes(-offset - 1) || codebook.includes(-offset + 1)),
        );
      }
    }
  }
});

/** The squared error of `weights` on a grid that begins at `low`, each by its importance. */
function codebookError(
  weights: Float32Array,
  importance: Float32Array,
  { codebook, low, scale }: { codebook: Int8Array; low: number; scale: number },
): number {
  const nearest = nearestLevel(codebook, low);
  return weights.reduce(
    (sum, x, j) => sum + importance[j] * (scale * nearest(x / scale) - x) ** 2,
    0,
  );
}

Deno.test("codebookGrids: each row by its own weights, and no scale or place that was tried is better", () => {
  using kernel = Kernel.create();
  const [codebook] = codebooksOf(3),
    made = codebookProblem(codebook, false),
    { lows } = made.windows;
  const sizes = [[1, 0, 4, 4], [2, 3, 1, 1], [1, 4, 15, 15], [2, 2, 17, 8]];
  for (const [groups, rows, d, groupSize] of sizes) {
    const perRow = Math.ceil(d / groupSize), all = groups * rows;
    // Some rows lean to one side.
    const h = random(groups * d, 2).map(Math.abs);
    const w = heavy(all * d, 1).map((x, i) => x + Math.floor(i / d) % 3);
    w.fill(0, 0, Math.min(d, w.length));
    const scale = kernel.f32(all * perRow), lo = kernel.f32(all);
    const args = {
      target: kernel.f32(w),
      importance: kernel.f32(h),
      groups,
      rows,
      d,
      groupSize,
      scale,
      lo,
    };
    const told = codebookGrids(codebook, made.windows, args);
    let sum = 0;
    for (let row = 0; row < all; row++) {
      assert(lows.includes(lo.view[row]));
      if (row === 0) assert(scale.view.subarray(0, perRow).every((s) => s === 1));
      for (let b = 0; b < perRow; b++) {
        const from = b * groupSize, to = Math.min(d, from + groupSize);
        const part = w.subarray(row * d + from, row * d + to);
        const importance = h.subarray(Math.floor(row / rows) * d + from);
        const error = (low: number, scale: number) =>
          codebookError(part, importance, { codebook, low, scale });
        const found = error(lo.view[row], scale.view[row * perRow + b]);
        sum += found;
        for (const low of perRow > 1 ? [lo.view[row]] : lows) {
          const high = low + made.windows.span;
          const full = Math.max(...part.map((x) => x < 0 ? x / low : x / high));
          // At other places only every fourth scale is tried.
          const step = low === lo.view[row] ? 0.02 : 0.08;
          for (let shrink = 0.2 + step; full > 0 && shrink < 1.001; shrink += step) {
            assert(
              found <= error(low, full * shrink) * (1 + 1e-5),
              `${row}, ${b}: ${low}, ${shrink}`,
            );
          }
        }
      }
    }
    assertAlmostEquals(totalOf(told), sum, 1e-5 * Math.max(1, sum));
  }
});

/** The problem of some rows with heavy tails whose inputs are correlated. */
function problem(
  groups: number,
  rows: number,
  depth: number,
  more: Partial<Problem> = {},
): Problem {
  return {
    groups,
    rows,
    depth,
    windows: levelWindows(3, false),
    grid: { kind: "uniform" },
    groupSize: depth,
    oneScale: false,
    weight: heavy(groups * rows * depth, 5),
    gram: spd(groups, depth, 3).h,
    gramTile: depth,
    damping: 0.01,
    method: { kind: "attention", candidates: 4 },
    refit: true,
    seed: 1,
    stream: 0,
    ...more,
  };
}

Deno.test("solveLayer: levels of the codebook, much better than nearest, and than even ones", () => {
  using kernel = Kernel.create();
  const codebooks = codebooksOf(3);
  for (const more of [{}, { oneScale: true }, { groupSize: 12 }]) {
    const plain = problem(1, 12, 48, more);
    const [even, ...errors] = codebookErrors(kernel, plain, codebooks).map(totalOf),
      least = Math.min(...errors);
    const best = codebooks[errors.indexOf(least)], what = JSON.stringify(more);
    assert(least < even, `${what}: ${least}, ${even}`);
    const found = finish(solveLayer(kernel, { ...plain, ...codebookProblem(best, false) }));
    const of = found.levels.map((level, i) => level - found.lows[Math.floor(i / 48)] + best[0]);
    assert(of.every((level) => best.includes(level)), `${of}`);
    assert(of.includes(best[0]) && of.includes(best.at(-1)!), "the tails are not used");
    const uniform = finish(solveLayer(kernel, plain));
    assert(found.error.final < 0.7 * found.error.nearest, `${what}: ${found.error.final}`);
    assert(found.error.final < 0.95 * uniform.error.final, `${what}: ${uniform.error.final}`);
  }
});

Deno.test("solveLayer: with the codebook of all integers about as good as without one", () => {
  using kernel = Kernel.create();
  const plain = problem(2, 20, 40);
  const codebook = Int8Array.of(-4, -3, -2, -1, 0, 1, 2, 3);
  const found = finish(solveLayer(kernel, { ...plain, ...codebookProblem(codebook, false) })),
    even = finish(solveLayer(kernel, plain));
  assert(Math.abs(found.error.final / even.error.final - 1) < 0.05);
  // Nearest rounding searches its scales a little otherwise.
  assert(Math.abs(found.error.nearest / even.error.nearest - 1) < 0.05);
  // What even levels leave is told by the same measure.
  const [own, other] = codebookErrors(kernel, plain, [codebook]).map(totalOf);
  assert(Math.abs(own / other - 1) < 0.02, `${own}, ${other}`);
});

Deno.test("solveLayer: shares of rows give the bytes of the whole; tiles of H keep to the levels", () => {
  using kernel = Kernel.create();
  const [codebook] = codebooksOf(3), whole = problem(1, 20, 16, codebookProblem(codebook, false));
  const found = finish(solveLayer(kernel, whole));
  for (const [from, to] of [[0, 1], [1, 8], [14, 20]]) {
    const weight = whole.weight.slice(from * 16, to * 16);
    const part = finish(solveLayer(kernel, { ...whole, rows: to - from, weight, stream: from }));
    assertEquals(part.levels, found.levels.slice(from * 16, to * 16));
    assertEquals(part.scales, found.scales.slice(from, to));
    assertEquals(part.lows, found.lows.slice(from, to));
  }
  const blocked = finish(solveTiled(kernel, { ...whole, gram: spd(2, 8, 4).h, gramTile: 8 }));
  const of = blocked.levels.map((level, i) => level - blocked.lows[i >> 4] + codebook[0]);
  assert(of.every((level) => codebook.includes(level)));
  assert(blocked.error.final < blocked.error.nearest);
});

/** Two layers with heavy tails between edges. */
function model(): Model {
  return build({
    opset: 13,
    inputs: { x: ["N", 6, 8, 8] },
    nodes: [
      makeNode("Conv", "one", ["x", "one_w"], ["a"]),
      makeNode("Relu", "relu", ["a"], ["b"]),
      makeNode("Conv", "two", ["b", "two_w"], ["c"]),
      makeNode("Relu", "relu2", ["c"], ["d"]),
      makeNode("Conv", "three", ["d", "three_w"], ["y"]),
    ],
    initializers: [
      floatTensor("one_w", [8, 6, 3, 3], heavy(432, 3)),
      floatTensor("two_w", [10, 8, 3, 3], heavy(720, 4)),
      floatTensor("three_w", [5, 10, 1, 1], heavy(50, 5)),
    ],
    outputs: ["y"],
  });
}

async function* samples() {
  for (let i = 0; i < 32; i++) {
    const data = noise(384, i + 1).map((x, j) => x + Math.sin(i + j % 7));
    yield { inputs: { x: { dims: [6, 8, 8], data } }, source: `noise ${i}` };
  }
}

Deno.test("a piecewise plan: bytes, all widths but 8, nothing nested", () => {
  const layers = (options: PlanOptions) =>
    plan(model(), { grid: "piecewise", ...options }).layers.map(({ bits, grid, storage }) =>
      `${bits} ${grid.kind} in ${storage.bits}`
    );
  assertEquals(layers({}), ["8 uniform in 8", "4 piecewise in 8", "8 uniform in 8"]);
  assertEquals(layers({ overrides: [{ pattern: "two", bits: "ternary" }] })[1], "2 ternary in 4");
  assertThrows(() => plan(model(), { grid: "piecewise", nested: [8, 4] }), AttuneError, "nested");
});

Deno.test("a piecewise file computes what was simulated, with less error than a uniform one", async () => {
  const runtime = await loadBackend("web");
  for (
    const options of [
      { activationBits: "none" },
      { activationBits: 8, granularity: { kind: "tensor" } },
      { activationBits: "none", granularity: { kind: "group", size: 18 } },
      { activationBits: "none", format: "packed" },
      { activationBits: 8, format: "packed" },
    ] as const
  ) {
    const run = async (grid: "uniform" | "piecewise") => {
      using pool = inlinePool(runtime);
      const made = plan(model(), { bits: 3, grid, ...options });
      return (await quantize(made, samples(), pool)).report;
    };
    const uniform = await run("uniform"), piecewise = await run("piecewise");
    const what = JSON.stringify(options);
    assert(piecewise.check!.mseToSimulation < 1e-3, `${what}: ${piecewise.check!.mseToSimulation}`);
    const [own, other] = [piecewise, uniform].map(({ layers }) => layers[1]);
    assert(
      own.error.final < 0.95 * other.error.final,
      `${what}: ${own.error.final}, ${other.error.final}`,
    );
    assertEquals(own.grid, "3 piecewise");
    assert(own.levels.hi - own.levels.lo > 7, "no tails");
  }
});

Deno.test("a piecewise or nested file has the same bytes, however many workers there are", async () => {
  const runtime = await loadBackend("web");
  for (const options of [{ bits: 3, grid: "piecewise" }, { nested: [8, 4] }] as const) {
    const files = [];
    for (const workers of [1, 3]) {
      // Engines in the same thread share nothing but the runtime.
      const pools = Array.from({ length: workers }, () => inlinePool(runtime));
      using pool = new EnginePool(pools.flatMap(({ clients }) => clients), () => {});
      files.push(serializeModel((await quantize(plan(model(), options), samples(), pool)).model));
    }
    assertEquals(files[0], files[1]);
  }
});

Deno.test("piecewise grids and learned rounding refuse each other; a checkpoint keeps the levels", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const made = plan(model(), { grid: "piecewise" });
  for (
    const options of [
      { rounding: { kind: "adaround" } },
      { reconstruction: { kind: "blocks" } },
    ] as const
  ) {
    const error = await assertRejects(() => quantize(made, samples(), pool, options), AttuneError);
    assertEquals(error.code, "bad-option");
  }
  const rounding = {
    levels: Int8Array.of(1, -5),
    scales: Float32Array.of(2),
    lows: Int8Array.of(-5),
    bias: undefined,
    codebook: codebooksOf(3)[0],
  };
  const layers = new Map([["one", { rounding, error: { nearest: 2, final: 1 } }]]);
  const state = { segments: 1, layers, grids: new Map(), warnings: [], blocks: [] };
  assertEquals(await decodeCheckpoint("f", await encodeCheckpoint({}, state), {}), state);
});
