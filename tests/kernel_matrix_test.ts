import { assertEquals } from "std/assert/equals.js";
import { assert } from "std/assert/assert.js";
import * as reference from "./twins/kernel.ts";
import { assertClose, both, onKernel, random, spd } from "./helpers/kernel_twins.ts";

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

Deno.test("gemm: past the blocks of every dimension", () => {
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

Deno.test("gram: groups of any depth, added to what is there", () => {
  for (const d of [1, 2, 3, 4, 5, 9, 10, 15, 16, 17, 40, 130, 530]) {
    for (const p of d > 500 ? [5] : [0, 1, 3, 4, 16, 17, 67]) {
      const groups = d > 50 ? 1 : 3;
      const h = new Float32Array(groups * d * d).fill(1), sum = random(groups * d, 2);
      const args = { x: random(groups * d * p, 1), h, sum, groups, d, p };
      const { kernel, twin } = both("gram", reference.gram, args);
      reference.mirror({ h: twin.h, groups, d });
      const mirrored = onKernel("mirror", { h: kernel.h, groups, d }).args.h;
      assertClose(mirrored, twin.h, 1e-5, `h of d ${d}, p ${p}`);
      assertClose(kernel.sum, twin.sum, 1e-5, `sum of d ${d}, p ${p}`);
    }
  }
});

Deno.test("gram: sums of many values keep their digits", () => {
  const p = 100_000, x = new Float32Array(p).fill(0.1);
  const { h, sum } =
    onKernel("gram", { x, h: new Float32Array(1), sum: new Float32Array(1), groups: 1, d: 1, p })
      .args;
  assertClose(sum, [p * Math.fround(0.1)], 1e-7);
  assertClose(h, [p * Math.fround(0.1) ** 2], 1e-5);
});

Deno.test("cross: groups of any size", () => {
  for (const [groups, o, d, p] of [[1, 1, 1, 1], [3, 2, 9, 33], [2, 7, 17, 65], [4, 1, 9, 5]]) {
    const r = random(groups * o * d, 3);
    const args = { y: random(groups * o * p, 1), x: random(groups * d * p, 2), r, groups, o, d, p };
    const { kernel, twin } = both("cross", reference.cross, args);
    assertClose(kernel.r, twin.r, 1e-5, `${groups} x ${o} x ${d} x ${p}`);
  }
});

Deno.test("cholesky: factors, log-determinants and solutions", () => {
  for (const n of [1, 2, 9, 15, 16, 17, 63, 64, 65, 130, 300]) {
    const groups = n > 50 ? 1 : 3, { h } = spd(groups, n, n);
    const { kernel, twin, results } = both("cholesky", reference.cholesky, { h, groups, n });
    assertEquals(results, [-1, -1]);
    assertClose(kernel.h, twin.h, 2e-5, `U of ${n}`);
    for (const rows of [0, 1, 13]) {
      const b = random(groups * rows * n, 3), u = twin.h;
      const solved = both("solve", reference.solve, { u, b, groups, rows, n });
      assertClose(solved.kernel.b, solved.twin.b, 1e-3, `solution of ${n}`);
    }
    const [determinant, expected] = both("logDet", reference.logDet, { u: twin.h, n }).results;
    assertClose([determinant as number], [expected as number], 1e-12);
  }
});

Deno.test("cholesky: names the pivot that is not positive and finite", () => {
  for (const bad of [0, 5, 70]) {
    for (const value of [0, -1, NaN, Infinity]) {
      const n = 71, h = new Float32Array(n * n);
      for (let i = 0; i < n; i++) h[i * n + i] = i === bad ? value : 1;
      assertEquals(both("cholesky", reference.cholesky, { h, groups: 1, n }).results, [bad, bad]);
    }
  }
  // Rank 1 has no second pivot.
  const h = Float32Array.of(4, 2, 2, 1);
  assertEquals(onKernel("cholesky", { h, groups: 1, n: 2 }).result, 1);
});

Deno.test("codingLength: agrees with the determinant for any shape and distortion", () => {
  for (const [rows, d] of [[0, 0], [1, 1], [1, 9], [9, 1], [2, 2], [5, 17], [17, 5], [33, 40]]) {
    const w = random(rows * d, 1);
    const [bits, expected] = both("codingLength", reference.codingLength, { w, rows, d })
      .results as ((epsilon: number) => number)[];
    for (const epsilon of [10, 1, 0.1, 0.001]) {
      assertClose([bits(epsilon)], [expected(epsilon)], 1e-6, `${rows} x ${d}, ${epsilon}`);
    }
  }
});

Deno.test("codingLength: a matrix of rank 1 or 0 costs what its one direction costs", () => {
  const rows = 8, d = 12, epsilon = 0.01;
  const length = (w: Float32Array) =>
    (onKernel("codingLength", { w, rows, d }).result as (epsilon: number) => number)(epsilon);
  assertEquals(length(new Float32Array(rows * d)), 0);
  const one = new Float32Array(rows * d).fill(1);
  const expected = (rows + d) / 2 * Math.log2(1 + rows / (d * epsilon ** 2) * rows * d);
  assertClose([length(one)], [expected], 1e-9);
  assert(length(random(rows * d, 1)) > 4 * expected);
});
