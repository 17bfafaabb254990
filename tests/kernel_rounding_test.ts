import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import * as reference from "./twins/kernel.ts";
import {
  assertClose,
  both,
  onKernel,
  random,
  spd,
  variedWindows,
  windows,
} from "./helpers/kernel_twins.ts";

/**
 * A problem of random weights on a grid of `lo` … `hi`, or one that varies, with scales that clip a
 * few.
 */
function problem(
  { groups = 1, rows = 1, d = 1, groupSize = d, lo, hi = 3, seed = 1 }: {
    groups?: number;
    rows?: number;
    d?: number;
    groupSize?: number;
    lo?: number;
    hi?: number;
    seed?: number;
  },
) {
  const all = groups * rows, perRow = Math.ceil(d / groupSize);
  const scale = random(all * perRow, seed + 1).map((value) => 0.35 + 0.1 * Math.abs(value));
  return {
    target: random(all * d, seed),
    scale,
    groupSize,
    ...(lo === undefined ? variedWindows(all) : windows(all, lo, hi)),
    rows,
    groups,
    d,
    q: new Float32Array(all * d),
    loss: new Float32Array(all),
  };
}

const SHAPES = [
  { rows: 0, d: 4 },
  { rows: 3, d: 1 },
  { rows: 5, d: 15, groupSize: 4 },
  { rows: 2, d: 16 },
  { rows: 3, d: 17, groupSize: 16 },
  { groups: 7, rows: 1, d: 9 },
  { groups: 2, rows: 3, d: 33 },
  { rows: 9, d: 70, groupSize: 32 },
];

Deno.test("nearest: half to even, both zeros, denormals, infinities", () => {
  const target = Float32Array.of(
    ...[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0, -0, 1e-40, -1e-40, 9, -9, Infinity, -Infinity],
    0.49999997,
    2.5000002,
  );
  const d = target.length, scale = Float32Array.of(1), q = new Float32Array(d);
  const args = { target, scale, groupSize: d, ...windows(1, -8, 7), rows: 1, groups: 1, d, q };
  const { kernel, twin } = both("nearest", reference.nearest, args);
  const expected = [0, 2, 2, 0, -2, -2, 0, 0, 0, 0, 7, -8, 7, -8, 0, 3];
  // −0 and 0 are the same level.
  assertEquals([...kernel.q].map((value) => value + 0), expected);
  assertEquals([...twin.q].map((value) => value + 0), expected);
});

Deno.test("nearest: agrees with the twin for all shapes, NaN stays visible", () => {
  for (const shape of SHAPES) {
    const args = problem(shape);
    if (args.target.length > 3) args.target[3] = NaN;
    const { kernel, twin } = both("nearest", reference.nearest, args);
    assertEquals(kernel.q.map((value) => value + 0), twin.q.map((value) => value + 0));
    if (args.target.length > 3) assert(Number.isNaN(kernel.q[3]));
  }
});

Deno.test("stochastic: agrees with the twin; the mean of many draws is the weight", () => {
  for (const shape of SHAPES) {
    const args = { ...problem(shape), seed: 7, stream: 3 };
    const { kernel, twin } = both("stochastic", reference.stochastic, args);
    assertEquals(kernel.q.map((value) => value + 0), twin.q.map((value) => value + 0));
  }
  const d = 40_000;
  for (const t of [0.25, -1.7, 2]) {
    const target = new Float32Array(d).fill(t), q = new Float32Array(d);
    const grid = { target, scale: Float32Array.of(1), groupSize: d, ...windows(1, -8, 7) };
    const args = { ...grid, rows: 1, groups: 1, d, q, seed: 1, stream: 0 };
    const mean = onKernel("stochastic", args).args.q.reduce((a, b) => a + b) / d;
    // Five standard errors.
    assertClose([mean], [t], 5 * Math.sqrt((t - Math.floor(t)) * (Math.ceil(t) - t) / d) + 1e-9);
  }
});

Deno.test("sequential: nearest plane and candidates agree with the textbook form", () => {
  for (const shape of SHAPES) {
    for (const taus of [[0], [0.4], [0, 0.2, 0.4], Array.from({ length: 16 }, (_, k) => k / 30)]) {
      const { groups = 1, d } = shape;
      const { u } = spd(groups, d, 5), spread = random(groups * d, 6).map(Math.abs);
      if (d > 2) spread[1] = 0;
      const args = {
        ...problem(shape),
        u,
        spread,
        taus: Float32Array.from(taus),
        seed: 9,
        stream: 4,
      };
      const { kernel, twin } = both("sequential", reference.sequential, args);
      const what = `${JSON.stringify(shape)}, ${taus.length} candidates`;
      assertEquals(kernel.q.map((value) => value + 0), twin.q.map((value) => value + 0), what);
      assertClose(kernel.loss, twin.loss, 1e-4, what);
    }
  }
});

