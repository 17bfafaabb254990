// Observers: what a stream of activations looks like, without keeping it.

import { f, put } from "./memory";
import { upper } from "./vector";

/** The largest finite float32. */
const MOST: f32 = 3.4028234663852886e38;
/** Values that are looked through at a time: 16 KiB, which stay in L1 for a second look. */
const CHUNK: i32 = 4096;

/**
 * out[0] and out[1] = the smallest and largest finite value of x[0 … n), and of what they were
 * before. Returns how many values are not finite.
 */
export function minmax(x: usize, n: i32, out: usize): i32 {
  let least = f(out, 0), largest = f(out, 1), others = 0;
  for (let from = 0; from < n; from += CHUNK) {
    const end = min(n, from + CHUNK);
    let low = f32x4.splat(Infinity), high = f32x4.splat(-Infinity), sum = f32x4.splat(0);
    let i = from;
    for (; i + 16 <= end; i += 16) {
      const at = x + (i << 2);
      const a = v128.load(at), b = v128.load(at, 16);
      const c = v128.load(at, 32), d = v128.load(at, 48);
      low = f32x4.pmin(low, f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d)));
      high = f32x4.pmax(high, f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d)));
      sum = f32x4.add(sum, f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
    }
    // A sum that is finite is one of finite values; any other chunk is looked through one by one.
    if (v128.all_true<i32>(f32x4.le(f32x4.abs(sum), f32x4.splat(MOST)))) {
      least = min(least, lowest(low));
      largest = max(largest, -lowest(f32x4.neg(high)));
    } else i = from;
    for (; i < end; i++) {
      const value = f(x, i);
      if (abs(value) <= MOST) {
        least = min(least, value);
        largest = max(largest, value);
      } else others++;
    }
  }
  put(out, 0, least);
  put(out, 1, largest);
  return others;
}

/**
 * Adds the values of `runs` runs of `width` to float64 sums: run r belongs to channel
 * (first + r) mod channels. sums[0 … channels) get Σ x, and those after them Σ x².
 */
export function channelSums(
  x: usize,
  runs: i32,
  width: i32,
  channels: i32,
  first: i32,
  sums: usize,
): void {
  let channel = first;
  for (let run = 0; run < runs; run++) {
    const at = x + ((run * width) << 2);
    let sum = f64x2.splat(0), squares = f64x2.splat(0), i = 0;
    for (; i + 4 <= width; i += 4) {
      const four = v128.load(at + (i << 2));
      const low = f64x2.promote_low_f32x4(four), high = upper(four);
      sum = f64x2.add(sum, f64x2.add(low, high));
      squares = f64x2.add(squares, f64x2.add(f64x2.mul(low, low), f64x2.mul(high, high)));
    }
    let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
    let square = f64x2.extract_lane(squares, 0) + f64x2.extract_lane(squares, 1);
    for (; i < width; i++) {
      const value = <f64> f(at, i);
      total += value;
      square += value * value;
    }
    const to = sums + (channel << 3), squareTo = to + (channels << 3);
    store<f64>(to, load<f64>(to) + total);
    store<f64>(squareTo, load<f64>(squareTo) + square);
    if (++channel == channels) channel = 0;
  }
}

// @ts-ignore: decorator
@inline
function lowest(x: v128): f32 {
  return min(
    min(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    min(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}
