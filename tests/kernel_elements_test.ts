/** The kernel's element-wise functions against their twins, at all sizes and odd values. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { Kernel } from "../src/kernel/kernel.ts";
import * as reference from "../src/kernel/reference_elements.ts";
import { assertClose, both, onKernel, random } from "./kernel_twins.ts";

const SIZES = [
  { rows: 0, d: 5, block: 5 },
  { rows: 1, d: 1, block: 1 },
  { rows: 1, d: 15, block: 15 },
  { rows: 3, d: 16, block: 7 },
  { rows: 2, d: 17, block: 4 },
  { rows: 5, d: 33, block: 33 },
];
/** Ties, signed zeros, denormals, what is not finite, what lies far outside. */
const ODD = [0.5, -0.5, 1.5, 2.5, -2.5, 0, -0, 1e-42, NaN, Infinity, -Infinity, 1e30, -1e30];

function problem({ rows, d, block }: { rows: number; d: number; block: number }, odd = true) {
  const x = random(rows * d, 3).map((value) => 2 * value);
  if (odd) ODD.forEach((value, i) => i < x.length && (x[i] = value));
  const blocks = rows * Math.ceil(d / block);
  const scale = random(blocks, 5).map((value) => 0.3 + Math.abs(value) / 2);
  if (blocks > 0) scale[0] = 1;
  return { x, scale, rows, d, block, lo: -4, hi: 3 };
}

const same = (a: Float32Array, b: Float32Array, what: string) =>
  assertEquals(Array.from(a, (v) => v + 0), Array.from(b, (v) => v + 0), what);

Deno.test("quantize, dequantize: as the twins to the last bit; ties, NaN, infinities", () => {
  for (const size of SIZES) {
    const args = problem(size), what = JSON.stringify(size);
    const zero = args.scale.map((_, i) => i % 3 - 1), q = new Float32Array(args.x.length);
    const levels = both("quantize", reference.quantize, { ...args, zero, q });
    same(levels.kernel.q, levels.twin.q, what);
    assert(levels.kernel.q.every((level) => level >= -4 && level <= 3));
    const back = both("dequantize", reference.dequantize, { ...args, zero, q: levels.kernel.q });
    same(back.kernel.x, back.twin.x, what);
  }
  const tie = {
    x: Float32Array.of(0.5, 1.5, -0.5, -1.5, 2.5, NaN, Infinity),
    rows: 1,
    d: 7,
    block: 7,
  };
  const { q } = onKernel("quantize", {
    ...tie,
    scale: Float32Array.of(1),
    zero: Float32Array.of(1),
    lo: 0,
    hi: 15,
    q: new Float32Array(7),
  }).args;
  assertEquals([...q], [1, 3, 1, 0, 3, 1, 15]);
});

Deno.test("pack, unpack: bit by bit as the twin, and back, for 2 to 8 bits", () => {
  using kernel = Kernel.create();
  for (let bits = 2; bits <= 8; bits++) {
    for (const n of [0, 1, 2, 7, 8, 15, 16, 17, 1001]) {
      for (const lo of [0, -(2 ** (bits - 1))]) {
        const levels = random(n, bits + n).map((value) =>
          Math.min(2 ** bits - 1, Math.floor(Math.abs(value) * 2 ** (bits - 1))) + lo
        );
        const mark = kernel.mark(), q = kernel.f32(levels);
        const bytes = kernel.pack({ q, n, bits, lo });
        assertEquals(bytes, reference.pack({ q: levels, n, bits, lo }), `${n} of ${bits} bits`);
        const back = kernel.f32(n);
        kernel.unpack({ bytes, n, bits, lo, q: back });
        assertEquals(back.view.slice(), levels);
        kernel.reset(mark);
      }
    }
  }
  // ONNX keeps the first of two 4-bit integers in the low half.
  const q = kernel.f32(Float32Array.of(1, 15, 7));
  assertEquals([...kernel.pack({ q, n: 3, bits: 4, lo: 0 })], [0xf1, 0x07]);
});

Deno.test("minmax, histogram: as the twins; what is not finite is counted, and in no bin", () => {
  for (const length of [0, 1, 3, 4, 15, 16, 17, 1000]) {
    const x = random(length, 7);
    ODD.forEach((value, i) => i < length / 2 && (x[i] = value));
    const out = Float32Array.of(Infinity, -Infinity, 0);
    const range = both("minmax", reference.minmax, { x, n: length, out });
    same(range.kernel.out, range.twin.out, `${length}`);
    for (const stride of [1, 3]) {
      const counts = new Float32Array(8);
      const found = both("histogram", reference.histogram, {
        x,
        n: length,
        stride,
        factor: 2,
        counts,
      });
      same(found.kernel.counts, found.twin.counts, `${length} by ${stride}`);
    }
  }
  const edges = Float32Array.of(-2, 2, -2.0001, 2.6, 0, -0, NaN);
  const { counts } = onKernel("histogram", {
    x: edges,
    n: 7,
    stride: 1,
    factor: 2,
    counts: new Float32Array(8),
  }).args;
  assertEquals([...counts], [1, 0, 0, 0, 2, 0, 0, 1]);
});

