/** The kernel's element-wise functions against their twins, at all sizes and odd values. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import type { LevelBytes } from "../src/kernel/elements.ts";
import { Kernel } from "../src/kernel/kernel.ts";
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

const emptyLevels = (n: number, lo: number): LevelBytes => new (lo < 0 ? Int8Array : Uint8Array)(n);

const same = (a: Float32Array, b: Float32Array, what: string) =>
  assertEquals(Array.from(a, (v) => v + 0), Array.from(b, (v) => v + 0), what);

Deno.test("quantize, dequantize: as the twins to the last bit; ties, NaN, infinities", () => {
  for (const size of [...SIZES, { rows: 2, d: 100, block: 37 }]) {
    for (const [lo, hi] of [[-4, 3], [-128, 127], [0, 255]]) {
      const args = { ...problem(size), lo, hi }, what = JSON.stringify({ ...size, lo });
      const zero = args.scale.map((_, i) => i % 3 - Math.min(lo + 1, 1));
      const q = emptyLevels(args.x.length, lo), twin = q.slice();
      onKernel("quantize", { ...args, zero, q });
      reference.quantize({ ...args, zero, q: twin });
      assertEquals(q, twin, what);
      const levels = { ...args, zero, q };
      const back = both("dequantize", reference.dequantize, levels);
      same(back.kernel.x, back.twin.x, what);
    }
  }
  const one = { rows: 1, scale: Float32Array.of(1), zero: Float32Array.of(1), lo: 0, hi: 15 };
  const x = Float32Array.of(0.5, 1.5, -0.5, -1.5, 2.5, NaN, Infinity);
  const levels = (x: Float32Array) => {
    const q = new Uint8Array(x.length);
    onKernel("quantize", { ...one, x, d: x.length, block: x.length, q });
    return [...q];
  };
  assertEquals(levels(x), [1, 3, 1, 0, 3, 1, 15]);
  // Sixteen at a time as one by one.
  const thrice = Float32Array.from({ length: 21 }, (_, i) => x[i % 7]);
  assertEquals(levels(thrice), [...levels(x), ...levels(x), ...levels(x)]);
});

Deno.test("pack, unpack: bit by bit as the twins, and back, for 2 to 8 bits", () => {
  using kernel = Kernel.create();
  for (let bits = 2; bits <= 8; bits++) {
    for (const n of [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1001]) {
      for (const lo of [0, -(2 ** (bits - 1))]) {
        const levels = Array.from(
          random(n, bits + n),
          (value) => Math.min(2 ** bits - 1, Math.floor(Math.abs(value) * 2 ** (bits - 1))) + lo,
        );
        const q = emptyLevels(n, lo), what = `${n} of ${bits} bits`;
        q.set(levels);
        const { results: [bytes, twin] } = both("pack", reference.pack, { q, bits, lo });
        assertEquals(bytes, twin, what);
        for (const unpack of [reference.unpack, kernel.unpack.bind(kernel)]) {
          const back = emptyLevels(n, lo);
          unpack({ bytes: bytes as Uint8Array, bits, lo, q: back });
          assertEquals(back, q, what);
        }
      }
    }
  }
});

Deno.test("pack: 4 and 2 bits as ONNX keeps them, and what does not fit is refused", () => {
  using kernel = Kernel.create();
  const pack = (q: Int8Array, bits: number) => [...kernel.pack({ q, bits, lo: 0 })];
  // The first integer in the lowest bits, negative ones as their two's complement.
  assertEquals(pack(Int8Array.of(1, -1, 7), 4), [0xf1, 0x07]);
  assertEquals(pack(Int8Array.of(1, -1, -2, 0, 1), 2), [0b00_10_11_01, 0b01]);
  const whole = Int8Array.from({ length: 66 }, (_, i) => i % 16 - 8);
  assertEquals(
    pack(whole, 4),
    Array.from({ length: 33 }, (_, i) => whole[2 * i] & 15 | (whole[2 * i + 1] & 15) << 4),
  );
  const short = { bytes: new Uint8Array(2), bits: 4, lo: 0, q: new Int8Array(5) };
  assertThrows(() => kernel.unpack(short), AttuneError, "2 bytes, not 3");
});

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

Deno.test("histogram: as the twin, in the same bins; ends take what lies outside, NaN is in none", () => {
  for (const length of [0, 1, 3, 4, 15, 16, 17, 1000]) {
    const x = random(length, 7);
    ODD.forEach((value, i) => i < length / 2 && (x[i] = value));
    for (const [lo, hi, bins] of [[-2, 2, 8], [-0.3, 0.77, 101], [-1e-3, 1e-3, 1], [0, 6, 4096]]) {
      // Found on both sides of what was there before.
      const run = (work: (args: Parameters<Kernel["histogram"]>[0]) => void) => {
        const counts = new Float64Array(bins).fill(2 ** 40);
        work({ x, n: length, lo, hi, counts } as never);
        return counts;
      };
      const found = run((args) => onKernel("histogram", args as never));
      assertEquals(found, run((args) => reference.histogram(args as never)), `${length}, ${lo}`);
      const seen = found.reduce((sum, count) => sum + count - 2 ** 40, 0);
      assertEquals(seen, length - x.filter(Number.isNaN).length);
    }
  }
  const x = Float32Array.of(-2, 2, -2.0001, 2.6, 0, -0, NaN, Infinity, -Infinity, 1e-42);
  const counts = new Float64Array(8);
  onKernel("histogram", { x, n: x.length, lo: -2, hi: 2, counts });
  assertEquals([...counts], [3, 0, 0, 0, 3, 0, 0, 3]);
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
    const { x: w, scale, rows, d, block } = problem(size, false), what = JSON.stringify(size);
    const alpha = random(w.length, 8).map((value) => value / 3);
    const grid = { w, scale, rows, d, block, ...variedWindows(rows), alpha };
    const forward = both("attentionForward", reference.attentionForward, {
      ...grid,
      out: w.slice(),
    });
    same(forward.kernel.out, forward.twin.out, what);
    for (const { tau, unit } of [{ tau: 0 }, { tau: 0.5, unit: 1 }, { tau: 0.5, unit: 0.01 }]) {
      const state = { m: random(w.length, 1), v: random(w.length, 2).map((value) => value ** 2) };
      const gradient = random(w.length, 4), slopes = new Float32Array(scale.length);
      const args = { ...grid, ...state, gradient, unit, tau, rate: 0.01, step: 7, slopes };
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
  const grid = { w: zeros, scale: one, rows: 1, d: n, block: n, ...windows(1, -1e30, 1e30) };
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
  const args = { w, scale: Float32Array.of(1), rows: 1, d: n, block: n, ...windows(1, -8, 7) };
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
  const n = 21, zeros = () => new Float32Array(n), rows = 3, d = 7, block = 3;
  const scale = new Float32Array(9).fill(1);
  const grid = { w: zeros(), scale, rows, d, block, ...windows(rows, -2, 1) };
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
    const { x: w, scale, rows, d, block } = problem(size, false);
    const soft = random(w.length, 8).map((value) => 2 * value), what = JSON.stringify(size);
    [0, -0, 30, -30, 200, -200].forEach((value, i) => i < soft.length && (soft[i] = value));
    const grid = { w, scale, rows, d, block, ...variedWindows(rows), soft };
    for (const hard of [false, true]) {
      const args = { ...grid, hard, out: w.slice() };
      const { kernel, twin } = both("adaroundForward", reference.adaroundForward, args);
      if (hard) same(kernel.out, twin.out, what);
      else assertClose(kernel.out, twin.out, 1e-6, what);
    }
    for (const [beta, regularisation] of [[20, 0], [20, 0.5], [3.7, 0.5], [2, 0.5]]) {
      const state = { m: random(w.length, 1), v: random(w.length, 2).map((value) => value ** 2) };
      const rule = { unit: 0.7, beta, regularisation, rate: 0.01, step: 7 };
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
    const grid = { scale: one(1), block: 1, ...windows(1, -2, 1), rows: 1, d: 1, w: one(w) };
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