Deno.test("sequential: the loss is the exact one, and with one candidate never below the best", () => {
  const shape = { groups: 2, rows: 4, d: 40 }, { h, u } = spd(2, 40, 3);
  const spread = new Float32Array(80).fill(1), taus = Float32Array.of(0, 0.1, 0.2, 0.3);
  const args = { ...problem(shape), u, spread, taus, seed: 2, stream: 0 };
  const many = onKernel("sequential", args).args;
  const exact = onKernel("loss", { ...many, h }).args;
  assertClose(many.loss, exact.loss, 1e-3);
  const one = onKernel("sequential", { ...args, taus: taus.slice(0, 1) }).args;
  many.loss.forEach((loss, row) => assert(loss <= one.loss[row]));
  assert(many.loss.some((loss, row) => loss < one.loss[row]));
});

Deno.test("sequential, polish: agree with the twins past the depth of a product's panels", () => {
  const d = 300, rows = 3, { h, u } = spd(1, d, 5), spread = new Float32Array(d).fill(0.2);
  const draws = { spread, taus: Float32Array.of(0, 0.5), seed: 1, stream: 0 };
  const args = { ...problem({ rows, d, groupSize: 100 }), u, ...draws };
  const rounded = both("sequential", reference.sequential, args);
  assertEquals(rounded.kernel.q.map((q) => q + 0), rounded.twin.q.map((q) => q + 0));
  assertClose(rounded.kernel.loss, rounded.twin.loss, 1e-5);
  const start = { ...rounded.kernel, h, sweeps: 3 };
  const polished = both("polish", reference.polish, start);
  assertEquals(polished.kernel.q.map((q) => q + 0), polished.twin.q.map((q) => q + 0));
  assertClose(polished.kernel.loss, polished.twin.loss, 1e-5);
});

Deno.test("sequential: many candidates find the best of all roundings", () => {
  const lo = -1, hi = 1;
  for (const d of [2, 4, 6, 8]) {
    const { h, u } = spd(1, d, d, 0.01), spread = new Float32Array(d).fill(1);
    const taus = Float32Array.from({ length: 4000 }, (_, k) => k / 1000);
    const args = { ...problem({ d, rows: 3, lo, hi }), u, spread, taus, seed: 1, stream: 0, h };
    const found = onKernel("sequential", args).args;
    const exact = onKernel("loss", { ...found, h }).args.loss;
    for (let row = 0; row < 3; row++) {
      const trial = {
        ...args,
        target: args.target.slice(row * d, (row + 1) * d),
        scale: args.scale.slice(row, row + 1),
        lo: args.lo.slice(row, row + 1),
        rows: 1,
        loss: new Float32Array(1),
      };
      let least = Infinity;
      for (let code = 0; code < 3 ** d; code++) {
        const q = Float32Array.from({ length: d }, (_, j) => Math.floor(code / 3 ** j) % 3 + lo);
        reference.loss({ ...trial, q });
        least = Math.min(least, trial.loss[0]);
      }
      assertClose([exact[row]], [least], 1e-4, `d ${d}, row ${row}`);
    }
  }
});

Deno.test("sequential: draws have the probabilities of Attention Round", () => {
  // Without correlation each weight is on its own: the chance of level q is
  // ½[erf((q+½−t)/√2σ) − erf((q−½−t)/√2σ)].
  const rows = 20_000, t = 0.3, sigma = 0.7;
  const q = new Float32Array(rows), loss = new Float32Array(rows);
  const { q: drawn } = onKernel("sequential", {
    target: new Float32Array(rows).fill(t),
    scale: new Float32Array(rows).fill(1),
    groupSize: 1,
    ...windows(rows, -8, 7),
    u: Float32Array.of(1),
    spread: Float32Array.of(1),
    taus: Float32Array.of(sigma),
    seed: 3,
    stream: 0,
    rows,
    groups: 1,
    d: 1,
    q,
    loss,
  }).args;
  const below = (x: number) => (1 + reference.erf((x - t) / Math.SQRT2 / sigma)) / 2;
  let chiSquared = 0;
  for (const level of [-1, 0, 1, 2]) {
    const expected = rows * (below(level + 0.5) - below(level - 0.5));
    chiSquared += (drawn.filter((value) => value === level).length - expected) ** 2 / expected;
  }
  // The 0.9999 quantile for four degrees of freedom.
  assert(chiSquared < 23.5, `chi-squared ${chiSquared}`);
});

Deno.test("sequential: a row with NaN leaves the others alone", () => {
  const rows = 5, d = 12, { u } = spd(1, d, 3), args = problem({ rows, d });
  const more = {
    u,
    spread: new Float32Array(d).fill(1),
    taus: Float32Array.of(0, 0.3),
    seed: 1,
    stream: 0,
  };
  const clean = onKernel("sequential", { ...args, ...more }).args.q;
  const target = args.target.slice();
  target[2 * d + 5] = NaN;
  const { q } = onKernel("sequential", { ...args, ...more, target }).args;
  for (const row of [0, 1, 3, 4]) {
    assertEquals(q.slice(row * d, (row + 1) * d), clean.slice(row * d, (row + 1) * d));
  }
});

