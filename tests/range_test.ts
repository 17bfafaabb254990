/** Ranges of activations. */

import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { RangeObserver } from "../src/engine/range.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { noise } from "./helpers/models.ts";

const kernel = Kernel.create();
const observed = (...parts: Float32Array[]) => {
  const observer = new RangeObserver(kernel);
  for (const part of parts) observer.add(part);
  return observer;
};

Deno.test("RangeObserver: the range of all finite values, past a chunk of the kernel's", () => {
  const values = noise(2 ** 18 + 77, 3);
  values[5] = NaN;
  values[7] = -Infinity;
  values[2 ** 18 + 70] = 1.5;
  values[2 ** 18 + 71] = Infinity;
  const { min, max } = observed(values).state;
  const finite = values.filter(Number.isFinite);
  assertEquals([min, max], [finite.reduce((a, b) => Math.min(a, b)), 1.5]);
  assertEquals(observed(new Float32Array(0)).grid({ kind: "minmax" }, 8).scale, 1);
});

Deno.test("RangeObserver: parts add up in any order, and through a merge", () => {
  const [a, b] = [noise(3000, 1), noise(2000, 2).map((value) => 40 * value)];
  const whole = observed(a, b), turned = observed(b, a), merged = new RangeObserver();
  merged.merge(observed(a).state);
  merged.merge(observed(b).state);
  assertEquals(turned.state, whole.state);
  assertEquals(merged.state, whole.state);
});

Deno.test("RangeObserver: zero is a level of every grid; 4 bits clip outliers by mse", () => {
  const values = noise(20_000, 4).map((value) => value + 0.5);
  values[100] = 60;
  const observer = observed(values);
  for (const bits of [4, 8] as const) {
    for (const kind of ["minmax", "mse", "percentile"] as const) {
      const { scale, zeroPoint, lo, hi } = observer.grid({ kind }, bits);
      assert(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint < 2 ** bits);
      assert(lo <= 0 && hi >= 0 && Math.abs((hi - lo) / (2 ** bits - 1) - scale) < 1e-6);
    }
  }
  assertEquals(observer.grid({ kind: "minmax" }, 4).hi, 60);
  assert(observer.grid({ kind: "mse" }, 4).hi < 40);
});

Deno.test("what a range clips, and how far channels spread, are those of the values", () => {
  const dims = [2, 3, 8, 8], widths = [1, 2, 10], random = noise(384, 5);
  const values = random.map((value, i) => value * widths[Math.floor(i / 64) % 3]);
  const whole = new RangeObserver(kernel), merged = new RangeObserver();
  whole.add(values, dims);
  for (const half of [values.subarray(192), values.subarray(0, 192)]) {
    const part = new RangeObserver(kernel);
    part.add(half, [1, ...dims.slice(1)]);
    merged.merge(part.state);
  }
  const ranges = widths.map((_, c) => {
    const channel = values.filter((_, i) => Math.floor(i / 64) % 3 === c);
    return Math.max(...channel) - Math.min(...channel);
  });
  const spread = ranges.toSorted((a, b) => a - b)[2] / ranges.toSorted((a, b) => a - b)[1];
  const [lo, hi] = [-2, 2], outside = values.filter((value) => value < lo || value > hi).length;
  for (const observer of [whole, merged]) {
    const facts = observer.facts({ lo, hi });
    assertAlmostEquals(facts.spread!, spread, 1e-5);
    assertAlmostEquals(facts.clipped!, outside / values.length, 0.005);
    assertEquals(observer.facts(observer.grid({ kind: "minmax" }, 8)).clipped, 0);
  }
  const mixed = new RangeObserver(kernel);
  mixed.add(values, dims);
  mixed.add(values, [2, 6, 4, 8]);
  assertEquals("spread" in mixed.facts({ lo, hi }), false, "shapes that disagree");
});
