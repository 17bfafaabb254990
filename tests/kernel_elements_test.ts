/** The kernel's element-wise functions against their twins, at all sizes and odd values. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { erf } from "./twins/kernel.ts";
import * as reference from "./twins/elements.ts";
import {
  assertClose,
  both,
  onKernel,
  random,
  variedWindows,
  windows,
} from "./helpers/kernel_twins.ts";

const SIZES = [
  { rows: 0, d: 5, groupSize: 5 },
  { rows: 1, d: 1, groupSize: 1 },
  { rows: 1, d: 15, groupSize: 15 },
  { rows: 3, d: 16, groupSize: 7 },
  { rows: 2, d: 17, groupSize: 4 },
  { rows: 5, d: 33, groupSize: 33 },
];
/** Ties, signed zeros, denormals, what is not finite, what lies far outside. */
const ODD = [0.5, -0.5, 1.5, 2.5, -2.5, 0, -0, 1e-42, NaN, Infinity, -Infinity, 1e30, -1e30];

function problem(
  { rows, d, groupSize }: { rows: number; d: number; groupSize: number },
  odd = true,
) {
  const x = random(rows * d, 3).map((value) => 2 * value);
  if (odd) ODD.forEach((value, i) => i < x.length && (x[i] = value));
  const perRow = rows * Math.ceil(d / groupSize);
  const scale = random(perRow, 5).map((value) => 0.3 + Math.abs(value) / 2);
  if (perRow > 0) scale[0] = 1;
  return { x, scale, rows, d, groupSize, lo: -4, hi: 3 };
}

const same = (a: Float32Array, b: Float32Array, what: string) =>
  assertEquals(Array.from(a, (v) => v + 0), Array.from(b, (v) => v + 0), what);

Deno.test("minmax: as the twin; what is not finite is counted, wherever it lies", () => {
  for (const length of [0, 1, 3, 4, 15, 16, 17, 1000, 4096, 4097, 9000]) {
    for (const odd of [ODD, []]) {
      const x = random(length, 7);
      odd.forEach((value, i) => i < length / 2 && (x[i] = value));
      for (const seen of [[Infinity, -Infinity], [-7, 0.25]]) {
        const args = { x, n: length, out: Float32Array.from(seen) };
        const { kernel, twin, results } = both("minmax", reference.minmax, args);
        same(kernel.out, twin.out, `${length}`);
        assertEquals(results[0], results[1], `${length}`);
      }
    }
  }
  for (let i = 0; i < 33; i++) {
    for (const value of [NaN, -NaN, Infinity, -Infinity]) {
      const x = new Float32Array(33).fill(-3);
      x[i] = value;
      const { args, result } = onKernel("minmax", { x, n: 33, out: Float32Array.of(5, -5) });
      assertEquals([...args.out, result], [-3, -3, 1]);
    }
  }
});

Deno.test("channelSums: as the twin, from any channel on, added to what was there", () => {
  for (const width of [1, 3, 4, 5, 8, 49]) {
    for (const [runs, channels, first] of [[0, 1, 0], [1, 1, 0], [7, 3, 0], [7, 3, 2], [2, 5, 4]]) {
      const x = random(runs * width, 11), sums = new Float32Array(4 * channels);
      new Float64Array(sums.buffer).set(random(2 * channels, 12));
      const args = { x, runs, width, channels, first, sums };
      const { kernel, twin } = both("channelSums", reference.channelSums, args);
      const [found, expected] = [kernel, twin].map(({ sums }) => new Float64Array(sums.buffer));
      found.forEach((sum, i) =>
        assertAlmostEquals(sum, expected[i], 1e-12 * (1 + runs * width), `${[width, runs, first]}`)
      );
      if (runs > 0) assert(found.some((sum, i) => sum !== new Float64Array(sums.buffer)[i]));
    }
  }
});

