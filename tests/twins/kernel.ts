/**
 * The kernel's functions once more, in plain TypeScript with simple loops and float64 sums: what
 * its tests compare it with. Arguments have the same names as those of {@linkcode Kernel}'s
 * methods, with arrays in the place of buffers.
 *
 * @module
 */

import type { Buffer } from "../../src/kernel/arena.ts";
import { scalesPerRow } from "../../src/kernel/arguments.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import type { Internals } from "../helpers/kernel_internals.ts";

/** The arguments of a method of {@linkcode Kernel}, with arrays in the place of buffers. */
export type Plain<Method extends (args: never) => unknown> = {
  [Key in keyof Parameters<Method>[0]]: Parameters<Method>[0][Key] extends Buffer ? Float32Array
    : Parameters<Method>[0][Key];
};

/** C (m × n) = A (m × k) · B (k × n), or C += A · B. */
export function gemm({ a, b, c, m, n, k, accumulate }: Plain<Internals["gemm"]>): void {
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
      c[i * n + j] = accumulate ? c[i * n + j] + sum : sum;
    }
  }
}

/** h[g] += x[g] · x[g]ᵀ, both triangles, and sum[g] += row sums. */
export function gram({ x, h, sum, groups, d, p }: Plain<Kernel["gram"]>): void {
  cross({ y: x, x, r: h, groups, o: d, d, p });
  for (let row = 0; row < groups * d; row++) {
    sum[row] += x.subarray(row * p, (row + 1) * p).reduce((a, b) => a + b, 0);
  }
}

/** Copies each upper triangle to the lower one. */
export function mirror({ h, groups, d }: Plain<Kernel["mirror"]>): void {
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < i; j++) h[(g * d + i) * d + j] = h[(g * d + j) * d + i];
    }
  }
}

/** r[g] += y[g] · x[g]ᵀ. */
export function cross({ y, x, r, groups, o, d, p }: Plain<Kernel["cross"]>): void {
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < o; i++) {
      for (let j = 0; j < d; j++) {
        let sum = 0;
        for (let k = 0; k < p; k++) sum += y[(g * o + i) * p + k] * x[(g * d + j) * p + k];
        r[(g * o + i) * d + j] += sum;
      }
    }
  }
}

/** h[g] = UᵀU in place; −1, or the first row without a positive, finite pivot. */
export function cholesky({ h, groups, n }: Plain<Kernel["cholesky"]>): number {
  for (let g = 0; g < groups; g++) {
    const a = Float64Array.from(h.subarray(g * n * n, (g + 1) * n * n));
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) {
        for (let k = 0; k < i; k++) a[i * n + j] -= a[k * n + i] * a[k * n + j];
        if (j === i && !(a[i * n + i] > 0 && a[i * n + i] < Infinity)) return i;
        a[i * n + j] = j === i ? Math.sqrt(a[i * n + i]) : a[i * n + j] / a[i * n + i];
      }
      a.fill(0, i * n, i * n + i);
    }
    h.set(a, g * n * n);
  }
  return -1;
}

/** b[g] := b[g] · H[g]⁻¹, by the factor u[g]. */
export function solve({ u, b, groups, rows, n }: Plain<Kernel["solve"]>): void {
  for (let row = 0; row < groups * rows; row++) {
    const factor = u.subarray(Math.floor(row / rows) * n * n);
    const x = Float64Array.from(b.subarray(row * n, (row + 1) * n));
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < i; k++) x[i] -= factor[k * n + i] * x[k];
      x[i] /= factor[i * n + i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let k = i + 1; k < n; k++) x[i] -= factor[i * n + k] * x[k];
      x[i] /= factor[i * n + i];
    }
    b.set(x, row * n);
  }
}

/** The whole number nearest to `t`, half to even, within [lo, hi]. */
export function level(t: number, lo: number, hi: number): number {
  const down = Math.floor(t), rest = t - down;
  const up = rest > 0.5 || (rest === 0.5 && down % 2 !== 0);
  return Math.max(lo, Math.min(hi, up ? down + 1 : down));
}

