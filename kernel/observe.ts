// Observers: what a stream of activations looks like, without keeping it.

import { f, put } from "./memory";

/** The largest finite float32. */
const MOST: f32 = 3.4028234663852886e38;

/**
 * out[0] and out[1] = the smallest and largest finite value of x[0 … n), and of what they were before;
 * out[2] += how many are not finite.
 */
export function minmax(x: usize, n: i32, out: usize): void {
  let low = f32x4.splat(f(out, 0)), high = f32x4.splat(f(out, 1));
  let low2 = low, high2 = high, odd = i32x4.splat(0);
  const most = f32x4.splat(MOST);
  let i = 0;
  // Two at a time, since each comparison waits for the one before.
  for (; i + 8 <= n; i += 8) {
    const a = v128.load(x + (i << 2)), b = v128.load(x + (i << 2), 16);
    const finite = f32x4.le(f32x4.abs(a), most), finite2 = f32x4.le(f32x4.abs(b), most);
    low = f32x4.pmin(low, v128.bitselect(a, low, finite));
    high = f32x4.pmax(high, v128.bitselect(a, high, finite));
    low2 = f32x4.pmin(low2, v128.bitselect(b, low2, finite2));
    high2 = f32x4.pmax(high2, v128.bitselect(b, high2, finite2));
    odd = i32x4.sub(i32x4.sub(odd, v128.not(finite)), v128.not(finite2));
  }
  low = f32x4.pmin(low, low2);
  high = f32x4.pmax(high, high2);
  for (; i + 4 <= n; i += 4) {
    const values = v128.load(x + (i << 2));
    const finite = f32x4.le(f32x4.abs(values), most);
    // A lane that is not finite repeats what is known. The mask is −1 where a lane is finite.
    low = f32x4.pmin(low, v128.bitselect(values, low, finite));
    high = f32x4.pmax(high, v128.bitselect(values, high, finite));
    odd = i32x4.sub(odd, v128.not(finite));
  }
  let least = min(
    min(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1)),
    min(f32x4.extract_lane(low, 2), f32x4.extract_lane(low, 3)),
  );
  let largest = max(
    max(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1)),
    max(f32x4.extract_lane(high, 2), f32x4.extract_lane(high, 3)),
  );
  let others = i32x4.extract_lane(odd, 0) + i32x4.extract_lane(odd, 1) +
    i32x4.extract_lane(odd, 2) + i32x4.extract_lane(odd, 3);
  for (; i < n; i++) {
    const value = f(x, i);
    if (abs(value) <= MOST) {
      least = min(least, value);
      largest = max(largest, value);
    } else others++;
  }
  put(out, 0, least);
  put(out, 1, largest);
  put(out, 2, f(out, 2) + <f32> others);
}

/**
 * counts[b]++, in float32, for the bin b = ⌊x · factor⌋ + bins/2 of every `stride`th value from the
 * first on. What lies exactly at the upper end goes to the last bin, what lies outside nowhere.
 * A count stays exact up to 2²⁴.
 */
export function histogram(
  x: usize,
  n: i32,
  stride: i32,
  factor: f32,
  bins: i32,
  counts: usize,
): void {
  const half = bins >> 1, reach = <f32> half;
  for (let i = 0; i < n; i += stride) {
    const at = floor<f32>(f(x, i) * factor);
    // Also false for NaN.
    if (!(at >= -reach && at <= reach)) continue;
    const b = min(bins - 1, <i32> at + half);
    put(counts, b, f(counts, b) + 1);
  }
}