Deno.test("attentionForward, attentionStep: as the twins, for either rule", () => {
  for (const size of SIZES) {
    const { x: w, scale, rows, d, groupSize } = problem(size, false), what = JSON.stringify(size);
    const alpha = random(w.length, 8).map((value) => value / 3);
    const grid = { w, scale, rows, d, groupSize, ...variedWindows(rows), alpha };
    const forward = both("attentionForward", reference.attentionForward, {
      ...grid,
      out: w.slice(),
    });
    same(forward.kernel.out, forward.twin.out, what);
    for (
      const { tau, lossScale } of [{ tau: 0 }, { tau: 0.5, lossScale: 1 }, {
        tau: 0.5,
        lossScale: 0.01,
      }]
    ) {
      const state = { m: random(w.length, 1), v: random(w.length, 2).map((value) => value ** 2) };
      const gradient = random(w.length, 4), slopes = new Float32Array(scale.length);
      const args = { ...grid, ...state, gradient, lossScale, tau, rate: 0.01, step: 7, slopes };
      const { kernel, twin } = both("attentionStep", reference.attentionStep, args);
      for (const name of ["alpha", "m", "v", "gradient", "slopes"] as const) {
        assertClose(kernel[name], twin[name], 1e-5, `${what}, ${name}`);
      }
    }
  }
});

Deno.test("attentionStep: the erf rule is good to 1e-6 at any α, and NaN stays where it is", () => {
  const n = 4003, tau = 0.37;
  const alpha = Float32Array.from({ length: n }, (_, i) => (i - n / 2) / 500);
  alpha.set([0, -0, 1e-42, 1e30, -1e30, Infinity, -Infinity, NaN]);
  const zeros = new Float32Array(n), one = Float32Array.of(1);
  const grid = { w: zeros, scale: one, rows: 1, d: n, groupSize: n, ...windows(1, -1e30, 1e30) };
  const state = { m: zeros, v: zeros, rate: 1, step: 0, slopes: one, tau };
  for (const sign of [1, -1]) {
    const gradient = zeros.map(() => sign);
    const ruled = onKernel("attentionStep", { ...grid, ...state, alpha, gradient }).args.gradient;
    const expected = alpha.map((a) => sign / 2 + erf(a / Math.SQRT2 / tau) / 2);
    expected.forEach((value, i) =>
      i < 5 || i > 7
        ? assert(Math.abs(ruled[i] - value) < 1e-6, `α ${alpha[i]}: ${ruled[i]}, not ${value}`)
        : assert(i < 7 || Number.isNaN(ruled[i]), `α ${alpha[i]}: ${ruled[i]}`)
    );
  }
});

Deno.test("attentionForward: ties, zeros, denormals and what is not finite, as the twin", () => {
  const ends = [7.5, -8.5, 7.4999995, -8.500001];
  const w = Float32Array.from([...ODD, ...ends]), n = w.length;
  const args = { w, scale: Float32Array.of(1), rows: 1, d: n, groupSize: n, ...windows(1, -8, 7) };
  for (const alpha of [new Float32Array(n), new Float32Array(n).fill(0.5)]) {
    const { kernel, twin } = both("attentionForward", reference.attentionForward, {
      ...args,
      alpha,
      out: w.slice(),
    });
    same(kernel.out, twin.out, "");
  }
});

Deno.test("attentionStep, adaroundStep: without a gradient nothing moves but by the regulariser", () => {
  const n = 21, zeros = () => new Float32Array(n), rows = 3, d = 7, groupSize = 3;
  const scale = new Float32Array(9).fill(1);
  const grid = { w: zeros(), scale, rows, d, groupSize, ...windows(rows, -2, 1) };
  const state = () => ({ m: zeros(), v: zeros(), gradient: zeros(), rate: 1, step: 0 });
  const slopes = new Float32Array(9), alpha = random(n, 1);
  const attention = { ...grid, ...state(), alpha, tau: 0.5, slopes };
  assertEquals(onKernel("attentionStep", attention).args.alpha, alpha);
  const rest = { ...grid, ...state(), soft: alpha, beta: 2 };
  const still = onKernel("adaroundStep", { ...rest, regularisation: 0 }).args.soft;
  assertEquals(still, alpha);
  // h goes to the end that is nearer, at Adam's first step by the whole rate.
  const moved = onKernel("adaroundStep", { ...rest, regularisation: 1 }).args.soft;
  moved.forEach((v, i) => {
    if (Math.abs(alpha[i]) > 2.39) assertEquals(v, alpha[i]);
    else assert(Math.abs(v - alpha[i] - Math.sign(alpha[i])) < 1e-3, `${alpha[i]} to ${v}`);
  });
});

