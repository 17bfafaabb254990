/**
 * The kernel's element-wise functions once more, in plain TypeScript; see reference.ts.
 *
 * @module
 */

import type { Kernel } from "./kernel.ts";
import { erf, level, normal, type Plain, streamKey } from "./reference.ts";

/** Half to even, NaN staying NaN. */
function roundEven(t: number): number {
  const down = Math.floor(t), rest = t - down;
  if (rest !== 0.5) return Math.round(t);
  return down % 2 === 0 ? down : down + 1;
}

/** The place of element i's scale. */
function scaleAt(i: number, d: number, block: number): number {
  const row = Math.floor(i / d);
  return row * Math.ceil(d / block) + Math.floor((i - row * d) / block);
}

/** The chance of each level. */
export function levelProbabilities(
  { t, n, tau, lo, hi, out }: Plain<Kernel["levelProbabilities"]>,
): void {
  const upTo = (x: number) => 0.5 * (1 + erf(x / (tau * Math.SQRT2)));
  for (let i = 0; i < n; i++) {
    for (let q = lo; q <= hi; q++) {
      const above = q === hi ? 1 : upTo(q + 0.5 - t[i]),
        below = q === lo ? 0 : upTo(q - 0.5 - t[i]);
      out[i * (hi - lo + 1) + q - lo] = above - below;
    }
  }
}

/** A level for each weight, by chance. */
export function sampleLevels(args: Plain<Kernel["sampleLevels"]>): void {
  const { t, rows, d, tau, lo, hi, seed, stream, q } = args;
  for (let i = 0; i < rows * d; i++) {
    const key = streamKey(seed, stream + Math.floor(i / d));
    const drawn = Math.fround(tau) * Math.fround(normal(key, 0, i % d));
    q[i] = level(Math.fround(t[i] + Math.fround(drawn)), lo, hi);
  }
}

/** Levels of values. */
export function quantize(args: Plain<Kernel["quantize"]>): void {
  const { x, scale, zero, block, lo, hi, rows, d, q } = args;
  for (let i = 0; i < rows * d; i++) {
    const b = scaleAt(i, d, block);
    const t = roundEven(Math.fround(x[i] / scale[b])) + zero[b];
    q[i] = Math.max(lo, Math.min(hi, Number.isNaN(t) ? zero[b] : t));
  }
}

/** Values of levels. */
export function dequantize(args: Plain<Kernel["dequantize"]>): void {
  const { q, scale, zero, block, rows, d, x } = args;
  for (let i = 0; i < rows * d; i++) {
    const b = scaleAt(i, d, block);
    x[i] = Math.fround(q[i] - zero[b]) * scale[b];
  }
}

/** Levels as a stream of bits. */
export function pack(
  { q, n, bits, lo }: { q: ArrayLike<number>; n: number; bits: number; lo: number },
): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(n * bits / 8));
  for (let j = 0; j < n; j++) {
    for (let b = 0; b < bits; b++) {
      const i = j * bits + b;
      bytes[i >> 3] |= ((q[j] - lo) >> b & 1) << (i & 7);
    }
  }
  return bytes;
}

/** The smallest and largest finite value, and how many are not finite. */
export function minmax({ x, n, out }: Plain<Kernel["minmax"]>): void {
  for (let i = 0; i < n; i++) {
    if (!Number.isFinite(x[i])) out[2]++;
    else {
      out[0] = Math.min(out[0], x[i]);
      out[1] = Math.max(out[1], x[i]);
    }
  }
}

/** Counts per bin. */
export function histogram({ x, n, stride, factor, counts }: Plain<Kernel["histogram"]>): void {
  const bins = counts.length;
  for (let i = 0; i < n; i += stride) {
    const b = Math.floor(Math.fround(x[i] * factor)) + bins / 2;
    if (b >= 0 && b <= bins) counts[Math.min(bins - 1, b)]++;
  }
}

/** Rounded weights. */
export function attentionForward(args: Plain<Kernel["attentionForward"]>): void {
  const { alpha, w, scale, block, lo, hi, rows, d, out } = args;
  for (let i = 0; i < rows * d; i++) {
    const s = scale[scaleAt(i, d, block)];
    out[i] = s * level(Math.fround(Math.fround(w[i] / s) + alpha[i]), lo, hi);
  }
}

/** One step of Adam on α. */
export function attentionStep(args: Plain<Kernel["attentionStep"]>): void {
  const { alpha, m, v, gradient, w, scale, block, lo, hi, rows, d, tau, rate, step } = args;
  args.slopes.fill(0);
  for (let i = 0; i < rows * d; i++) {
    const b = scaleAt(i, d, block), s = scale[b];
    const t = Math.fround(Math.fround(w[i] / s) + alpha[i]);
    let slope = s * gradient[i];
    args.slopes[b] += slope * level(t, lo, hi);
    if ((t > hi + 0.5 && slope < 0) || (t < lo - 0.5 && slope > 0)) slope = 0;
    if (tau > 0) {
      const e = 0.5 * erf(alpha[i] / (Math.SQRT2 * tau));
      slope *= slope > 0 ? 0.5 + e : 0.5 - e;
    }
    gradient[i] = slope;
  }
  adam({ x: alpha, m, v, g: gradient, n: rows * d, step, rate });
}

/** One step of Adam. */
export function adam({ x, m, v, g, n, step, rate }: Plain<Kernel["adam"]>): void {
  for (let i = 0; i < n; i++) {
    m[i] = 0.9 * m[i] + 0.1 * g[i];
    v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
    const mean = m[i] / (1 - 0.9 ** (step + 1)), spread = v[i] / (1 - 0.999 ** (step + 1));
    x[i] -= rate * mean / (Math.sqrt(spread) + 1e-12);
  }
}
