/** The arithmetic of choosing widths, against brute force on small cases. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { clusterValues } from "../src/allocate/clusters.ts";
import {
  errorOfJointLength,
  errorOfLength,
  jointLengthPerWeight,
  lengthPerWeight,
  solveFalling,
} from "../src/strategies/coding_length.ts";
import { spectrumOf } from "../src/round/spectrum.ts";
import { type Option, solveKnapsack } from "../src/allocate/knapsack.ts";
import type { LayerMeasures } from "../src/allocate/layer_measures.ts";
import { type OutputMeasures, WIDTHS } from "../src/strategies/measures.ts";
import { STRATEGIES } from "../src/strategies/strategies.ts";
import { eigenvaluesOf } from "../src/round/eigenvalues.ts";
import { jointLength, nuclearNorm } from "../src/strategies/spectrum.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import type { LayerPlan } from "../src/weights/layer.ts";
import { noise } from "./helpers/models.ts";
import * as reference from "./twins/kernel.ts";

/** All ways to choose one of `counts[i]` for each i. */
function* choices(counts: readonly number[]): Generator<number[]> {
  if (counts.length === 0) return yield [];
  for (const rest of choices(counts.slice(1))) {
    for (let i = 0; i < counts[0]; i++) yield [i, ...rest];
  }
}

/** `count` whole numbers from `least` up to below `end`, by a seed. */
function wholes(count: number, least: number, end: number, seed: number): number[] {
  return [...noise(count, seed)].map((v) => Math.floor(least + (v + 1) / 2 * (end - least)));
}

Deno.test("the knapsack finds what trying everything finds", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const counts = wholes(5, 1, 5, seed);
    const items: Option[][] = counts.map((count, i) => {
      const costs = wholes(count, 1, 30, seed * 7 + i), losses = noise(count, seed * 11 + i);
      return costs.map((cost, k) => ({ bits: k, cost, loss: (losses[k] + 1) * 40 / cost }));
    });
    for (const budget of [10, 25, 40, 60, 200]) {
      let best = Infinity;
      for (const chosen of choices(counts)) {
        const picked = chosen.map((option, i) => items[i][option]);
        if (picked.reduce((sum, { cost }) => sum + cost, 0) > budget) continue;
        best = Math.min(best, picked.reduce((sum, { loss }) => sum + loss, 0));
      }
      const found = solveKnapsack(items, budget)?.map((option, i) => items[i][option]);
      if (best === Infinity) {
        assertEquals(found, undefined);
        continue;
      }
      assert(found!.reduce((sum, { cost }) => sum + cost, 0) <= budget, "over the budget");
      assertAlmostEquals(found!.reduce((sum, { loss }) => sum + loss, 0), best, 1e-6);
    }
  }
});

/** Squared distances of `values` to the means of their clusters. */
function scatter(values: readonly number[], clusters: readonly number[]): number {
  return [...new Set(clusters)].reduce((sum, cluster) => {
    const own = values.filter((_, i) => clusters[i] === cluster);
    const mean = own.reduce((a, b) => a + b, 0) / own.length;
    return sum + own.reduce((a, b) => a + (b - mean) ** 2, 0);
  }, 0);
}

Deno.test("clusters are the best of all, and numbered by their means", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const values = [...noise(7, seed)].map((v, i) => i === 3 ? 0.25 : v);
    for (const count of [1, 2, 3]) {
      const found = clusterValues(values, count);
      let best = Infinity;
      for (const all of choices(values.map(() => count))) {
        best = Math.min(best, scatter(values, all));
      }
      assertAlmostEquals(scatter(values, found), best, 1e-6);
      for (const [i, a] of values.entries()) {
        for (const [j, b] of values.entries()) assert(!(a < b && found[i] > found[j]), `${found}`);
      }
    }
  }
  assertEquals(clusterValues([3, 1], 5), [1, 0]);
  assertEquals(clusterValues([2, 2, 2], 2).length, 3);
  assertEquals(clusterValues([], 3), []);
});

/** A layer of which only the figures matter. */
function layerOf(weights: number, outputs?: Partial<OutputMeasures>): LayerMeasures {
  const spectrum = { groups: 1, rows: 2, depth: 3, eigenvalues: new Float64Array([5, 2]) };
  const defaults = { spectrum, errors: WIDTHS.map((bits) => 4 ** -bits), trace: 1, sensitivity: 1 };
  return {
    layer: {} as LayerPlan,
    weights,
    free: true,
    spectrum,
    weightErrors: WIDTHS.map((bits) => 4 ** -bits),
    outputs: outputs && { ...defaults, ...outputs },
  };
}

Deno.test("coding lengths fall with the error, and their inverses are inverses", () => {
  const errors = [0.2, 0.03, 0.006, 0.002, 4e-4, 1e-4, 3e-5];
  for (const measures of [layerOf(9), layerOf(9, { errors })]) {
    let before = Infinity;
    for (const error of [1e-5, 1e-3, 0.1, 1]) {
      const length = lengthPerWeight(measures, error);
      assert(length < before && length > 0);
      before = length;
      assertAlmostEquals(errorOfLength(measures, length), error, 1e-9);
      const joint = jointLengthPerWeight(measures, error);
      assertAlmostEquals(errorOfJointLength(measures, joint), error, 1e-6);
    }
  }
  // With samples a layer of 4 bits has the error that 4 bits really give.
  assertAlmostEquals(errorOfLength(layerOf(9, { errors }), 4), 0.006, 1e-12);
  assertEquals(lengthPerWeight(layerOf(9, { errors: errors.map(() => 0) }), 0.1), 0);
  assertAlmostEquals(solveFalling((level) => -level, -3), 3, 1e-6);
});

