/**
 * The kernel's element-wise functions against a plain copy, and every function against its plain
 * TypeScript twin: `deno run -A bench/kernel_elements.ts [elements | twin]`. All in one run on one
 * thread, in turns.
 *
 * @module
 */

import { Kernel } from "../src/kernel/kernel.ts";
import * as elements from "../tests/twins/elements.ts";
import * as reference from "../tests/twins/kernel.ts";
import { adaroundLoop, attentionLoop } from "../tests/twins/gradient.ts";

/** Best milliseconds of `rounds` runs of each of `works`, which take turns, after `setup`. */
function race(
  works: readonly (() => unknown)[],
  rounds: number,
  setup: () => void = () => {},
): number[] {
  const best = works.map(() => Infinity);
  for (let round = 0; round < rounds; round++) {
    for (const [i, work] of works.entries()) {
      setup();
      const start = performance.now();
      work();
      best[i] = Math.min(best[i], performance.now() - start);
    }
  }
  return best;
}

/** Numbers in [−1, 1) from a linear congruential generator. */
function noise(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

const only = Deno.args[0];
const kernel = Kernel.create();

/** Bandwidth of the element-wise functions, bytes read and written, as a share of a copy's. */
function bandwidth(): void {
  const n = 2 ** 21, rows = 1024, d = n / rows;
  const values = noise(n), x = kernel.f32(values), y = kernel.f32(n), z = kernel.f32(n);
  const m = kernel.f32(n), v = kernel.f32(n), w = kernel.f32(values), gradient = kernel.f32(n);
  const scale = kernel.f32(new Float32Array(rows).fill(0.1));
  const slopes = kernel.f32(rows), range = kernel.f32(2);
  const grid = { scale, groupSize: d, rows, d };
  const windows = { lo: kernel.f32(new Float32Array(rows).fill(-8)), span: 15 };
  const step = { m, v, rate: 1e-3, step: 10, gradient };
  const attention = { ...grid, ...windows, ...step, alpha: y, w, slopes };
  const adaround = { ...grid, ...step, soft: y, beta: 8 };
  // Each starts from the same, none of it denormal.
  const setup = () => {
    [x, y, gradient].forEach((buffer) => buffer.view.set(values));
    [m, v].forEach((buffer) => buffer.view.fill(0.5));
  };
  // What is moved for each value: bytes read and written.
  const works: [name: string, bytes: number, work: () => unknown][] = [
    ["copy", 8, () => z.view.set(x.view)],
    ["minmax", 4, () => kernel.minmax({ x, n, out: range })],
    [
      "attentionForward",
      12,
      () => kernel.attentionForward({ ...grid, ...windows, alpha: y, w, out: z }),
    ],
    ["adam", 28, () => kernel.adam({ ...step, x: y, g: gradient, n })],
    ["attentionStep, straight-through", 44, () => kernel.attentionStep({ ...attention, tau: 0 })],
    ["attentionStep, erf rule", 44, () => kernel.attentionStep({ ...attention, tau: 0.5 })],
    [
      "adaroundForward",
      12,
      () => kernel.adaroundForward({ ...grid, ...windows, soft: y, w, hard: false, out: z }),
    ],
    ["adaroundStep", 40, () => kernel.adaroundStep({ ...adaround, regularisation: 0 })],
    [
      "adaroundStep, regularised",
      40,
      () => kernel.adaroundStep({ ...adaround, regularisation: 0.01 }),
    ],
  ];
  const best = race(works.map(([, , work]) => work), 10, setup);
  const rates = works.map(([, bytes], i) => bytes * n / best[i] / 1e6);
  console.log("element-wise functions, 8 MiB buffers");
  for (const [i, [name]] of works.entries()) {
    const share = (rates[0] / rates[i]).toFixed(2);
    console.log(
      `${name.padEnd(36)} ${
        rates[i].toFixed(1).padStart(6)
      } GB/s  ${share} x a copy's time per byte`,
    );
  }
  console.log();
}

/** A method, its twin, and what both are given, with arrays in the place of buffers. */
type Case = [method: keyof Kernel, twin: (args: never) => unknown, args: Record<string, unknown>];

/** Sizes of the problem that functions and twins share, and its parts. */
const d = 96, rows = 24, o = 32, p = 600, n = d * rows;
const h = new Float32Array(d * d);
reference.gram({ x: noise(d * p), h, sum: new Float32Array(d), groups: 1, d, p });
for (let i = 0; i < d; i++) h[i * d + i] += 1;
const u = h.slice();
reference.cholesky({ h: u, groups: 1, n: d });
const target = noise(n), scale = new Float32Array(rows).fill(0.2);
const lo = new Float32Array(rows).fill(-4), span = 7;

/** Products, factors and rounding. */
function roundingCases(): Case[] {
  const grid = { target, scale, groupSize: d, lo, span, rows, groups: 1, d };
  const levels = { q: new Float32Array(n), loss: new Float32Array(rows).fill(1e9) };
  const draws = { seed: 1, stream: 2 }, state = new Float32Array(5 * n);
  const steps = { ...grid, ...levels, ...draws, h, steps: 5, startStep: 0, learningRate: 0.01 };
  const x = noise(d * p), y = noise(o * p), r = new Float32Array(o * d);
  return [
    ["gram", reference.gram, { x, h: h.slice(), sum: new Float32Array(d), groups: 1, d, p }],
    ["cross", reference.cross, { y, x, r, groups: 1, o, d, p }],
    ["mirror", reference.mirror, { h: h.slice(), groups: 1, d }],
    ["cholesky", reference.cholesky, { h, groups: 1, n: d }],
    ["solve", reference.solve, { u, b: target, groups: 1, rows, n: d }],
    ["sequential", reference.sequential, {
      ...grid,
      ...levels,
      ...draws,
      u,
      spread: new Float32Array(d).fill(1),
      taus: Float32Array.from({ length: 16 }, (_, k) => k / 20),
    }],
    ["polish", reference.polish, { ...grid, ...levels, h, sweeps: 5 }],
    ["loss", reference.loss, { ...grid, ...levels, h }],
    ["refit", reference.refit, { ...grid, ...levels, h, oneScale: false }],
    ["gridSearch", reference.gridSearch, {
      ...grid,
      lows: Float32Array.of(-4, -3, -5),
      importance: new Float32Array(d).fill(1),
      candidates: 81,
      shrinkFrom: 0.2,
    }],
    ["nearest", reference.nearest, { ...grid, ...levels }],
    ["stochastic", reference.stochastic, { ...grid, ...levels, ...draws }],
    ["attentionLoop", attentionLoop, { ...steps, state, tau: 0.5 }],
    ["adaroundLoop", adaroundLoop, { ...steps, state, totalSteps: 100, regularisation: 0.01 }],
  ];
}

/** What goes element by element. */
function elementCases(): Case[] {
  const values = { scale, groupSize: d, rows, d, lo, span };
  const m = new Float32Array(n), v = new Float32Array(n), e = noise(50_000);
  return [
    ["minmax", elements.minmax, { x: e, n: e.length, out: new Float32Array(2) }],
    ["attentionForward", elements.attentionForward, {
      ...values,
      alpha: m,
      w: target,
      out: v.slice(),
    }],
    ["attentionStep", elements.attentionStep, {
      ...values,
      alpha: m,
      m: m.slice(),
      v,
      gradient: target,
      w: target,
      tau: 0.5,
      rate: 0.01,
      step: 3,
      slopes: new Float32Array(rows),
    }],
    ["adaroundForward", elements.adaroundForward, {
      ...values,
      soft: m,
      w: target,
      hard: false,
      out: v.slice(),
    }],
    ["adaroundStep", elements.adaroundStep, {
      ...values,
      soft: m,
      m: m.slice(),
      v,
      gradient: target,
      beta: 8,
      regularisation: 0.01,
      rate: 0.01,
      step: 3,
    }],
    ["adam", elements.adam, { x: m, m: m.slice(), v, g: target, n, step: 3, rate: 0.01 }],
  ];
}

/** A function against its twin on the same arguments. */
function twin([method, plain, args]: Case): void {
  const mark = kernel.mark();
  const arrays = Object.entries(args).filter(([, value]) => value instanceof Float32Array);
  const buffers = Object.fromEntries(
    arrays.map(([name, value]) => [name, kernel.f32(value as Float32Array)]),
  );
  const copies = Object.fromEntries(
    arrays.map(([name, value]) => [name, (value as Float32Array).slice()]),
  );
  const restore = () => {
    for (const [name, value] of arrays) {
      buffers[name].view.set(value as Float32Array);
      copies[name].set(value as Float32Array);
    }
  };
  const best = [Infinity, Infinity];
  const call = kernel[method] as (args: unknown) => unknown;
  for (let round = 0; round < 8; round++) {
    restore();
    const now = race([
      () => call.call(kernel, { ...args, ...buffers }),
      () => plain({ ...args, ...copies } as never),
    ], 1);
    now.forEach((value, i) => best[i] = Math.min(best[i], value));
  }
  kernel.reset(mark);
  const ratio = (best[1] / best[0]).toFixed(1);
  console.log(
    `${String(method).padEnd(20)} ${best[0].toFixed(3).padStart(9)} ms ${ratio.padStart(8)} x`,
  );
}

if (only !== "twin") bandwidth();
if (only !== "elements") {
  console.log("functions against their twins in TypeScript");
  [...roundingCases(), ...elementCases()].forEach(twin);
}
