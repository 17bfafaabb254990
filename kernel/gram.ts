// Gram and cross matrices of columns of positions. Layers of any depth become products; depthwise
// ones, with hundreds of groups a few inputs deep, have loops of their own.

import { product } from "./gemm";
import { accumulate, f, put } from "./memory";
import { dot, sumLanes, tail, upper } from "./vector";

/** The largest depth that `smallGram` takes: a depthwise kernel's. */
const SMALL: i32 = 16;

/** Positions that small products take at a time: rows stay in L1, and sums stay short. */
const SPAN: i32 = 512;

/**
 * h[g] (d × d) += x[g] · x[g]ᵀ, upper triangle only, and sum[g] += row sums; x is (groups·d) × p.
 */
export function gram(x: usize, h: usize, sum: usize, groups: i32, d: i32, p: i32): void {
  for (let g = 0; g < groups; g++) {
    const at = x + ((g * d * p) << 2), to = h + ((g * d * d) << 2);
    if (d <= SMALL) smallGram(at, to, d, p);
    else product(d, d, p, 1, at, p, 1, at, 1, p, to, d, true);
  }
  for (let row = 0; row < groups * d; row++) {
    put(sum, row, f(sum, row) + rowSum(x + ((row * p) << 2), p));
  }
}

/** r[g] (o × d) += y[g] (o × p) · x[g]ᵀ (p × d). */
export function cross(y: usize, x: usize, r: usize, groups: i32, o: i32, d: i32, p: i32): void {
  for (let g = 0; g < groups; g++) {
    const left = y + ((g * o * p) << 2), right = x + ((g * d * p) << 2);
    const to = r + ((g * o * d) << 2);
    if (d > SMALL) product(o, d, p, 1, left, p, 1, right, 1, p, to, d, false);
    else {
      for (let from = 0; from < p; from += SPAN) {
        const at = from << 2;
        smallCross(left + at, right + at, to, o, d, p, min(SPAN, p - from), d);
      }
    }
  }
}

/** Σ x_j in float64. */
function rowSum(x: usize, p: i32): f32 {
  let low = f64x2.splat(0), high = f64x2.splat(0);
  let j = 0;
  for (; j + 4 <= p; j += 4) {
    const four = v128.load(x + (j << 2));
    low = f64x2.add(low, f64x2.promote_low_f32x4(four));
    high = f64x2.add(high, upper(four));
  }
  low = f64x2.add(low, high);
  let total = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1);
  for (; j < p; j++) total += f(x, j);
  return <f32> total;
}

/** For small d, dot products along the columns: 3 × 3 at a time, so that a load serves three. */
function smallGram(x: usize, h: usize, d: i32, p: i32): void {
  for (let from = 0; from < p; from += SPAN) {
    const count = min(SPAN, p - from), start = x + (from << 2);
    for (let i = 0; i < d; i += 3) {
      const left = start + ((i * p) << 2);
      for (let j = i; j < d; j += 3) {
        const right = start + ((j * p) << 2), to = h + ((i * d + j) << 2);
        if (i + 3 <= d && j + 3 <= d) dots(left, right, p << 2, count, to, d);
        else smallCross(left, right, to, min(3, d - i), min(3, d - j), p, count, d);
      }
    }
  }
}

/** c (o × d, rows `stride` apart) += a · bᵀ over `count` positions; rows of a and b are p apart. */
function smallCross(
  a: usize,
  b: usize,
  c: usize,
  o: i32,
  d: i32,
  p: i32,
  count: i32,
  stride: i32,
): void {
  for (let i = 0; i < o; i++) {
    for (let j = 0; j < d; j++) {
      const sum = dot(a + ((i * p) << 2), b + ((j * p) << 2), count);
      put(c, i * stride + j, f(c, i * stride + j) + sum);
    }
  }
}

/** c (3 × 3, rows `stride` elements apart) += a · bᵀ over p positions; `row` is in bytes. */
function dots(a: usize, b: usize, row: usize, p: i32, c: usize, stride: i32): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c22 = f32x4.splat(0);
  const whole: usize = (p & ~3) << 2;
  for (let at: usize = 0; at < whole; at += 16) {
    const b0 = v128.load(b + at), b1 = v128.load(b + row + at), b2 = v128.load(b + 2 * row + at);
    let x = v128.load(a + at);
    c00 = accumulate(c00, x, b0);
    c01 = accumulate(c01, x, b1);
    c02 = accumulate(c02, x, b2);
    x = v128.load(a + row + at);
    c10 = accumulate(c10, x, b0);
    c11 = accumulate(c11, x, b1);
    c12 = accumulate(c12, x, b2);
    x = v128.load(a + 2 * row + at);
    c20 = accumulate(c20, x, b0);
    c21 = accumulate(c21, x, b1);
    c22 = accumulate(c22, x, b2);
  }
  const rest = p & 3, left = a + whole, right = b + whole;
  addDot(c, 0, c00, left, right, rest);
  addDot(c, 1, c01, left, right + row, rest);
  addDot(c, 2, c02, left, right + 2 * row, rest);
  addDot(c, stride, c10, left + row, right, rest);
  addDot(c, stride + 1, c11, left + row, right + row, rest);
  addDot(c, stride + 2, c12, left + row, right + 2 * row, rest);
  addDot(c, 2 * stride, c20, left + 2 * row, right, rest);
  addDot(c, 2 * stride + 1, c21, left + 2 * row, right + row, rest);
  addDot(c, 2 * stride + 2, c22, left + 2 * row, right + 2 * row, rest);
}

/** c[at] += the sum of the lanes, and of the last `n` products. */
function addDot(c: usize, at: i32, lanes: v128, a: usize, b: usize, n: i32): void {
  put(c, at, f(c, at) + sumLanes(lanes) + tail(a, b, n));
}

/** Copies the upper triangle of each h[g] (d × d) to the lower one. */
export function mirror(h: usize, groups: i32, d: i32): void {
  for (let g = 0; g < groups; g++) {
    const at = h + ((g * d * d) << 2);
    for (let i = 1; i < d; i++) for (let j = 0; j < i; j++) put(at, i * d + j, f(at, j * d + i));
  }
}
