// Adam (Kingma and Ba 2015).

import { f, madd, put } from "./memory";

const BETA1: f32 = 0.9, BETA2: f32 = 0.999, EPSILON: f32 = 1e-12;

/** Step `step` (from 0) of Adam on x[0 … n), with moments m and v and gradients g. */
export function adam(x: usize, m: usize, v: usize, g: usize, n: i32, step: i32, rate: f32): void {
  const fix1 = 1 / (1 - Math.pow(BETA1, <f64> step + 1));
  const fix2 = 1 / (1 - Math.pow(BETA2, <f64> step + 1));
  const beta1 = f32x4.splat(BETA1), rest1 = f32x4.splat(1 - BETA1);
  const beta2 = f32x4.splat(BETA2), rest2 = f32x4.splat(1 - BETA2);
  const reach = f32x4.splat(rate * <f32> fix1), spread = f32x4.splat(<f32> fix2);
  const epsilon = f32x4.splat(EPSILON);
  let at: usize = 0;
  for (const end = (n & ~3) << 2; at < <usize> end; at += 16) {
    const slope = v128.load(g + at);
    const first = madd(f32x4.mul(beta1, v128.load(m + at)), rest1, slope);
    const squares = f32x4.mul(rest2, f32x4.mul(slope, slope));
    const second = f32x4.add(f32x4.mul(beta2, v128.load(v + at)), squares);
    v128.store(m + at, first);
    v128.store(v + at, second);
    const size = f32x4.add(f32x4.sqrt(f32x4.mul(second, spread)), epsilon);
    const change = f32x4.div(f32x4.mul(reach, first), size);
    v128.store(x + at, f32x4.sub(v128.load(x + at), change));
  }
  for (let i = n & ~3; i < n; i++) {
    const slope = f(g, i);
    const first = BETA1 * f(m, i) + (1 - BETA1) * slope;
    const second = BETA2 * f(v, i) + (1 - BETA2) * (slope * slope);
    put(m, i, first);
    put(v, i, second);
    const size = Mathf.sqrt(second * <f32> fix2) + EPSILON;
    put(x, i, f(x, i) - rate * <f32> fix1 * first / size);
  }
}
