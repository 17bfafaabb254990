import { assertEquals } from "std/assert/equals.js";
import { assert } from "std/assert/assert.js";
import * as reference from "./twins/kernel.ts";
import { assertClose, both, onKernel, random, spd } from "./helpers/kernel_twins.ts";

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

Deno.test("cholesky, solve: factors and solutions", () => {
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

/** The coding length by `tridiagonal`: det(I + cT) is the product of its pivots. */
function codingLength({ w, rows, d }: { w: Float32Array; rows: number; d: number }) {
  const { diagonal, offDiagonal } = onKernel("tridiagonal", { w, rows, d }).result as {
    diagonal: Float64Array;
    offDiagonal: Float64Array;
  };
  return (epsilon: number) => {
    const factor = rows / (d * epsilon ** 2);
    let log = 0, pivot = 1;
    diagonal.forEach((value, i) => {
      const coupling = i === 0 ? 0 : (factor * offDiagonal[i - 1]) ** 2 / pivot;
      // In exact arithmetic all are at least 1.
      pivot = Math.max(1, 1 + factor * value - coupling);
      log += Math.log2(pivot);
    });
    return (rows + d) / 2 * log;
  };
}

Deno.test("tridiagonal: the determinant of its matrix for any shape and distortion", () => {
  for (const [rows, d] of [[0, 0], [1, 1], [1, 9], [9, 1], [2, 2], [5, 17], [17, 5], [33, 40]]) {
    const w = random(rows * d, 1), args = { w, rows, d };
    const bits = codingLength(args), expected = reference.codingLength(args);
    for (const epsilon of [10, 1, 0.1, 0.001]) {
      assertClose([bits(epsilon)], [expected(epsilon)], 1e-6, `${rows} x ${d}, ${epsilon}`);
    }
  }
});

Deno.test("tridiagonal: of a matrix of rank 1 or 0, what its one direction has", () => {
  const rows = 8, d = 12, epsilon = 0.01;
  const length = (w: Float32Array) => codingLength({ w, rows, d })(epsilon);
  assertEquals(length(new Float32Array(rows * d)), 0);
  const one = new Float32Array(rows * d).fill(1);
  const expected = (rows + d) / 2 * Math.log2(1 + rows / (d * epsilon ** 2) * rows * d);
  assertClose([length(one)], [expected], 1e-9);
  assert(length(random(rows * d, 1)) > 4 * expected);
});