Deno.test("where bits can be cut fine, all weights add the same distortion to the outputs", () => {
  const layers = [[10, 4], [40, 1], [250, 0.25]].map(([weights, sensitivity]) =>
    layerOf(weights, { sensitivity })
  );
  const fine = Array.from({ length: 601 }, (_, i) => 2 + i / 100);
  const items = layers.map((own) =>
    fine.map((bits) => ({
      bits,
      cost: Math.round(100 * bits * own.weights),
      loss: STRATEGIES["coding-length"].loss(own, bits),
    }))
  );
  const chosen = solveKnapsack(items, 4 * 300 * 100)!;
  const distortion = chosen.map((option, i) => items[i][option].loss / layers[i].weights);
  for (const own of distortion) assertAlmostEquals(own / distortion[0], 1, 0.05);
});

/** The product of two square matrices. */
function product(a: Float64Array, b: Float64Array, n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, at) => {
    const row = Math.floor(at / n), column = at % n;
    let sum = 0;
    for (let k = 0; k < n; k++) sum += a[row * n + k] * b[k * n + column];
    return sum;
  });
}

Deno.test("eigenvalues have the sums of powers that traces tell", () => {
  for (const n of [1, 2, 3, 8, 21]) {
    const diagonal = Float64Array.from(noise(n, n), (v) => v + 3),
      beside = Float64Array.from(noise(n, 9));
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      matrix[i * n + i] = diagonal[i];
      if (i > 0) matrix[i * n + i - 1] = matrix[(i - 1) * n + i] = beside[i - 1];
    }
    const values = eigenvaluesOf(diagonal, beside);
    let power: Float64Array = matrix;
    for (let k = 1; k <= 4; k++) {
      const trace = diagonal.reduce((sum, _, i) => sum + power[i * n + i], 0);
      const sum = values.reduce((total, value) => total + value ** k, 0);
      assertAlmostEquals(sum, trace, 1e-9 * Math.abs(trace));
      power = product(power, matrix, n);
    }
  }
  assertEquals([...eigenvaluesOf(new Float64Array([4, 0, 1]), new Float64Array(3))], [4, 0, 1]);
});

Deno.test("coding length in output space: with H = I that of the weights, as the twin's", () => {
  using kernel = Kernel.create();
  for (const [groups, rows, depth] of [[1, 5, 9], [1, 12, 4], [3, 2, 6]]) {
    const weight = noise(groups * rows * depth, rows);
    const gram = new Float32Array(groups * depth * depth);
    for (let i = 0; i < groups * depth; i++) gram[i * depth + i % depth] = 1;
    const shape = { groups, rows, depth };
    const problem = { ...shape, weight, gramTile: depth, damping: 1e-9 };
    const plain = spectrumOf(kernel, problem), shaped = spectrumOf(kernel, { ...problem, gram });
    for (const squared of [1e-4, 0.01, 1]) {
      const length = jointLength({ ...shape, eigenvalues: plain }, squared);
      const other = jointLength({ ...shape, eigenvalues: shaped }, squared);
      assertAlmostEquals(other, length, 1e-4 * length);
      let expected = 0;
      for (let g = 0; g < groups; g++) {
        const w = weight.slice(g * rows * depth, (g + 1) * rows * depth);
        expected += reference.codingLength({ w, rows, d: depth })(Math.sqrt(squared));
      }
      assertAlmostEquals(length, expected, 1e-6 * expected);
    }
  }
});

Deno.test("coding length weighs inputs by a diagonal H, whole or in blocks; the nuclear norm sums singular values", () => {
  using kernel = Kernel.create();
  const weight = new Float32Array([3, 0, 0, 0, 0, 4, 0, 0]);
  const gram = new Float32Array(16);
  [1, 4, 9, 16].forEach((value, j) => gram[j * 5] = value);
  const problem = { groups: 1, rows: 2, depth: 4, weight, damping: 1e-9 };
  const sorted = (values: Float64Array) => [...values].sort((a, b) => a - b);
  const whole = spectrumOf(kernel, { ...problem, gram, gramTile: 4 });
  // Row 0 reads input 0 (9 · 1), row 1 input 1 (16 · 4).
  sorted(whole).forEach((value, i) => assertAlmostEquals(value, [9, 64][i], 1e-4));
  const blocks = new Float32Array([1, 0, 0, 4, 9, 0, 0, 16]);
  const apart = spectrumOf(kernel, { ...problem, gram: blocks, gramTile: 2 });
  sorted(apart).forEach((value, i) => assertAlmostEquals(value, [9, 64][i], 1e-4));
  const eigenvalues = spectrumOf(kernel, { ...problem, gramTile: 4 });
  assertAlmostEquals(nuclearNorm({ groups: 1, rows: 2, depth: 4, eigenvalues }), 7, 1e-6);
});
