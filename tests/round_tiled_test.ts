/** Layers too deep for all of their Gram matrix. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { gramPlan } from "../src/plan/memory.ts";
import { levelWindows } from "../src/weights/levels.ts";
import { makePlan } from "../src/plan/plan.ts";
import type { Target } from "../src/weights/target.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { solveTiled } from "../src/round/tiled.ts";
import type { Problem } from "../src/round/problem.ts";
import { solveLayer } from "../src/round/solve.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";
import { finish } from "../src/round/work.ts";

const target = (depth: number, rows = 8, groups = 1) =>
  ({ name: "fc", groups, rows, depth }) as Target;

Deno.test("gramPlan: all of H where it fits, else the largest blocks that divide the depth", () => {
  const channel = { kind: "channel" } as const;
  assertEquals(gramPlan(target(4608), channel), { kind: "full" });
  assertEquals(gramPlan(target(25088, 4096), channel), { kind: "tiles", size: 1792 });
  assertEquals(gramPlan(target(20011), channel), { kind: "tiles", size: 1 });
  assertEquals(gramPlan(target(9, 1, 960), channel), { kind: "full" });
  assertEquals(gramPlan(target(25600), { kind: "group", size: 100 }), {
    kind: "tiles",
    size: 1600,
  });
  const error = assertThrows(
    () => gramPlan(target(25600, 10000), { kind: "tensor" }),
    AttuneError,
    "GiB",
  );
  assertEquals(error.code, "too-large");
});

/** A problem whose H has no products between blocks of `size` inputs. */
function problem(groups: number, rows: number, depth: number, size: number): [Problem, Problem] {
  const parts = depth / size, samples = 3 * size;
  const blocks = new Float32Array(groups * parts * size * size);
  const whole = new Float32Array(groups * depth * depth);
  const x = noise(groups * depth * samples, 5);
  for (let g = 0; g < groups; g++) {
    for (let part = 0; part < parts; part++) {
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          const row = (index: number) => (g * depth + part * size + index) * samples;
          let sum = 0;
          for (let k = 0; k < samples; k++) sum += x[row(i) + k] * x[row(j) + k];
          blocks[((g * parts + part) * size + i) * size + j] = sum;
          whole[(g * depth + part * size + i) * depth + part * size + j] = sum;
        }
      }
    }
  }
  const shared = {
    groups,
    rows,
    depth,
    windows: levelWindows(3, true),
    grid: { kind: "uniform" } as const,
    groupSize: depth,
    oneScale: false,
    weight: noise(groups * rows * depth, 7),
    damping: 1e-6,
    method: { kind: "attention", candidates: 1 } as const,
    refit: false,
    seed: 1,
    stream: 0,
  };
  return [
    { ...shared, gram: blocks, gramTile: size },
    { ...shared, gram: whole, gramTile: depth },
  ];
}

Deno.test("solveTiled: what all of H gives, where H consists of its blocks", () => {
  using kernel = Kernel.create();
  for (const [groups, rows, depth, size] of [[1, 5, 24, 8], [3, 2, 12, 4], [1, 3, 16, 16]]) {
    for (const more of [{}, { oneScale: true }, { groupSize: 4 }]) {
      const [blocked, whole] = problem(groups, rows, depth, size);
      const expected = finish(solveLayer(kernel, { ...whole, ...more }));
      const { levels, scales, lows, error } = finish(solveTiled(kernel, { ...blocked, ...more }));
      assertEquals([scales, lows], [expected.scales, expected.lows]);
      // The better of two roundings is kept for each part of a row here, and for each row there.
      const what = `${groups} × ${rows} × ${depth} in ${size}: ${JSON.stringify(more)}`;
      const same = levels.filter((level, i) => level === expected.levels[i]).length;
      assert(same > 0.9 * levels.length, `${same} of ${levels.length} levels, ${what}`);
      assert(error.final < 1.0001 * expected.error.final, what);
      assertAlmostEquals(error.nearest, expected.error.nearest, 1e-4 * error.nearest, what);
      assert(error.final < error.nearest, `${error.final} of ${error.nearest}`);
    }
  }
});

Deno.test("solveTiled: all parts of a row have its window", () => {
  using kernel = Kernel.create();
  const [blocked] = problem(1, 5, 24, 8), windows = levelWindows(3, false);
  const { levels, lows, error } = finish(solveTiled(kernel, { ...blocked, windows }));
  assert(new Set(lows).size > 1 && lows.every((lo) => windows.lows.includes(lo)), `${lows}`);
  levels.forEach((level, i) => {
    const lo = lows[Math.floor(i / 24)];
    assert(level >= lo && level <= lo + windows.span, `${level} from ${lo} on`);
  });
  assert(error.final < error.nearest);
});

Deno.test("solveTiled: the same levels, however rows are shared", () => {
  using kernel = Kernel.create();
  const [one] = problem(1, 6, 24, 8);
  const blocked = { ...one, method: { kind: "attention", candidates: 8 } as const };
  const whole = finish(solveTiled(kernel, blocked)).levels, width = blocked.depth;
  for (const [from, to] of [[0, 2], [2, 6]]) {
    const weight = blocked.weight.slice(from * width, to * width);
    const share = { ...blocked, rows: to - from, weight, stream: blocked.stream + from };
    assertEquals(finish(solveTiled(kernel, share)).levels, whole.slice(from * width, to * width));
  }
});

/** A single MatMul that is 15,360 inputs deep. */
function deep(): Model {
  const depth = 15360, rows = 3;
  return build({
    opset: 13,
    inputs: { x: ["N", depth] },
    nodes: [makeNode("MatMul", "fc", ["x", "w"], ["y"])],
    initializers: [floatTensor("w", [depth, rows], noise(depth * rows, 3))],
    outputs: ["y"],
  });
}

Deno.test("a layer too deep for its Gram matrix is planned and rounded in blocks", async () => {
  const made = makePlan(deep(), { bits: 3, edgeBits: 3, activationBits: "none" });
  assertEquals(made.layers[0].gram, { kind: "tiles", size: 1920 });
  using pool = inlinePool(await loadBackend("web"));
  async function* samples() {
    for (let i = 0; i < 40; i++) {
      // All inputs of a sample vary together, so that there is something to make up for.
      const data = noise(15360, i + 1).map((value, j) => value + Math.sin(i * 7 + j % 5));
      yield { inputs: { x: { dims: [15360], data } }, source: `noise ${i}` };
    }
  }
  const { report } = await quantize(made, samples(), pool);
  const [{ error }] = report.layers;
  assert(error.final < 0.5 * error.nearest, `${error.final} of ${error.nearest}`);
  assert(report.check!.mseToSimulation < 1e-6, `${report.check!.mseToSimulation}`);
});
