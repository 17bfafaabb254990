/**
 * The kernel's element-wise functions once more, in plain TypeScript; see reference.ts.
 *
 * @module
 */

import type { Kernel } from "../../src/kernel/kernel.ts";
import { erf, level, normal, type Plain, streamKey } from "./kernel.ts";

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
export function pack({ q, bits, lo }: Plain<Kernel["pack"]>): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(q.length * bits / 8));
  for (let i = 0; i < q.length * bits; i++) {
    const level = q[Math.floor(i / bits)] - lo;
    bytes[i >> 3] |= (level >> (i % bits) & 1) << (i & 7);
  }
  return bytes;
}

/** And back. */
export function unpack({ bytes, bits, lo, q }: Plain<Kernel["unpack"]>): void {
  q.fill(lo);
  for (let i = 0; i < q.length * bits; i++) {
    q[Math.floor(i / bits)] += (bytes[i >> 3] >> (i & 7) & 1) << (i % bits);
  }
}

/** The smallest and largest finite value, and how many are not finite. */
export function minmax({ x, n, out }: Plain<Kernel["minmax"]>): number {
  let others = 0;
  for (let i = 0; i < n; i++) {
    if (!Number.isFinite(x[i])) others++;
    else {
      out[0] = Math.min(out[0], x[i]);
      out[1] = Math.max(out[1], x[i]);
    }
  }
  return others;
}

/** Counts per bin. */
export function histogram({ x, n, lo, hi, counts }: Plain<Kernel["histogram"]>): void {
  const bins = counts.length, factor = Math.fround(bins / (hi - lo));
  for (let i = 0; i < n; i++) {
    const t = Math.fround(Math.fround(x[i] - Math.fround(lo)) * factor);
    if (!Number.isNaN(t)) counts[Math.max(0, Math.min(bins - 1, Math.floor(t)))]++;
  }
}

/** Rounded weights. */
export function attentionForward(args: Plain<Kernel["attentionForward"]>): void {
  const { alpha, w, scale, block, lo, span, rows, d, out } = args;
  for (let i = 0; i < rows * d; i++) {
    const s = scale[scaleAt(i, d, block)], least = lo[Math.floor(i / d)];
    out[i] = s * level(Math.fround(Math.fround(w[i] / s) + alpha[i]), least, least + span);
  }
}

/** One step of Adam on α. */
export function attentionStep(args: Plain<Kernel["attentionStep"]>): void {
  const { alpha, m, v, gradient, w, scale, block, lo, span, rows, d, tau, rate, step } = args;
  const { unit = 1 } = args;
  args.slopes.fill(0);
  for (let i = 0; i < rows * d; i++) {
    const b = scaleAt(i, d, block), s = scale[b];
    const least = lo[Math.floor(i / d)], most = least + span;
    const t = Math.fround(Math.fround(w[i] / s) + alpha[i]);
    let slope = s * unit * gradient[i];
    args.slopes[b] += slope * level(t, least, most);
    const wished = roundEven(t);
    if ((wished > most && slope < 0) || (wished < least && slope > 0)) slope = 0;
    if (tau > 0) {
      const e = 0.5 * erf(alpha[i] / (Math.SQRT2 * tau));
      slope *= slope > 0 ? 0.5 + e : 0.5 - e;
    }
    gradient[i] = slope;
  }
  adam({ x: alpha, m, v, g: gradient, n: rows * d, step, rate });
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Weights between two levels, or at one of them. */
export function adaroundForward(args: Plain<Kernel["adaroundForward"]>): void {
  const { soft, w, scale, block, lo, span, rows, d, hard, out } = args;
  for (let i = 0; i < rows * d; i++) {
    const s = scale[scaleAt(i, d, block)], least = lo[Math.floor(i / d)];
    const h = Math.max(0, Math.min(1, 1.2 * sigmoid(soft[i]) - 0.1));
    const level = Math.floor(Math.fround(w[i] / s)) + (hard ? Number(h >= 0.5) : h);
    out[i] = s * Math.max(least, Math.min(least + span, level));
  }
}

/** One step of Adam on V. */
export function adaroundStep(args: Plain<Kernel["adaroundStep"]>): void {
  const { soft, m, v, gradient, scale, block, rows, d, unit = 1, beta, regularisation } = args;
  for (let i = 0; i < rows * d; i++) {
    const raw = sigmoid(soft[i]), h = 1.2 * raw - 0.1, off = 2 * h - 1;
    const pull = 2 * beta * Math.abs(off) ** (beta - 1) * Math.sign(off);
    const slope = scale[scaleAt(i, d, block)] * unit * gradient[i] - regularisation * pull;
    gradient[i] = h > 0 && h < 1 ? slope * 1.2 * raw * (1 - raw) : 0;
  }
  adam({ x: soft, m, v, g: gradient, n: rows * d, step: args.step, rate: args.rate });
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
