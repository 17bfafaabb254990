// Loops over rows: inner products, sums, transposition.

import { accumulate, f, madd, put } from "./memory";

/** Σ a_i b_i in four lanes, then left to right. */
export function dot(a: usize, b: usize, n: i32): f32 {
  let acc = f32x4.splat(0), acc2 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = a + (i << 2), bt = b + (i << 2);
    acc = accumulate(acc, v128.load(at), v128.load(bt));
    acc2 = accumulate(acc2, v128.load(at, 16), v128.load(bt, 16));
  }
  acc = f32x4.add(acc, acc2);
  return sumLanes(acc) + tail(a + (i << 2), b + (i << 2), n - i);
}

export function tail(a: usize, b: usize, n: i32): f32 {
  let total: f32 = 0;
  for (let i = 0; i < n; i++) total += f(a, i) * f(b, i);
  return total;
}

// @ts-ignore: decorator
@inline
export function sumLanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) +
    f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3);
}

/** Σ a_i b_i in float64, for what is compared or reported. */
export function dot64(a: usize, b: usize, n: i32): f64 {
  let low = f64x2.splat(0), high = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const x = v128.load(a + (i << 2)), y = v128.load(b + (i << 2));
    low = f64x2.add(low, f64x2.mul(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(y)));
    high = f64x2.add(high, f64x2.mul(upper(x), upper(y)));
  }
  low = f64x2.add(low, high);
  let total = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1);
  for (; i < n; i++) total += <f64> f(a, i) * <f64> f(b, i);
  return total;
}

/** The last two of four float32 lanes, as float64. */
// @ts-ignore: decorator
@inline
export function upper(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 0, 1));
}

/** y += alpha · x. */
export function axpy(alpha: f32, x: usize, y: usize, n: i32): void {
  const factor = f32x4.splat(alpha);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = y + (i << 2);
    v128.store(at, madd(v128.load(at), factor, v128.load(x + (i << 2))));
  }
  for (; i < n; i++) put(y, i, f(y, i) + alpha * f(x, i));
}

/** to (columns × rows) = from (rows × columns). */
export function transpose(from: usize, to: usize, rows: i32, columns: i32): void {
  const whole = rows & ~3;
  for (let i = 0; i < whole; i += 4) {
    let j = 0;
    for (; j + 4 <= columns; j += 4) {
      const tile = from + ((i * columns + j) << 2);
      transpose4x4(tile, columns << 2, to + ((j * rows + i) << 2), rows << 2);
    }
    for (; j < columns; j++) {
      for (let r = i; r < i + 4; r++) put(to, j * rows + r, f(from, r * columns + j));
    }
  }
  for (let i = whole; i < rows; i++) {
    for (let j = 0; j < columns; j++) put(to, j * rows + i, f(from, i * columns + j));
  }
}

/** Transposes a 4 × 4 tile; the strides between rows are in bytes. */
// @ts-ignore: decorator
@inline
export function transpose4x4(from: usize, fromStride: usize, to: usize, toStride: usize): void {
  const a = v128.load(from), b = v128.load(from + fromStride);
  const c = v128.load(from + 2 * fromStride), d = v128.load(from + 3 * fromStride);
  const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(ab0, cd0, 0, 1, 4, 5));
  v128.store(to + toStride, v128.shuffle<f32>(ab0, cd0, 2, 3, 6, 7));
  v128.store(to + 2 * toStride, v128.shuffle<f32>(ab1, cd1, 0, 1, 4, 5));
  v128.store(to + 3 * toStride, v128.shuffle<f32>(ab1, cd1, 2, 3, 6, 7));
}
