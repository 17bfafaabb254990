// AdaRound (Nagel et al. 2020): ŵ = s · clip(⌊w/s⌋ + h(V)), where h, the rectified sigmoid, lies
// between 0 and 1 while V is learned, and the regulariser Σ 1 − |2h − 1|^β pushes it to either end.

import { adam } from "./adam";
import { groupEnd, scalesPerRow, groupStart } from "./scale_groups";
import { clip4 } from "./clip";
import { exp4, log4 } from "./exponential";
import { f, put } from "./memory";

/** The sigmoid is stretched to reach from γ to ζ before it is cut to [0, 1]. */
export const ZETA: f32 = 1.1, GAMMA: f32 = -0.1;

/** 1 / (1 + e⁻ˣ). */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

// @ts-ignore: decorator
@inline
function stretched(raw: v128): v128 {
  return f32x4.add(f32x4.mul(raw, f32x4.splat(ZETA - GAMMA)), f32x4.splat(GAMMA));
}

/** The values for four weights; `hard` is all ones where h is rounded, which is V ≥ 0. */
function rounded(x: v128, w: v128, s: v128, low: v128, high: v128, hard: v128): v128 {
  const zero = f32x4.splat(0), one = f32x4.splat(1);
  const up = v128.and(one, f32x4.ge(x, zero));
  const h = v128.bitselect(up, clip4(stretched(sigmoid(x)), zero, one), hard);
  return f32x4.mul(s, clip4(f32x4.add(f32x4.floor(f32x4.div(w, s)), h), low, high));
}

/**
 * out = ŵ for rows × d weights, with h as it is or rounded; a scale belongs to a row and a group.
 */
export function adaroundForward(
  x: usize,
  w: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  hard: bool,
  out: usize,
): void {
  const mask = i32x4.splat(hard ? -1 : 0);
  const perRow = scalesPerRow(d, groupSize);
  for (let b = 0; b < rows * perRow; b++) {
    const end = groupEnd(b, perRow, groupSize, d), s = f32x4.splat(f(scale, b));
    const least = f(lo, b / perRow);
    const low = f32x4.splat(least), high = f32x4.splat(least + span);
    let i = groupStart(b, perRow, groupSize, d);
    for (; i + 4 <= end; i += 4) {
      const at = i << 2;
      v128.store(out + at, rounded(v128.load(x + at), v128.load(w + at), s, low, high, mask));
    }
    for (; i < end; i++) {
      const soft = f32x4.splat(f(x, i)), weight = f32x4.splat(f(w, i));
      put(out, i, f32x4.extract_lane(rounded(soft, weight, s, low, high, mask), 0));
    }
  }
}

/**
 * The derivatives by V of a loss and `weight` times the regulariser, where `slope` are those of the
 * loss by the level: (slope − weight · 2β |2h − 1|^(β−1) sign(2h − 1)) · dh/dV.
 */
export function softSlope(slope: v128, x: v128, beta: f32, weight: f32): v128 {
  const zero = f32x4.splat(0), one = f32x4.splat(1);
  const raw = sigmoid(x), h = stretched(raw);
  let outer = slope;
  if (weight > 0) {
    const off = f32x4.sub(f32x4.add(h, h), one), sign = i32x4.splat(0x80000000);
    const exponent = f32x4.mul(f32x4.splat(beta - 1), log4(f32x4.abs(off)));
    // What is below e⁻⁴⁰ is none: denormal numbers would be slow.
    const power = v128.and(exp4(exponent), f32x4.gt(exponent, f32x4.splat(-40)));
    const pull = f32x4.mul(f32x4.splat(weight * 2 * beta), power);
    outer = f32x4.sub(outer, v128.or(pull, v128.and(off, sign)));
  }
  const rate = f32x4.mul(f32x4.mul(f32x4.splat(ZETA - GAMMA), raw), f32x4.sub(one, raw));
  const inside = v128.and(f32x4.gt(h, zero), f32x4.lt(h, one));
  return v128.and(f32x4.mul(outer, rate), inside);
}

/** One step of Adam on V by g = ∂L/∂ŵ times `lossScale`, which is overwritten; see `softSlope`. */
export function adaroundStep(
  x: usize,
  m: usize,
  v: usize,
  g: usize,
  scale: usize,
  groupSize: i32,
  rows: i32,
  d: i32,
  lossScale: f32,
  beta: f32,
  weight: f32,
  rate: f32,
  step: i32,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let b = 0; b < rows * perRow; b++) {
    const end = groupEnd(b, perRow, groupSize, d), factor = f(scale, b) * lossScale;
    let i = groupStart(b, perRow, groupSize, d);
    for (; i + 4 <= end; i += 4) {
      const at = i << 2, slope = f32x4.mul(f32x4.splat(factor), v128.load(g + at));
      v128.store(g + at, softSlope(slope, v128.load(x + at), beta, weight));
    }
    for (; i < end; i++) {
      const slope = f32x4.splat(factor * f(g, i));
      put(g, i, f32x4.extract_lane(softSlope(slope, f32x4.splat(f(x, i)), beta, weight), 0));
    }
  }
  adam(x, m, v, g, rows * d, step, rate);
}
