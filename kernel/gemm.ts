// Matrix products. All of them end in one micro-kernel: a 4 × 12 tile of C in twelve registers, fed from
// panels of A (4 rows) and B (12 columns) that are packed so that it reads them front to back.
// V8 has 15 free vector registers: 12 for the tile, the others for B and a broadcast of A. Fewer
// loads per product make up for the one that does not fit; 4 × 8 was 6 % slower.

import { f, KC, madd, MC, NC, packedA, packedB, put, tile, TILE_BYTES, WIDTH } from "./memory";

/** Packs `height` × `depth` of a matrix with strides into panels of `width` rows, zero-padded. */
export function pack(
  from: usize,
  rowStride: i32,
  columnStride: i32,
  height: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  for (let i = 0; i < height; i += width) {
    const count = min(width, height - i);
    const start = from + ((i * rowStride) << 2);
    if (count == width && rowStride == 1) {
      // Elements of a panel's slice lie side by side.
      for (let p = 0; p < depth; p++) {
        const at = start + ((p * columnStride) << 2);
        for (let r = 0; r < width; r += 4) {
          v128.store(to + (r << 2), v128.load(at + (r << 2)));
        }
        to += width << 2;
      }
    } else if (count == width && columnStride == 1) {
      // Four slices at a time, turned in registers.
      let p = 0;
      for (; p + 4 <= depth; p += 4) {
        for (let r = 0; r < width; r += 4) {
          const at = start + ((r * rowStride + p) << 2);
          turn(at, rowStride << 2, to + (r << 2), width << 2);
        }
        to += width << 4;
      }
      for (; p < depth; p++) {
        for (let r = 0; r < width; r++) put(to, r, f(start, r * rowStride + p));
        to += width << 2;
      }
    } else {
      for (let p = 0; p < depth; p++) {
        for (let r = 0; r < width; r++) {
          put(to, r, r < count ? f(start, r * rowStride + p * columnStride) : 0);
        }
        to += width << 2;
      }
    }
  }
}

/** c (4 × 12, rows `stride` bytes apart) += alpha · a · b over `depth` packed slices. */
export function micro(a: usize, b: usize, depth: i32, alpha: v128, c: usize, stride: usize): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c22 = f32x4.splat(0);
  let c30 = f32x4.splat(0), c31 = f32x4.splat(0), c32 = f32x4.splat(0);
  let b0: v128, b1: v128, b2: v128, x: v128;
  // Two slices a turn: the engine checks for interrupts at every turn.
  for (let turn = depth >> 1; turn > 0; turn--) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    x = v128.load_splat<f32>(a);
    c00 = madd(c00, x, b0);
    c01 = madd(c01, x, b1);
    c02 = madd(c02, x, b2);
    x = v128.load_splat<f32>(a, 4);
    c10 = madd(c10, x, b0);
    c11 = madd(c11, x, b1);
    c12 = madd(c12, x, b2);
    x = v128.load_splat<f32>(a, 8);
    c20 = madd(c20, x, b0);
    c21 = madd(c21, x, b1);
    c22 = madd(c22, x, b2);
    x = v128.load_splat<f32>(a, 12);
    c30 = madd(c30, x, b0);
    c31 = madd(c31, x, b1);
    c32 = madd(c32, x, b2);
    b0 = v128.load(b, 48);
    b1 = v128.load(b, 64);
    b2 = v128.load(b, 80);
    x = v128.load_splat<f32>(a, 16);
    c00 = madd(c00, x, b0);
    c01 = madd(c01, x, b1);
    c02 = madd(c02, x, b2);
    x = v128.load_splat<f32>(a, 20);
    c10 = madd(c10, x, b0);
    c11 = madd(c11, x, b1);
    c12 = madd(c12, x, b2);
    x = v128.load_splat<f32>(a, 24);
    c20 = madd(c20, x, b0);
    c21 = madd(c21, x, b1);
    c22 = madd(c22, x, b2);
    x = v128.load_splat<f32>(a, 28);
    c30 = madd(c30, x, b0);
    c31 = madd(c31, x, b1);
    c32 = madd(c32, x, b2);
    a += 32;
    b += 96;
  }
  if (depth & 1) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    x = v128.load_splat<f32>(a);
    c00 = madd(c00, x, b0);
    c01 = madd(c01, x, b1);
    c02 = madd(c02, x, b2);
    x = v128.load_splat<f32>(a, 4);
    c10 = madd(c10, x, b0);
    c11 = madd(c11, x, b1);
    c12 = madd(c12, x, b2);
    x = v128.load_splat<f32>(a, 8);
    c20 = madd(c20, x, b0);
    c21 = madd(c21, x, b1);
    c22 = madd(c22, x, b2);
    x = v128.load_splat<f32>(a, 12);
    c30 = madd(c30, x, b0);
    c31 = madd(c31, x, b1);
    c32 = madd(c32, x, b2);
  }
  flush(c, alpha, c00, c01, c02);
  flush(c + stride, alpha, c10, c11, c12);
  flush(c + 2 * stride, alpha, c20, c21, c22);
  flush(c + 3 * stride, alpha, c30, c31, c32);
}

// @ts-ignore: decorator
@inline
function flush(c: usize, alpha: v128, x: v128, y: v128, z: v128): void {
  v128.store(c, madd(v128.load(c), alpha, x));
  v128.store(c, madd(v128.load(c, 16), alpha, y), 16);
  v128.store(c, madd(v128.load(c, 32), alpha, z), 32);
}