Deno.test("adaroundForward, adaroundStep: as the twins, soft and hard", () => {
  for (const size of SIZES) {
    const { x: w, scale, rows, d, groupSize } = problem(size, false);
    const soft = random(w.length, 8).map((value) => 2 * value), what = JSON.stringify(size);
    [0, -0, 30, -30, 200, -200].forEach((value, i) => i < soft.length && (soft[i] = value));
    const grid = { w, scale, rows, d, groupSize, ...variedWindows(rows), soft };
    for (const hard of [false, true]) {
      const args = { ...grid, hard, out: w.slice() };
      const { kernel, twin } = both("adaroundForward", reference.adaroundForward, args);
      if (hard) same(kernel.out, twin.out, what);
      else assertClose(kernel.out, twin.out, 1e-6, what);
    }
    for (const [beta, regularisation] of [[20, 0], [20, 0.5], [3.7, 0.5], [2, 0.5]]) {
      const state = { m: random(w.length, 1), v: random(w.length, 2).map((value) => value ** 2) };
      const rule = { lossScale: 0.7, beta, regularisation, rate: 0.01, step: 7 };
      const args = { ...grid, ...state, ...rule, gradient: random(w.length, 4) };
      const { kernel, twin } = both("adaroundStep", reference.adaroundStep, args);
      for (const name of ["soft", "m", "v", "gradient"] as const) {
        assertClose(kernel[name], twin[name], 1e-5, `${what}, ${name}, beta ${beta}`);
      }
    }
  }
});

Deno.test("attentionStep: beyond the grid only the way back counts; the erf rule lets weights home", () => {
  const step = (alpha: number, gradient: number, w: number, tau: number) => {
    const one = (value: number) => Float32Array.of(value);
    const grid = { scale: one(1), groupSize: 1, ...windows(1, -2, 1), rows: 1, d: 1, w: one(w) };
    const state = { m: one(0), v: one(0), rate: 1, step: 0, slopes: one(0) };
    const args = { ...grid, ...state, alpha: one(alpha), gradient: one(gradient), tau };
    return onKernel("attentionStep", args).args.gradient[0];
  };
  assertEquals(step(0, -1, 3, 0), 0);
  assertEquals(step(0, 1, 3, 0), 1);
  assertEquals(step(0, 1, -4, 0), 0);
  // A tie goes to the even level 2, outside: further out is stopped there as well.
  assertEquals([step(0, -1, 1.5, 0), step(0, 1, 1.5, 0), step(0, 1, -2.5, 0)], [0, 1, 1]);
  // α > 0: down is home, and easy; up is away, and decays.
  const home = step(0.6, 1, 0, 0.5), away = -step(0.6, -1, 0, 0.5);
  assert(home > 0.85 && away < 0.15 && Math.abs(home + away - 1) < 1e-5, `${home}, ${away}`);
});

Deno.test("adam: as the twin, from the first step on", () => {
  for (const n of [0, 1, 15, 16, 17]) {
    const x = random(n, 1), m = new Float32Array(n), v = new Float32Array(n);
    let state = { x, m, v, g: random(n, 2), n, step: 0, rate: 0.1 };
    for (let step = 0; step < 3; step++) {
      const { kernel, twin } = both("adam", reference.adam, { ...state, step });
      assertClose(kernel.x, twin.x, 1e-6, `${n}, step ${step}`);
      state = { ...kernel, g: random(n, 3 + step) };
    }
  }
});
