/**
 * Layers whose statistics say little: every method still gives levels, and none worse than nearest.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { momentsOf } from "../src/engine/statistics.ts";
import { AttuneError } from "../src/errors.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { levelWindows } from "../src/weights/levels.ts";
import type { RoundingMethod } from "../src/round/methods.ts";
import type { Problem } from "../src/round/problem.ts";
import { solveLayer } from "../src/round/solve.ts";
import { noise } from "./helpers/models.ts";
import { finish } from "../src/round/work.ts";

const METHODS: RoundingMethod[] = [
  { kind: "nearest" },
  { kind: "stochastic" },
  { kind: "attention", candidates: 4 },
  { kind: "attention:gradient", iterations: 20 },
  { kind: "adaround", iterations: 20 },
];

/** H of `columns`, each a function of the sample's number, one after another for `groups`. */
function gramOf(groups: number, depth: number, column: (i: number, sample: number) => number) {
  const h = new Float32Array(groups * depth * depth);
  for (let at = 0; at < h.length; at++) {
    const i = Math.floor(at / depth) % depth, j = at % depth;
    let sum = 0;
    for (let sample = 0; sample < 40; sample++) sum += column(i, sample) * column(j, sample);
    h[at] = sum / 40;
  }
  return h;
}

const random = noise(4000, 3);
const CASES: Record<string, (i: number, sample: number) => number> = {
  "all inputs the same": (_, sample) => random[sample],
  "inputs that never change": () => 2.5,
  "inputs that are zero": () => 0,
  "one input that is not zero": (i, sample) => i === 0 ? random[sample] : 0,
  "fewer samples than inputs": (i, sample) => sample < 2 ? random[10 * i + sample] : 0,
  "tiny inputs": (i, sample) => 1e-18 * random[10 * i + sample],
  "huge inputs": (i, sample) => 1e15 * random[10 * i + sample],
};
const SIZES = [[1, 1, 1], [1, 1, 9], [1, 9, 1], [3, 2, 5], [5, 1, 4], [1, 4, 17]];

Deno.test("degenerate statistics: every method, every shape", () => {
  using kernel = Kernel.create();
  for (const [name, column] of Object.entries(CASES)) {
    for (const [groups, rows, depth] of SIZES) {
      const weight = noise(groups * rows * depth, 7);
      // Rows of zeros have nothing to round.
      if (rows > 1) weight.fill(0, 0, depth);
      const problem: Omit<Problem, "method"> = {
        ...{ groups, rows, depth, weight, groupSize: depth, gramTile: depth, oneScale: false },
        windows: levelWindows(3, false),
        grid: { kind: "uniform" },
        gram: gramOf(groups, depth, column),
        ...{ damping: 0.01, refit: true, seed: 1, stream: 0 },
      };
      for (const method of METHODS) {
        const { levels, scales, error } = finish(solveLayer(kernel, { ...problem, method }));
        const what = `${name}, ${groups} × ${rows} × ${depth}, ${method.kind}`;
        assertEquals(levels.length, weight.length);
        assert(scales.every((s) => s > 0 && Number.isFinite(s)), `${what}: scales ${scales}`);
        assert(error.final <= error.nearest && error.final >= 0, `${what}: ${error.final}`);
        if (rows > 1) assert(levels.subarray(0, depth).every((q) => q === 0), what);
      }
    }
  }
});

Deno.test("an H that is indefinite is refused, and says what helps", () => {
  using kernel = Kernel.create();
  const problem: Problem = {
    ...{ groups: 1, rows: 2, depth: 2, weight: noise(4, 1), groupSize: 2, gramTile: 2 },
    gram: Float32Array.of(1, 5, 5, 1),
    windows: levelWindows(3, false),
    grid: { kind: "uniform" },
    ...{ oneScale: false, damping: 0.01, refit: true, seed: 1, stream: 0 },
    method: { kind: "attention" },
  };
  const error = assertThrows(
    () => finish(solveLayer(kernel, problem)),
    AttuneError,
    "Cannot factor a layer's Gram matrix (input 1): give more samples or more damping",
  );
  assertEquals([error.code, error.remedies], ["bad-data", [{ option: "damping" }]]);
  // Enough of it makes it definite.
  const { levels } = finish(solveLayer(kernel, { ...problem, damping: 10 }));
  assertEquals(levels.length, 4);
});

Deno.test("finish: an input that never changes has no covariance, whatever float32 makes of it", () => {
  using kernel = Kernel.create();
  const depth = 5, rows = 2, p = 3001;
  const x = noise(depth * p, 1), y = noise(rows * p, 2);
  x.fill(3.3, 2 * p, 3 * p);
  const [columns, results] = [kernel.f32(x), kernel.f32(y)];
  const [gram, cross] = [kernel.f32(depth * depth), kernel.f32(rows * depth)];
  const inputSum = kernel.f32(depth), outputSum = new Float32Array(rows);
  kernel.gram({ x: columns, h: gram, sum: inputSum, groups: 1, d: depth, p });
  kernel.cross({ y: results, x: columns, r: cross, groups: 1, o: rows, d: depth, p });
  kernel.mirror({ h: gram, groups: 1, d: depth });
  for (let r = 0; r < rows; r++) {
    outputSum[r] = y.subarray(r * p, (r + 1) * p).reduce((sum, value) => sum + value, 0);
  }
  const sums = () => ({
    count: p,
    gram: gram.view.slice(),
    cross: cross.view.slice(),
    inputSum: inputSum.view.slice(),
    outputSum: outputSum.slice(),
  });
  const centred = momentsOf([sums()], { rows, depth }, { centred: true });
  for (let i = 0; i < depth; i++) {
    assertEquals([centred.gram[2 * depth + i], centred.gram[i * depth + 2]], [0, 0]);
    if (i !== 2) assert(centred.gram[i * depth + i] > 0.1);
  }
  for (let r = 0; r < rows; r++) assertEquals(centred.cross[r * depth + 2], 0);
  // Where no bias makes up for means, it counts as any other.
  assert(momentsOf([sums()], { rows, depth }, { centred: false }).gram[2 * depth + 2] > 10);
});
