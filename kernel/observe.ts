// Observers: what a stream of activations looks like, without keeping it.

import { f, put } from "./memory";

/** The largest finite float32. */
const MOST: f32 = 3.4028234663852886e38;
/** Values that are looked through at a time: 16 KiB, which stay in L1 for a second look. */
const CHUNK: i32 = 4096;

/**
 * out[0] and out[1] = the smallest and largest finite value of x[0 … n), and of what they were before.
 * Returns how many values are not finite.
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

// @ts-ignore: decorator
@inline
function lowest(x: v128): f32 {
  return min(
    min(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    min(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}

/**
 * counts[b] = how many of x[0 … n) lie in bin b = ⌊(x − lo) · factor⌋, in float32; what lies outside,
 * infinities included, counts in the outermost bins, NaN nowhere. Counts are whole numbers of 32 bits.
 *
 * `counts` holds 4 × (bins + 1) of them: each lane counts in a table of its own, since successive
 * values often share a bin and an addition would wait for the one before; and NaN has a bin, too.
 */
export function histogram(
  x: usize,
  n: i32,
  lo: f32,
  factor: f32,
  bins: i32,
  counts: usize,
): void {
  const table: usize = (bins + 1) << 2;
  memory.fill(counts, 0, 4 * table);
  const first = f32x4.splat(lo), rate = f32x4.splat(factor);
  const last = f32x4.splat(<f32> (bins - 1)), none = i32x4.splat(bins), zero = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const b = binsOf(v128.load(x + (i << 2)), first, rate, zero, last, none);
    count(counts, i32x4.extract_lane(b, 0));
    count(counts + table, i32x4.extract_lane(b, 1));
    count(counts + 2 * table, i32x4.extract_lane(b, 2));
    count(counts + 3 * table, i32x4.extract_lane(b, 3));
  }
  for (; i < n; i++) {
    const b = binsOf(f32x4.splat(f(x, i)), first, rate, zero, last, none);
    count(counts, i32x4.extract_lane(b, 0));
  }
  for (let b: usize = 0; b < table; b += 4) {
    let sum: u32 = 0;
    for (let lane: usize = 0; lane < 4; lane++) sum += load<u32>(counts + lane * table + b);
    store<u32>(counts + b, sum);
  }
}

/** The bins of four values; `none` for NaN. */
// @ts-ignore: decorator
@inline
function binsOf(x: v128, lo: v128, factor: v128, zero: v128, last: v128, none: v128): v128 {
  const t = f32x4.mul(f32x4.sub(x, lo), factor);
  const inside = f32x4.pmin(f32x4.pmax(t, zero), last);
  return v128.bitselect(i32x4.trunc_sat_f32x4_s(inside), none, f32x4.eq(t, t));
}

// @ts-ignore: decorator
@inline
function count(table: usize, b: i32): void {
  const at = table + (<usize> b << 2);
  store<u32>(at, load<u32>(at) + 1);
}