/** Rounds each weight to its nearest level; the quotient is a float32, as in the kernel. */
export function nearest(
  { target, scale, groupSize, lo, span, rows, groups, d, q }: Plain<Kernel["nearest"]>,
): void {
  for (let at = 0; at < groups * rows * d; at++) {
    const low = lo[Math.floor(at / d)];
    q[at] = level(Math.fround(target[at] / scale[scaleOf(at, d, groupSize)]), low, low + span);
  }
}

/** Rounds each weight up with the probability of its fraction, else down. */
export function stochastic(
  { target, scale, groupSize, lo, span, rows, groups, d, seed, stream, q }: Plain<
    Kernel["stochastic"]
  >,
): void {
  for (let at = 0; at < groups * rows * d; at++) {
    const t = Math.fround(target[at] / scale[scaleOf(at, d, groupSize)]), down = Math.floor(t);
    const key = streamKey(seed, stream + Math.floor(at / d));
    const up = uniform(philox(at % d, 0, key)) < Math.fround(t - down);
    const low = lo[Math.floor(at / d)];
    q[at] = Math.max(low, Math.min(low + span, up ? down + 1 : down));
  }
}

/** Where the scale of weight `at` lies. */
function scaleOf(at: number, d: number, groupSize: number): number {
  return Math.floor(at / d) * scalesPerRow(d, groupSize) + Math.floor(at % d / groupSize);
}

/** The exact loss of each row's levels. */
export function loss(
  { q, target, scale, groupSize, h, rows, groups, d, loss }: Plain<Kernel["loss"]>,
): void {
  for (let row = 0; row < groups * rows; row++) {
    const error = Float64Array.from({ length: d }, (_, j) => {
      const at = row * d + j;
      return scale[scaleOf(at, d, groupSize)] * q[at] - target[at];
    });
    const gram = h.subarray(Math.floor(row / rows) * d * d);
    let sum = 0;
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < d; j++) sum += error[i] * gram[i * d + j] * error[j];
    }
    loss[row] = sum;
  }
}

/** Sequential rounding: one row, one candidate and one input at a time. */
export function sequential(args: Plain<Kernel["sequential"]>): void {
  const { target, scale, groupSize, lo, span, u, spread, taus, seed, stream, rows, groups, d } =
    args;
  for (let row = 0; row < groups * rows; row++) {
    const group = Math.floor(row / rows), factor = u.subarray(group * d * d);
    const key = streamKey(seed, stream + row);
    let left = Array.from(taus, (tau, k) => ({
      tau,
      k,
      q: new Float32Array(d),
      error: new Float64Array(d),
      sum: 0,
    }));
    for (let i = d - 1; i >= 0; i--) {
      const decided = d - 1 - i, quarters = Math.floor(4 * decided / d);
      // Half of the candidates are given up after each quarter of the inputs, found out in steps of
      // 16.
      const survivors = Math.max(2, Math.ceil(taus.length / 2 ** quarters));
      if (decided % 16 === 0 && survivors < left.length) {
        const others = left.slice(1).sort((a, b) => a.sum - b.sum || a.k - b.k);
        left = [left[0], ...others.slice(0, survivors - 1)].sort((a, b) => a.k - b.k);
      }
      const at = row * d + i, s = scale[scaleOf(at, d, groupSize)], pivot = factor[i * d + i];
      for (const candidate of left) {
        const { tau, k, q, error } = candidate;
        let wanted = target[at];
        for (let j = i + 1; j < d; j++) wanted -= factor[i * d + j] / pivot * error[j];
        const sigma = Math.fround(tau * spread[group * d + i]);
        const noise = sigma === 0 ? 0 : sigma * Math.fround(normal(key, k, i));
        q[i] = level(wanted / s + noise, lo[row], lo[row] + span);
        error[i] = s * q[i] - target[at];
        candidate.sum += (pivot * (s * q[i] - wanted)) ** 2;
      }
    }
    const best = left.reduce((a, b) => b.sum < a.sum ? b : a);
    args.q.set(best.q, row * d);
    args.loss[row] = best.sum;
  }
}

