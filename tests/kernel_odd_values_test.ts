/**
 * What the kernel makes of values that are not finite, of nothing, and of what is constant or
 * singular.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import * as reference from "./twins/kernel.ts";
import { assertClose, both, onKernel, random, spd, windows } from "./helpers/kernel_twins.ts";

const ODD = [NaN, Infinity, -Infinity, 1e-42, -1e-42, 0, -0, 1e30, -1e30, 0.5, -0.5, 1.5, 2.5];
const same = (a: Float32Array, b: Float32Array, what: string) =>
  assertEquals(Array.from(a, (v) => v + 0), Array.from(b, (v) => v + 0), what);

Deno.test("stochastic: odd values as the twin", () => {
  const d = ODD.length, one = { rows: 1, d, seed: 3, stream: 4 };
  const x = Float32Array.from(ODD);
  const grid = {
    target: x,
    scale: Float32Array.of(1),
    groupSize: d,
    ...windows(1, -4, 3),
    groups: 1,
  };
  const drawn = both("stochastic", reference.stochastic, { ...one, ...grid, q: x.slice() });
  same(drawn.kernel.q, drawn.twin.q, "stochastic");
  // Infinities lie at the ends, NaN stays visible, zeros and denormals are at home.
  assertEquals([...drawn.kernel.q.slice(1, 3)], [3, -4]);
  assert(Number.isNaN(drawn.kernel.q[0]));
});

Deno.test("adam: what is not finite stays in its own element; denormals do not grow", () => {
  const n = 19, g = random(n, 1), zeros = () => new Float32Array(n);
  const step = (g: Float32Array) =>
    onKernel("adam", { x: zeros(), m: zeros(), v: zeros(), g, n, step: 0, rate: 0.1 }).args.x;
  const clean = step(g);
  for (const at of [0, 3, 16, 18]) {
    for (const value of [NaN, Infinity, -Infinity]) {
      step(g.with(at, value)).forEach((x, i) => i === at || assertEquals(x, clean[i]));
    }
  }
  step(zeros().fill(1e-42)).forEach((x) => assert(Math.abs(x) <= 0.1));
  assertEquals(step(zeros()), zeros());
});

Deno.test("gram: NaN reaches only the rows and columns that it takes part in", () => {
  const d = 11, p = 21, x = random(d * p, 3);
  const gram = (x: Float32Array) =>
    onKernel("gram", { x, h: new Float32Array(d * d), sum: new Float32Array(d), groups: 1, d, p })
      .args;
  const whole = gram(x), holed = gram(x.with(4 * p + 2, Infinity));
  for (let i = 0; i < d; i++) {
    if (i !== 4) assertEquals(holed.sum[i], whole.sum[i]);
    for (let j = i; j < d; j++) {
      const value = holed.h[i * d + j];
      if (i === 4 || j === 4) assert(!Number.isFinite(value), `${i}, ${j}`);
      else assertEquals(value, whole.h[i * d + j]);
    }
  }
});

Deno.test("gram, cross, cholesky: nothing in, nothing out", () => {
  const none = new Float32Array(0), r = random(6, 1), h = random(9, 2), sum = random(3, 3);
  const cross = { y: none, x: none, r, groups: 1, o: 2, d: 3, p: 0 };
  assertEquals(onKernel("cross", cross).args.r, r);
  const gram = onKernel("gram", { x: none, h, sum, groups: 1, d: 3, p: 0 }).args;
  assertEquals([gram.h, gram.sum], [h, sum]);
  assertEquals(onKernel("cholesky", { h: none, groups: 0, n: 3 }).result, -1);
});

Deno.test("gridSearch: rows that are zero, denormal or not finite; importance that is zero", () => {
  const d = 17, rows = 5, target = random(rows * d, 1), { span } = windows(1, -4, 3);
  target.fill(0, 0, d);
  target.fill(1e-42, d, 2 * d);
  target[2 * d + 3] = NaN;
  target[3 * d + 3] = Infinity;
  const args = {
    ...{ target, scale: new Float32Array(rows), lo: new Float32Array(rows), groupSize: d, d, rows },
    ...{ groups: 1, span, candidates: 40, shrinkFrom: 0.3, importance: random(d, 2).map(Math.abs) },
    lows: Float32Array.of(-4, -3, -5),
  };
  const { scale, lo } = onKernel("gridSearch", args).args;
  assertEquals([...scale.slice(0, 2)], [1, 1]);
  // The last row is none the worse for those beside it.
  const alone = onKernel("gridSearch", {
    ...args,
    ...{ target: target.slice(4 * d), rows: 1, scale: scale.slice(4), lo: lo.slice(4) },
  }).args;
  assertEquals([scale[4], lo[4]], [alone.scale[0], alone.lo[0]]);
  assert(scale[4] > 0.1 && scale[4] < 10);
  const blind = onKernel("gridSearch", { ...args, importance: new Float32Array(d) }).args;
  assert(blind.scale[4] > 0 && Number.isFinite(blind.scale[4]), `${blind.scale[4]}`);
});

Deno.test("refit: a singular H, and an H of zeros, leave scales positive", () => {
  const d = 6, rows = 4, target = random(rows * d, 3), scale = new Float32Array(rows).fill(0.4);
  const q = target.map((value) => Math.max(-4, Math.min(3, Math.round(value / 0.4))));
  for (const value of [1, 0]) {
    const args = { target, q, scale, h: new Float32Array(d * d).fill(value), rows, groups: 1, d };
    const { kernel, twin } = both("refit", reference.refit, {
      ...args,
      groupSize: d,
      oneScale: false,
    });
    assertClose(kernel.scale, twin.scale, 1e-4);
    kernel.scale.forEach((s) => assert(s > 0 && Number.isFinite(s), `${s}`));
    if (value === 0) assertEquals(kernel.scale, scale);
  }
});

Deno.test("sequential: one candidate is Babai's nearest plane as textbooks write it", () => {
  // Babai 1986: from the last Gram-Schmidt direction to the first, the nearest of the planes that
  // are spanned by the others. Here with the basis itself, the columns of U · diag(s), in float64.
  for (const [d, seed] of [[1, 1], [2, 2], [7, 3], [16, 4], [17, 5], [40, 6]]) {
    const { u } = spd(1, d, seed), s = 0.4, target = random(d, seed);
    const basis = Array.from(
      { length: d },
      (_, j) => Float64Array.from({ length: d }, (_, i) => i <= j ? s * u[i * d + j] : 0),
    );
    const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
    const orthogonal = basis.map((vector) => vector.slice());
    for (let j = 0; j < d; j++) {
      for (let k = 0; k < j; k++) {
        const share = dot(basis[j], orthogonal[k]) / dot(orthogonal[k], orthogonal[k]);
        orthogonal[j] = orthogonal[j].map((x, i) => x - share * orthogonal[k][i]);
      }
    }
    let rest = Float64Array.from(
      { length: d },
      (_, i) => target.reduce((sum, w, j) => sum + (i <= j ? u[i * d + j] * w : 0), 0),
    );
    const expected = new Array<number>(d);
    for (let j = d - 1; j >= 0; j--) {
      const place = dot(rest, orthogonal[j]) / dot(orthogonal[j], orthogonal[j]);
      expected[j] = Math.round(place);
      rest = rest.map((x, i) => x - expected[j] * basis[j][i]);
    }
    const { q } = onKernel("sequential", {
      ...{ target, scale: Float32Array.of(s), groupSize: d, ...windows(1, -100, 100), u },
      ...{ spread: new Float32Array(d), taus: Float32Array.of(0), seed: 1, stream: 0 },
      ...{ rows: 1, groups: 1, d, q: new Float32Array(d), loss: new Float32Array(1) },
    }).args;
    assertEquals(Array.from(q, (level) => level + 0), expected.map((level) => level + 0), `${d}`);
  }
});

Deno.test("polish: a row with NaN leaves the others alone", () => {
  const d = 12, rows = 4, { h } = spd(1, d, 3), target = random(rows * d, 1);
  const problem = {
    ...{ target, scale: new Float32Array(rows).fill(0.4), groupSize: d, ...windows(rows, -4, 3) },
    ...{ rows, groups: 1, d, q: new Float32Array(rows * d), loss: new Float32Array(rows), h },
  };
  const run = (target: Float32Array) => {
    const start = onKernel("nearest", { ...problem, target }).args;
    return onKernel("polish", { ...start, sweeps: 9 }).args.q;
  };
  const clean = run(target), broken = run(target.with(d + 4, NaN));
  for (const row of [0, 2, 3]) {
    same(broken.slice(row * d, (row + 1) * d), clean.slice(row * d, (row + 1) * d), `row ${row}`);
  }
});
