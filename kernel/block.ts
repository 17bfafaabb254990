// Attention Round where the gradient with respect to the rounded weights comes from outside: from a
// block's gradient graph. ŵ = s · clip(round(w/s + α)).

import { adam } from "./adam";
import { erfFast, fillTable } from "./erf";
import { f, put } from "./memory";
import { level } from "./scale";

/** out = ŵ for rows × d weights; a scale belongs to a row and a block of it. */
export function attentionForward(
  alpha: usize,
  w: usize,
  scale: usize,
  block: i32,
  lo: f32,
  hi: f32,
  rows: i32,
  d: i32,
  out: usize,
): void {
  const low = f32x4.splat(lo), high = f32x4.splat(hi);
  const blocks = (d + block - 1) / block;
  for (let b = 0; b < rows * blocks; b++) {
    const first = (b / blocks) * d + (b % blocks) * block;
    const last = (b / blocks) * d + min(d, (b % blocks + 1) * block);
    const s = f(scale, b), step = f32x4.splat(s);
    let i = first;
    for (; i + 4 <= last; i += 4) {
      const at = i << 2;
      const t = f32x4.add(f32x4.div(v128.load(w + at), step), v128.load(alpha + at));
      const q = f32x4.pmax(low, f32x4.pmin(high, f32x4.nearest(t)));
      v128.store(out + at, f32x4.mul(step, q));
    }
    for (; i < last; i++) put(out, i, s * level(f(w, i) / s + f(alpha, i), lo, hi));
  }
}

/**
 * One step of Adam on α by g = ∂L/∂ŵ, which is overwritten; and slopes[b] = ∂L/∂ log s = Σ g s q.
 *
 * ∂L/∂α = s g, by the erf rule (`tau` > 0) times ½ + ½ erf(α/(√2 τ)) where it is positive, else times
 * ½ − ½ erf(α/(√2 τ)); straight through where `tau` is 0. Beyond the grid only the way back counts.
 */
export function attentionStep(
  alpha: usize,
  m: usize,
  v: usize,
  g: usize,
  w: usize,
  scale: usize,
  block: i32,
  lo: f32,
  hi: f32,
  rows: i32,
  d: i32,
  tau: f32,
  rate: f32,
  step: i32,
  slopes: usize,
): void {
  fillTable();
  const blocks = (d + block - 1) / block;
  const inverse: f32 = tau > 0 ? 1 / (Mathf.sqrt(2) * tau) : 0;
  for (let b = 0; b < rows * blocks; b++) {
    const first = (b / blocks) * d + (b % blocks) * block;
    const last = (b / blocks) * d + min(d, (b % blocks + 1) * block);
    const s = f(scale, b);
    let ofScale: f64 = 0;
    for (let i = first; i < last; i++) {
      const a = f(alpha, i), t = f(w, i) / s + a;
      let slope = s * f(g, i);
      ofScale += slope * level(t, lo, hi);
      if ((t > hi + 0.5 && slope < 0) || (t < lo - 0.5 && slope > 0)) slope = 0;
      if (tau > 0) {
        const e: f32 = 0.5 * erfFast(a * inverse);
        slope *= slope > 0 ? 0.5 + e : 0.5 - e;
      }
      put(g, i, slope);
    }
    put(slopes, b, <f32> ofScale);
  }
  adam(alpha, m, v, g, rows * d, step, rate);
}