/** Coordinate descent: each weight in turn to the best level given all others. */
export function polish(args: Plain<Kernel["polish"]>): void {
  const { q, target, scale, groupSize, lo, span, h, rows, groups, d, sweeps } = args;
  for (let row = 0; row < groups * rows; row++) {
    const gram = h.subarray(Math.floor(row / rows) * d * d);
    for (let sweep = 0, moved = true; sweep < sweeps && moved; sweep++) {
      moved = false;
      for (let i = 0; i < d; i++) {
        const at = row * d + i, s = scale[scaleOf(at, d, groupSize)], curvature = gram[i * d + i];
        let slope = 0;
        for (let j = 0; j < d; j++) {
          const to = row * d + j;
          slope += gram[i * d + j] * (scale[scaleOf(to, d, groupSize)] * q[to] - target[to]);
        }
        const next = level(q[at] - slope / (curvature * s), lo[row], lo[row] + span),
          change = (next - q[at]) * s;
        const gain = change * (2 * slope + change * curvature);
        if (!(gain < -1e-6 * change * change * curvature)) continue;
        q[at] = next;
        moved = true;
      }
    }
  }
  loss(args);
}

/** The best window of levels by every fourth shrink factor, then the best of all shrink factors. */
export function gridSearch(args: Plain<Kernel["gridSearch"]>): void {
  const { target, rows, groups, d, groupSize, lows, span, candidates, scale, lo } = args;
  const perRow = scalesPerRow(d, groupSize);
  for (let row = 0; row < groups * rows; row++) {
    const w = target.subarray(row * d, (row + 1) * d);
    const h = args.importance.subarray(Math.floor(row / rows) * d);
    const search = (low: number, candidates: number) =>
      Array.from({ length: perRow }, (_, b) => {
        const from = b * groupSize, to = Math.min(d, from + groupSize);
        const bounds = { lo: low, hi: low + span, candidates, shrinkFrom: args.shrinkFrom };
        return bestScale(w.subarray(from, to), h.subarray(from, to), bounds);
      });
    const errors = Array.from(
      lows,
      (low) => search(low, candidates >> 2).reduce((sum, { error }) => sum + error, 0),
    );
    lo[row] = lows[errors.indexOf(Math.min(...errors))];
    scale.set(search(lo[row], candidates).map((found) => found.scale), row * perRow);
  }
}

/** The best of evenly spaced shrink factors of the smallest scale that clips nothing. */
function bestScale(
  w: Float32Array,
  importance: Float32Array,
  { lo, hi, candidates, shrinkFrom }: {
    readonly lo: number;
    readonly hi: number;
    readonly candidates: number;
    readonly shrinkFrom: number;
  },
): { readonly scale: number; readonly error: number } {
  const full = w.reduce((most, x) => Math.max(most, x < 0 ? x / lo : x / hi), 0);
  let best = full, least = Infinity;
  for (let i = 1; i <= candidates; i++) {
    const s = full * (shrinkFrom + (1 - shrinkFrom) * i / candidates);
    if (!(s > 1e-30)) continue;
    const error = w.reduce(
      (sum, x, j) => sum + importance[j] * (s * level(x / s, lo, hi) - x) ** 2,
      0,
    );
    if (error <= least) [least, best] = [error, s];
  }
  return best > 1e-30 ? { scale: best, error: least } : { scale: 1, error: 0 };
}

