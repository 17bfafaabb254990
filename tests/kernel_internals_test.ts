/** Internals of the kernel one by one: the product that all others end in, and its random draws. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import * as reference from "./twins/kernel.ts";
import { both, onKernel } from "./helpers/kernel_internals.ts";
import { assertClose, random } from "./helpers/kernel_twins.ts";

/** Sizes around the edges of the kernel's tiles (4, 8) and blocks (64, 128, 256, 512). */
const SIZES = [0, 1, 3, 4, 5, 8, 15, 16, 17, 33];

Deno.test("gemm: every combination of small sizes", () => {
  for (const m of SIZES) {
    for (const n of SIZES) {
      for (const k of SIZES) {
        for (const accumulate of [false, true]) {
          const args = { a: random(m * k, 1), b: random(k * n, 2), c: random(m * n, 3), m, n, k };
          const { kernel, twin } = both("gemm", reference.gemm, { ...args, accumulate });
          assertClose(kernel.c, twin.c, 1e-5, `${m} x ${n} x ${k}`);
        }
      }
    }
  }
});

Deno.test("gemm: past the perRow of every dimension", () => {
  for (const [m, n, k] of [[129, 7, 3], [5, 515, 9], [4, 8, 259], [131, 513, 257]]) {
    const args = { a: random(m * k, 1), b: random(k * n, 2), c: new Float32Array(m * n), m, n, k };
    const { kernel, twin } = both("gemm", reference.gemm, { ...args, accumulate: false });
    assertClose(kernel.c, twin.c, 1e-4, `${m} x ${n} x ${k}`);
  }
});

Deno.test("gemm: a row does not depend on the rows beside it, to the last bit", () => {
  const m = 37, n = 45, k = 300;
  const a = random(m * k, 1), b = random(k * n, 2);
  const whole = onKernel("gemm", { a, b, c: new Float32Array(m * n), m, n, k }).args.c;
  for (const from of [0, 1, 2, 3, 30]) {
    const part = a.slice(from * k, (from + 6) * k);
    const { c } = onKernel("gemm", { a: part, b, c: new Float32Array(6 * n), m: 6, n, k }).args;
    assertEquals(c, whole.slice(from * n, (from + 6) * n));
  }
});

Deno.test("gemm: NaN reaches only the row that it takes part in; nothing in, nothing out", () => {
  const m = 7, n = 9, k = 33;
  const a = random(m * k, 1), b = random(k * n, 2), c = new Float32Array(m * n);
  const product = (a: Float32Array) => onKernel("gemm", { a, b, c, m, n, k }).args.c;
  const clean = product(a), broken = product(a.with(3 * k + 5, NaN));
  broken.forEach((value, i) => {
    if (Math.floor(i / n) === 3) assert(Number.isNaN(value), `element ${i}`);
    else assertEquals(value, clean[i]);
  });
  const none = new Float32Array(0);
  for (const [m, n, k] of [[0, 3, 2], [3, 0, 2]]) {
    const a = random(m * k, 1), b = random(k * n, 2);
    assertEquals(onKernel("gemm", { a, b, c: none, m, n, k }).args.c.length, 0);
  }
});

Deno.test("erf of the twins: known values", () => {
  // Abramowitz and Stegun, table 7.1, and Wolfram's digits beyond.
  const known = [[0, 0], [0.5, 0.5204998778], [1, 0.8427007929], [1.5, 0.9661051465]];
  for (const [x, value] of [...known, [2, 0.995322265], [3, 0.9999779095]]) {
    assertClose([reference.erf(x), reference.erf(-x)], [value, -value], 1e-10);
  }
  assertEquals([reference.erf(Infinity), reference.erf(-Infinity), reference.erf(7)], [1, -1, 1]);
  assert(Number.isNaN(reference.erf(NaN)));
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
