import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { Kernel } from "../src/kernel/kernel.ts";
import * as reference from "./twins/kernel.ts";
import { assertClose, both, onKernel } from "./helpers/kernel_twins.ts";

Deno.test("erf: known values, and one unit in the last place of a float32", () => {
  using kernel = Kernel.create();
  // Abramowitz and Stegun, table 7.1, and Wolfram's digits beyond.
  const known = [[0, 0], [0.5, 0.5204998778], [1, 0.8427007929], [1.5, 0.9661051465]];
  for (const [x, value] of [...known, [2, 0.995322265], [3, 0.9999779095]]) {
    assertClose([kernel.erf(x), kernel.erf(-x)], [value, -value], 1e-10);
  }
  assertEquals([kernel.erf(Infinity), kernel.erf(-Infinity), kernel.erf(7)], [1, -1, 1]);
  assert(Number.isNaN(kernel.erf(NaN)));
  for (let x = -6.5; x < 6.5; x += 0.0173) {
    const expected = reference.erf(x), unit = 2 ** (Math.floor(Math.log2(Math.abs(expected))) - 23);
    assert(Math.abs(Math.fround(kernel.erf(x)) - expected) <= unit, `erf(${x})`);
  }
  for (const x of [1e-300, 1e-40, 1e-10]) {
    assertClose([kernel.erf(x) / x], [2 / Math.sqrt(Math.PI)], 1e-12);
  }
});

Deno.test("normals: the published vectors of philox, and its quantiles by Newton's method", () => {
  // The known answers of Random123 for philox2x32 with seven rounds.
  assertEquals(reference.philox(0, 0, 0), 0x257a3673);
  assertEquals(reference.philox(-1, -1, -1), 0xab302c4d);
  const { kernel, twin } = both("normals", reference.normals, {
    out: new Float32Array(2000),
    seed: 0xDEADBEEF,
    stream: 12345,
  });
  // The kernel's quantile is a rational approximation, the twin's is found by iteration.
  assertClose(kernel.out, twin.out, 2e-6);
});

Deno.test("normals: chi-squared over 64 equal cells, moments, and streams that share nothing", () => {
  const length = 200_000, cells = 64;
  const draw = (seed: number, stream: number) =>
    onKernel("normals", { out: new Float32Array(length), seed, stream }).args.out;
  const borders = Array.from({ length: cells - 1 }, (_, i) => reference.quantile((i + 1) / cells));
  const first = draw(1, 0);
  for (const values of [first, draw(1, 1), draw(2, 0), draw(0xFFFFFFFF, 0xFFFFFFFF)]) {
    const counts = new Array<number>(cells).fill(0);
    for (const value of values) {
      let low = 0, high = cells - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (value < borders[middle]) high = middle;
        else low = middle + 1;
      }
      counts[low]++;
    }
    const expected = length / cells;
    const chiSquared = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // The 0.0001 and 0.9999 quantiles for 63 degrees of freedom.
    assert(chiSquared > 28 && chiSquared < 114, `chi-squared ${chiSquared}`);
    const moment = (power: number) =>
      values.reduce((sum, value) => sum + value ** power, 0) / length;
    assertClose([moment(1), moment(2), moment(3), moment(4)], [0, 1, 0, 3], 0.06);
    if (values === first) continue;
    const correlation = values.reduce((sum, value, i) => sum + value * first[i], 0) / length;
    assert(Math.abs(correlation) < 5 / Math.sqrt(length), `correlation ${correlation}`);
  }
});

Deno.test("normals: a draw depends on its index alone, not on how many are drawn", () => {
  const long = onKernel("normals", { out: new Float32Array(100), seed: 5, stream: 6 }).args.out;
  const short = onKernel("normals", { out: new Float32Array(37), seed: 5, stream: 6 }).args.out;
  assertEquals(short, long.slice(0, 37));
});