/**
 * C += alpha · A · B, where A is m × k and B is k × n with any strides, and C is row-major.
 * With `upper`, tiles that lie below C's diagonal are left out: what they would hold is garbage.
 *
 * An element's sum runs over k in the same order whatever m and n are, so a product can be split by
 * rows or columns without a change in any bit.
 */
export function product(
  m: i32,
  n: i32,
  k: i32,
  alpha: f32,
  a: usize,
  aRow: i32,
  aColumn: i32,
  b: usize,
  bRow: i32,
  bColumn: i32,
  c: usize,
  cRow: i32,
  upper: bool,
): void {
  const factor = f32x4.splat(alpha);
  for (let j0 = 0; j0 < n; j0 += NC) {
    const nc = min(NC, n - j0);
    for (let p0 = 0; p0 < k; p0 += KC) {
      const kc = min(KC, k - p0);
      pack(b + ((p0 * bRow + j0 * bColumn) << 2), bColumn, bRow, nc, kc, WIDTH, packedB);
      for (let i0 = 0; i0 < m; i0 += MC) {
        if (upper && i0 > j0 + nc) break;
        const mc = min(MC, m - i0);
        pack(a + ((i0 * aRow + p0 * aColumn) << 2), aRow, aColumn, mc, kc, 4, packedA);
        for (let j = 0; j < nc; j += WIDTH) {
          const panel = packedB + ((j * kc) << 2);
          for (let i = 0; i < mc; i += 4) {
            if (upper && i0 + i > j0 + j + WIDTH - 1) break;
            const at = c + (((i0 + i) * cRow + j0 + j) << 2);
            const slice = packedA + ((i * kc) << 2);
            if (i + 4 <= mc && j + WIDTH <= nc) {
              micro(slice, panel, kc, factor, at, cRow << 2);
            } else edge(slice, panel, kc, factor, at, cRow, min(4, mc - i), min(WIDTH, nc - j));
          }
        }
      }
    }
  }
}

/** A tile that is cut off by C's edge: computed whole, added in part. */
function edge(a: usize, b: usize, k: i32, alpha: v128, c: usize, row: i32, m: i32, n: i32): void {
  memory.fill(tile, 0, TILE_BYTES);
  micro(a, b, k, alpha, tile, WIDTH << 2);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) put(c, i * row + j, f(c, i * row + j) + f(tile, i * WIDTH + j));
  }
}

/** C (m × n) = A (m × k) · B (k × n), or C += where `accumulate`; all row-major. */
export function gemm(a: usize, b: usize, c: usize, m: i32, n: i32, k: i32, accumulate: bool): void {
  if (!accumulate) memory.fill(c, 0, (m * n) << 2);
  product(m, n, k, 1, a, k, 1, b, n, 1, c, n, false);
}

/** The largest depth that `smallGram` takes: a depthwise kernel's. */
const SMALL: i32 = 16;

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

/** Positions that small products take at a time: rows stay in L1, and sums stay short. */
const SPAN: i32 = 512;

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
    c00 = madd(c00, x, b0);
    c01 = madd(c01, x, b1);
    c02 = madd(c02, x, b2);
    x = v128.load(a + row + at);
    c10 = madd(c10, x, b0);
    c11 = madd(c11, x, b1);
    c12 = madd(c12, x, b2);
    x = v128.load(a + 2 * row + at);
    c20 = madd(c20, x, b0);
    c21 = madd(c21, x, b1);
    c22 = madd(c22, x, b2);
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

function tail(a: usize, b: usize, n: i32): f32 {
  let total: f32 = 0;
  for (let i = 0; i < n; i++) total += f(a, i) * f(b, i);
  return total;
}

// @ts-ignore: decorator
@inline
function sumLanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) +
    f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3);
}

/** Σ a_i b_i in four lanes, then left to right. */
export function dot(a: usize, b: usize, n: i32): f32 {
  let acc = f32x4.splat(0), acc2 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = a + (i << 2), bt = b + (i << 2);
    acc = madd(acc, v128.load(at), v128.load(bt));
    acc2 = madd(acc2, v128.load(at, 16), v128.load(bt, 16));
  }
  acc = f32x4.add(acc, acc2);
  return sumLanes(acc) + tail(a + (i << 2), b + (i << 2), n - i);
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
function upper(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 0, 1));
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

/** Copies the upper triangle of each h[g] (d × d) to the lower one. */
export function mirror(h: usize, groups: i32, d: i32): void {
  for (let g = 0; g < groups; g++) {
    const at = h + ((g * d * d) << 2);
    for (let i = 1; i < d; i++) for (let j = 0; j < i; j++) put(at, i * d + j, f(at, j * d + i));
  }
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
      turn(from + ((i * columns + j) << 2), columns << 2, to + ((j * rows + i) << 2), rows << 2);
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
function turn(from: usize, fromStride: usize, to: usize, toStride: usize): void {
  const a = v128.load(from), b = v128.load(from + fromStride);
  const c = v128.load(from + 2 * fromStride), d = v128.load(from + 3 * fromStride);
  const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(ab0, cd0, 0, 1, 4, 5));
  v128.store(to + toStride, v128.shuffle<f32>(ab0, cd0, 2, 3, 6, 7));
  v128.store(to + 2 * toStride, v128.shuffle<f32>(ab1, cd1, 0, 1, 4, 5));
  v128.store(to + 3 * toStride, v128.shuffle<f32>(ab1, cd1, 2, 3, 6, 7));
}