/** Least-squares scales, w H q / q H q. */
export function refit(args: Plain<Kernel["refit"]>): void {
  const { q, target, h, rows, groups, d, oneScale, scale } = args;
  let above = 0, below = 0;
  for (let row = 0; row < groups * rows; row++) {
    const gram = h.subarray(Math.floor(row / rows) * d * d);
    let wHq = 0, qHq = 0;
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < d; j++) {
        wHq += target[row * d + i] * gram[i * d + j] * q[row * d + j];
        qHq += q[row * d + i] * gram[i * d + j] * q[row * d + j];
      }
    }
    above += wHq;
    below += qHq;
    if (!oneScale && wHq > 0 && qHq > 0) scale[row] = wHq / qHq;
  }
  if (oneScale && above > 0 && below > 0) scale.fill(above / below, 0, groups * rows);
}

/** L(W) = (o+d)/2 · log₂ det(I + o/(dε²) · W Wᵀ), by the o × o determinant. */
export function codingLength(
  { w, rows, d }: Plain<Kernel["tridiagonal"]>,
): (epsilon: number) => number {
  return (epsilon) => {
    const a = new Float64Array(rows * rows), factor = rows / (d * epsilon ** 2);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < rows; j++) {
        for (let k = 0; k < d; k++) a[i * rows + j] += factor * w[i * d + k] * w[j * d + k];
      }
      a[i * rows + i] += 1;
    }
    // Gaussian elimination: the determinant is the product of the pivots.
    let log = 0;
    for (let k = 0; k < rows; k++) {
      log += Math.log2(a[k * rows + k]);
      for (let i = k + 1; i < rows; i++) {
        const ratio = a[i * rows + k] / a[k * rows + k];
        for (let j = k; j < rows; j++) a[i * rows + j] -= ratio * a[k * rows + j];
      }
    }
    return (rows + d) / 2 * log;
  };
}

/** Draws of the standard normal distribution. */
export function normals({ out, seed, stream }: Plain<Internals["normals"]>): void {
  const key = streamKey(seed, stream);
  for (let i = 0; i < out.length; i++) out[i] = normal(key, 0, i);
}

/** A standard normal draw; see kernel/gaussian.ts. */
export function normal(key: number, candidate: number, index: number): number {
  return quantile(uniform(philox(index, candidate, key)));
}

/** The key of a stream. */
export function streamKey(seed: number, stream: number): number {
  return philox(stream, 0x61747475, seed);
}

/** Philox 2×32 with seven rounds: the first half of the encrypted counter. */
export function philox(a: number, b: number, key: number): number {
  let [left, right, k] = [a, b, key].map((value) => BigInt(value >>> 0));
  for (let round = 0; round < 7; round++) {
    const wide = left * 0xD256D193n;
    [left, right] = [(wide >> 32n) ^ k ^ right, wide & 0xFFFFFFFFn];
    k = (k + 0x9E3779B9n) & 0xFFFFFFFFn;
  }
  return Number(left);
}

function uniform(bits: number): number {
  return (bits + 0.5) / 2 ** 32;
}

/**
 * Φ⁻¹(p) by Newton's method on erf: exact, and independent of the kernel's rational approximation.
 * From 0 downwards it cannot overshoot, since Φ is convex there.
 */
export function quantile(p: number): number {
  // Below the middle the tail is what has digits.
  if (p > 0.5) return -quantile(1 - p);
  for (let x = 0;;) {
    const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
    const step = (erfc(-x / Math.SQRT2) / 2 - p) / density;
    if (Math.abs(step) < 1e-12) return x;
    x -= step;
  }
}

/** erf(x) by its Taylor series, or by erfc far out. */
export function erf(x: number): number {
  if (Math.abs(x) > 3) return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-20; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

/**
 * 1 − erf(x); by the integral of e^(−x² sec²θ) that Craig found where x > 1, by the series else.
 */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x <= 1) return 1 - erf(x);
  // erfc(x) = 2/π ∫₀^{π/2} e^(−x²/sin²θ) dθ; the trapezoidal rule converges geometrically.
  const steps = 200;
  let sum = Math.exp(-x * x) / 2;
  for (let i = 1; i < steps; i++) sum += Math.exp(-((x / Math.sin(i * Math.PI / 2 / steps)) ** 2));
  return 2 / Math.PI * sum * (Math.PI / 2 / steps);
}
