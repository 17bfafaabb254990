// Scales: those of least weighted error before rounding, and of least loss for levels that are
// fixed.

import { scalesPerRow } from "./scale_groups";
import { product } from "./gemm";
import { level } from "./levels";
import { f, madd, put } from "./memory";
import { dot64 } from "./vector";

/** A window of levels is judged by every COARSE-th scale. */
const COARSE: i32 = 4;

/**
 * Grids of least Σ importance_j (s q_j − w_j)²: for each row the first level lo[row], one of the
 * `windows` in `lows`, and for each of its groups the scale, one of `candidates` shrunk ones. A
 * factor of 1 stands for the smallest scale that clips nothing. Ties go to the first window; a
 * group of zeros gets the scale 1.
 */
export function gridSearch(
  target: usize,
  importance: usize,
  rows: i32,
  groups: i32,
  d: i32,
  groupSize: i32,
  lows: usize,
  windows: i32,
  span: f32,
  candidates: i32,
  shrinkFrom: f32,
  scale: usize,
  lo: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let row = 0; row < groups * rows; row++) {
    const w = target + ((row * d) << 2), h = importance + (((row / rows) * d) << 2);
    const steps = scale + ((row * perRow) << 2);
    let best = f(lows, 0), least: f64 = Infinity;
    for (let i = 0; windows > 1 && i < windows; i++) {
      const low = f(lows, i), few = candidates / COARSE;
      const error = bestScales(w, h, d, groupSize, low, low + span, few, shrinkFrom, steps);
      if (error < least) {
        least = error;
        best = low;
      }
    }
    put(lo, row, best);
    bestScales(w, h, d, groupSize, best, best + span, candidates, shrinkFrom, steps);
  }
}

/** Writes the best scale of each group of a row; returns the sum of their errors. */
function bestScales(
  w: usize,
  h: usize,
  d: i32,
  groupSize: i32,
  lo: f32,
  hi: f32,
  candidates: i32,
  shrinkFrom: f32,
  scale: usize,
): f64 {
  let total: f64 = 0;
  for (let from = 0, b = 0; from < d; from += groupSize, b++) {
    const count = min(groupSize, d - from), weights = w + (from << 2), importance = h + (from << 2);
    let full: f32 = 0;
    for (let j = 0; j < count; j++) {
      const value = f(weights, j);
      // The grid reaches further to one side than to the other.
      full = max<f32>(full, value < 0 ? value / lo : value / hi);
    }
    let best: f32 = full, least: f64 = Infinity;
    for (let i = 0; i < candidates; i++) {
      const s = full * (shrinkFrom + (1 - shrinkFrom) * <f32> (i + 1) / <f32> candidates);
      const error = weightedError(weights, importance, count, s, lo, hi);
      if (error <= least) {
        least = error;
        best = s;
      }
    }
    put(scale, b, best > 1e-30 ? best : 1);
    if (best > 1e-30) total += least;
  }
  return total;
}

/** Σ h_j (s · clip(round(w_j / s)) − w_j)². */
function weightedError(w: usize, h: usize, n: i32, s: f32, lo: f32, hi: f32): f64 {
  if (!(s > 1e-30)) return Infinity;
  const inverse: f32 = 1 / s;
  const vs = f32x4.splat(s), vi = f32x4.splat(inverse), vl = f32x4.splat(lo), vh = f32x4.splat(hi);
  let acc = f32x4.splat(0);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const x = v128.load(w + (j << 2));
    const q = f32x4.pmax(vl, f32x4.pmin(vh, f32x4.nearest(f32x4.mul(x, vi))));
    const e = f32x4.sub(f32x4.mul(q, vs), x);
    acc = madd(acc, v128.load(h + (j << 2)), f32x4.mul(e, e));
  }
  let total: f64 = <f64> f32x4.extract_lane(acc, 0) + <f64> f32x4.extract_lane(acc, 1) +
    <f64> f32x4.extract_lane(acc, 2) + <f64> f32x4.extract_lane(acc, 3);
  for (; j < n; j++) {
    const e = level(f(w, j) * inverse, lo, hi) * s - f(w, j);
    total += <f64> (f(h, j) * e * e);
  }
  return total;
}

/**
 * The scale of least loss for fixed levels, s = w H q / q H q, where that is positive: for each
 * row, or one for all. `work` holds rows × d floats.
 */
export function refit(
  q: usize,
  target: usize,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  oneScale: bool,
  scale: usize,
  work: usize,
): void {
  let above: f64 = 0, below: f64 = 0;
  for (let g = 0; g < groups; g++) {
    const first = g * rows;
    memory.fill(work, 0, (rows * d) << 2);
    const levels = q + ((first * d) << 2);
    product(rows, d, d, 1, levels, d, 1, h + ((g * d * d) << 2), d, 1, work, d, false);
    for (let r = 0; r < rows; r++) {
      const row = ((first + r) * d) << 2, hq = work + ((r * d) << 2);
      const wHq = dot64(target + row, hq, d), qHq = dot64(q + row, hq, d);
      above += wHq;
      below += qHq;
      if (!oneScale && wHq > 0 && qHq > 0) put(scale, first + r, <f32> (wHq / qHq));
    }
  }
  if (!oneScale || !(above > 0 && below > 0)) return;
  for (let r = 0; r < groups * rows; r++) put(scale, r, <f32> (above / below));
}
