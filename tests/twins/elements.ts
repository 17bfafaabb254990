/**
 * The kernel's element-wise functions once more, in plain TypeScript; see kernel.ts.
 *
 * @module
 */

import { scalesPerRow } from "../../src/kernel/arguments.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { erf, level, type Plain } from "./kernel.ts";

/** Half to even, NaN staying NaN. */
function roundEven(t: number): number {
  const down = Math.floor(t), rest = t - down;
  if (rest !== 0.5) return Math.round(t);
  return down % 2 === 0 ? down : down + 1;
}

/** The place of element i's scale. */
function scaleAt(i: number, d: number, groupSize: number): number {
  const row = Math.floor(i / d);
  return row * scalesPerRow(d, groupSize) + Math.floor((i - row * d) / groupSize);
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

/** Σ x and Σ x² of channels, added to float64 sums. */
export function channelSums(args: Plain<Kernel["channelSums"]>): void {
  const { x, runs, width, channels, first, sums } = args;
  const totals = new Float64Array(sums.buffer, sums.byteOffset, 2 * channels);
  for (let i = 0; i < runs * width; i++) {
    const channel = (first + Math.floor(i / width)) % channels;
    totals[channel] += x[i];
    totals[channels + channel] += x[i] ** 2;
  }
}

/** Rounded weights. */
export function attentionForward(args: Plain<Kernel["attentionForward"]>): void {
  const { alpha, w, scale, groupSize, lo, span, rows, d, out } = args;
  for (let i = 0; i < rows * d; i++) {
    const s = scale[scaleAt(i, d, groupSize)], least = lo[Math.floor(i / d)];
    out[i] = s * level(Math.fround(Math.fround(w[i] / s) + alpha[i]), least, least + span);
  }
}

/** One step of Adam on α. */
export function attentionStep(args: Plain<Kernel["attentionStep"]>): void {
  const { alpha, m, v, gradient, w, scale, groupSize, lo, span, rows, d, tau, rate, step } = args;
  const { lossScale = 1 } = args;
  args.slopes.fill(0);
  for (let i = 0; i < rows * d; i++) {
    const b = scaleAt(i, d, groupSize), s = scale[b];
    const least = lo[Math.floor(i / d)], most = least + span;
    const t = Math.fround(Math.fround(w[i] / s) + alpha[i]);
    let slope = s * lossScale * gradient[i];
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
  const { soft, w, scale, groupSize, lo, span, rows, d, hard, out } = args;
  for (let i = 0; i < rows * d; i++) {
    const s = scale[scaleAt(i, d, groupSize)], least = lo[Math.floor(i / d)];
    const h = Math.max(0, Math.min(1, 1.2 * sigmoid(soft[i]) - 0.1));
    const level = Math.floor(Math.fround(w[i] / s)) + (hard ? Number(h >= 0.5) : h);
    out[i] = s * Math.max(least, Math.min(least + span, level));
  }
}

/** One step of Adam on V. */
export function adaroundStep(args: Plain<Kernel["adaroundStep"]>): void {
  const { soft, m, v, gradient, scale, groupSize, rows, d, lossScale = 1, beta, regularisation } =
    args;
  for (let i = 0; i < rows * d; i++) {
    const raw = sigmoid(soft[i]), h = 1.2 * raw - 0.1, off = 2 * h - 1;
    const pull = 2 * beta * Math.abs(off) ** (beta - 1) * Math.sign(off);
    const slope = scale[scaleAt(i, d, groupSize)] * lossScale * gradient[i] - regularisation * pull;
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
