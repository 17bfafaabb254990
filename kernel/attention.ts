// Attention Round where the gradient with respect to the rounded weights comes from outside: from a
// block's gradient graph. ŵ = s · clip(round(w/s + α)).

import { adam } from "./adam";
import { groupEnd, scalesPerRow, groupStart } from "./scale_groups";
import { clip4 } from "./clip";
import { erfGradient } from "./erf";
import { level } from "./levels";
import { f, madd, put } from "./memory";
import { sumLanes } from "./vector";

/**
 * out = ŵ for rows × d weights; a scale belongs to a row and a group of it. The levels of row r are
 * lo[r] … lo[r] + span.
 */
export function attentionForward(
  alpha: usize,
  w: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  out: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let b = 0; b < rows * perRow; b++) {
    const end = groupEnd(b, perRow, groupSize, d), s = f(scale, b), step = f32x4.splat(s);
    const least = f(lo, b / perRow), most = least + span;
    const low = f32x4.splat(least), high = f32x4.splat(most);
    let i = groupStart(b, perRow, groupSize, d);
    for (; i + 4 <= end; i += 4) {
      const at = i << 2;
      const t = f32x4.add(f32x4.div(v128.load(w + at), step), v128.load(alpha + at));
      v128.store(out + at, f32x4.mul(step, clip4(f32x4.nearest(t), low, high)));
    }
    for (; i < end; i++) put(out, i, s * level(f(w, i) / s + f(alpha, i), least, most));
  }
}

/**
 * One step of Adam on α by g = ∂L/∂ŵ times `lossScale`, which is overwritten; and
 * slopes[b] = ∂L/∂ log s = Σ g s q, times `lossScale`, too.
 *
 * ∂L/∂α = s g, by the erf rule (`tau` > 0) times ½ + ½ erf(α/(√2 τ)) where it is positive, else
 * times ½ − ½ erf(α/(√2 τ)); straight through where `tau` is 0. Beyond the grid only the way back
 * counts.
 */
export function attentionStep(
  alpha: usize,
  m: usize,
  v: usize,
  g: usize,
  w: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  lossScale: f32,
  tau: f32,
  rate: f32,
  step: i32,
  slopes: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  const inverse: f32 = tau > 0 ? 1 / (Mathf.sqrt(2) * tau) : 0;
  const radius = f32x4.splat(inverse);
  for (let b = 0; b < rows * perRow; b++) {
    const end = groupEnd(b, perRow, groupSize, d), s = f(scale, b), factor = s * lossScale;
    const size = f32x4.splat(s), chain = f32x4.splat(factor);
    const least = f(lo, b / perRow), most = least + span;
    const low = f32x4.splat(least), high = f32x4.splat(most);
    // Sums of four lanes each, short enough for float32: of one group of one row.
    let sums = f32x4.splat(0), rest: f32 = 0;
    let i = groupStart(b, perRow, groupSize, d);
    for (; i + 4 <= end; i += 4) {
      const at = i << 2;
      const a = v128.load(alpha + at);
      const wished = f32x4.nearest(f32x4.add(f32x4.div(v128.load(w + at), size), a));
      const slope = f32x4.mul(chain, v128.load(g + at));
      sums = madd(sums, slope, clip4(wished, low, high));
      v128.store(g + at, ruled(slope, wished, a, low, high, radius, tau));
    }
    for (; i < end; i++) {
      const wished = nearest<f32>(f(w, i) / s + f(alpha, i)), slope = factor * f(g, i);
      rest += slope * level(wished, least, most);
      const a = f32x4.splat(f(alpha, i));
      const lanes = ruled(f32x4.splat(slope), f32x4.splat(wished), a, low, high, radius, tau);
      put(g, i, f32x4.extract_lane(lanes, 0));
    }
    put(slopes, b, sumLanes(sums) + rest);
  }
  adam(alpha, m, v, g, rows * d, step, rate);
}

/**
 * Slopes without those that push a level further beyond the grid, by the erf rule if there is a τ.
 */
// @ts-ignore: decorator
@inline
function ruled(
  slope: v128,
  wished: v128,
  alpha: v128,
  low: v128,
  high: v128,
  radius: v128,
  tau: f32,
): v128 {
  const zero = f32x4.splat(0);
  const above = v128.and(f32x4.gt(wished, high), f32x4.lt(slope, zero));
  const below = v128.and(f32x4.lt(wished, low), f32x4.gt(slope, zero));
  const inward = v128.andnot(slope, v128.or(above, below));
  return tau > 0 ? erfGradient(inward, alpha, radius) : inward;
}