Deno.test("levelProbabilities: as the twin, in all 1; samples follow them (chi-squared)", () => {
  const t = Float32Array.of(0, 0.3, -0.5, 1.49, 7, -9, 2.5), lo = -4, hi = 3, levels = hi - lo + 1;
  for (const tau of [0.05, 0.5, 2]) {
    const args = { t, n: t.length, tau, lo, hi, out: new Float32Array(t.length * levels) };
    const { kernel, twin } = both("levelProbabilities", reference.levelProbabilities, args);
    assertClose(kernel.out, twin.out, 1e-7);
    for (let i = 0; i < t.length; i++) {
      const own = [...kernel.out.subarray(i * levels, (i + 1) * levels)];
      assert(Math.abs(own.reduce((a, b) => a + b) - 1) < 1e-6);
      assert(own.every((p) => p >= 0));
      const d = 20_000, weights = new Float32Array(d).fill(t[i]);
      const { q } = onKernel("sampleLevels", {
        t: weights,
        rows: 1,
        d,
        tau,
        lo,
        hi,
        seed: 5,
        stream: i,
        q: new Float32Array(d),
      }).args;
      let chi = 0, cells = -1;
      own.forEach((p, level) => {
        const seen = q.filter((value) => value === level + lo).length;
        if (p * d < 5) return assert(seen < 25, `level ${level + lo} ${seen} times, p ${p}`);
        chi += (seen - p * d) ** 2 / (p * d);
        cells++;
      });
      // Eight cells at most: the 99.99th percentile of chi-squared with 7 degrees is 29.9.
      assert(chi < 30, `t ${t[i]}, tau ${tau}: chi-squared ${chi} over ${cells} degrees`);
    }
  }
});

Deno.test("sampleLevels: as the twin", () => {
  for (const { rows, d } of SIZES) {
    const t = random(rows * d, 2).map((value) => 3 * value);
    const args = { t, rows, d, tau: 0.7, lo: -4, hi: 3, seed: 3, stream: 9, q: t.slice() };
    const { kernel, twin } = both("sampleLevels", reference.sampleLevels, args);
    same(kernel.q, twin.q, `${rows} × ${d}`);
  }
});

Deno.test("attentionForward, attentionStep: as the twins, for either rule", () => {
  for (const size of SIZES) {
    const { x: w, scale, rows, d, block, lo, hi } = problem(size, false),
      what = JSON.stringify(size);
    const alpha = random(w.length, 8).map((value) => value / 3);
    const grid = { w, scale, rows, d, block, lo, hi, alpha };
    const forward = both("attentionForward", reference.attentionForward, {
      ...grid,
      out: w.slice(),
    });
    same(forward.kernel.out, forward.twin.out, what);
    for (const tau of [0, 0.5]) {
      const state = { m: random(w.length, 1), v: random(w.length, 2).map((value) => value ** 2) };
      const gradient = random(w.length, 4), slopes = new Float32Array(scale.length);
      const args = { ...grid, ...state, gradient, tau, rate: 0.01, step: 7, slopes };
      const { kernel, twin } = both("attentionStep", reference.attentionStep, args);
      for (const name of ["alpha", "m", "v", "gradient", "slopes"] as const) {
        assertClose(kernel[name], twin[name], 1e-5, `${what}, ${name}`);
      }
    }
  }
});

Deno.test("attentionStep: beyond the grid only the way back counts; the erf rule lets weights home", () => {
  const step = (alpha: number, gradient: number, w: number, tau: number) => {
    const one = (value: number) => Float32Array.of(value);
    const grid = { scale: one(1), block: 1, lo: -2, hi: 1, rows: 1, d: 1, w: one(w) };
    const state = { m: one(0), v: one(0), rate: 1, step: 0, slopes: one(0) };
    const args = { ...grid, ...state, alpha: one(alpha), gradient: one(gradient), tau };
    return onKernel("attentionStep", args).args.gradient[0];
  };
  assertEquals(step(0, -1, 3, 0), 0);
  assertEquals(step(0, 1, 3, 0), 1);
  assertEquals(step(0, 1, -4, 0), 0);
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
