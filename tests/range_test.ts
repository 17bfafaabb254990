/** Ranges of activations. */

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