Deno.test("polish: agrees with the twin, never raises a loss, ends where no weight can move", () => {
  for (const shape of SHAPES) {
    const { groups = 1, d } = shape, { h } = spd(groups, d, 5);
    const start = { ...onKernel("nearest", problem(shape)).args, h };
    const before = both("loss", reference.loss, start);
    assertClose(before.kernel.loss, before.twin.loss, 1e-5);
    const { kernel, twin } = both("polish", reference.polish, { ...start, sweeps: 50 });
    assertEquals(kernel.q.map((value) => value + 0), twin.q.map((value) => value + 0));
    assertClose(kernel.loss, twin.loss, 1e-4);
    kernel.loss.forEach((loss, row) => assert(loss <= before.kernel.loss[row]));
    const again = onKernel("polish", { ...kernel, sweeps: 50 }).args;
    assertEquals(again.q, kernel.q);
    kernel.q.forEach((q, i) => {
      const lo = start.lo[Math.floor(i / d)];
      assert(q >= lo && q <= lo + start.span && Number.isInteger(q));
    });
  }
});

Deno.test("polish: a singular H is no trap", () => {
  // Every row of h is the same, and one input is dead.
  const d = 6, h = new Float32Array(d * d).fill(1);
  for (let i = 0; i < d; i++) h[i] = h[i * d] = 0;
  const start = { ...onKernel("nearest", problem({ rows: 4, d })).args, h };
  const before = onKernel("loss", start).args.loss;
  const { loss, q } = onKernel("polish", { ...start, sweeps: 100 }).args;
  loss.forEach((value, row) => assert(value <= before[row]));
  q.forEach((value) => assert(Number.isInteger(value)));
});

Deno.test("gridSearch: agrees with the twin; zeros, one weight, one-sided grids", () => {
  for (const shape of SHAPES) {
    for (
      const { lows, span } of [
        { lows: [-8], span: 15 },
        { lows: [-1], span: 2 },
        { lows: [0], span: 15 },
        { lows: [-2, -1], span: 3 },
        { lows: [-4, -3, -5, -2, -6], span: 7 },
      ]
    ) {
      const { groups = 1, d } = shape, args = problem(shape);
      if (lows[0] === 0) args.target.forEach((value, i) => args.target[i] = Math.abs(value));
      args.target.fill(0, 0, d);
      const search = {
        importance: random(groups * d, 4).map(Math.abs),
        lows: Float32Array.from(lows),
        span,
        candidates: 40,
        shrinkFrom: 0.3,
      };
      const { kernel, twin } = both("gridSearch", reference.gridSearch, { ...args, ...search });
      assertClose(kernel.scale, twin.scale, 1e-5);
      assertEquals(kernel.lo, twin.lo);
      if (args.rows > 0) assertEquals([kernel.scale[0], kernel.lo[0]], [1, lows[0]]);
    }
  }
});

Deno.test("gridSearch: a row has its levels where its weights are", () => {
  const target = Float32Array.of(-0.1, 0, 0.3, 0.6, -0.6, 0, -0.3, 0.1, -0.4, 0.2, 0.3, -0.3);
  const args = {
    ...problem({ rows: 3, d: 4 }),
    target,
    importance: new Float32Array(4).fill(1),
    lows: Float32Array.of(-4, -3, -5, -2, -6, -1),
    span: 7,
    candidates: 80,
    shrinkFrom: 0.2,
  };
  const { lo, scale } = onKernel("gridSearch", args).args;
  assertEquals([...lo], [-1, -6, -4]);
  assertClose(scale, [0.1, 0.1, 0.1], 0.01);
});

Deno.test("refit: agrees with the twin, and no other scale is better", () => {
  for (const oneScale of [false, true]) {
    const groups = 2, rows = 3, d = 17, { h } = spd(groups, d, 5);
    const start = { ...onKernel("nearest", problem({ groups, rows, d })).args, h, oneScale };
    const { kernel, twin } = both("refit", reference.refit, start);
    assertClose(kernel.scale, twin.scale, 1e-5);
    const total = (factor: number) =>
      onKernel("loss", { ...kernel, scale: kernel.scale.map((s) => s * factor) }).args.loss
        .reduce((a, b) => a + b);
    for (const factor of [0.97, 0.99, 1.01, 1.03]) assert(total(factor) > total(1));
  }
  // A row without levels keeps its scale.
  const { h } = spd(1, 4, 1), args = { ...problem({ d: 4 }), h, oneScale: false };
  assertEquals(onKernel("refit", args).args.scale, args.scale);
});
