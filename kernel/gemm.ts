// Matrix products. All of them end in one micro-kernel: a 4 × 8 tile of C in eight registers, fed from
// panels of A (4 rows) and B (8 columns) that are packed so that it reads them front to back.
// V8 has 15 free vector registers: 8 for the tile, 2 for B, 1 for a broadcast of A.

import { f, KC, MC, NC, packedA, packedB, put, tile } from "./memory";

// @ts-ignore: decorator
@inline
function min(a: i32, b: i32): i32 {
  return a < b ? a : b;
}

/** Packs `height` × `depth` of a matrix with strides into panels of `width` rows, zero-padded. */
function pack(
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
          const at = start + ((r * rowStride + p) << 2), step = rowStride << 2;
          const a = v128.load(at), b = v128.load(at + step);
          const c = v128.load(at + 2 * step), d = v128.load(at + 3 * step);
          const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
          const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
          const out = to + (r << 2), next = width << 2;
          v128.store(out, v128.shuffle<f32>(ab0, cd0, 0, 1, 4, 5));
          v128.store(out + next, v128.shuffle<f32>(ab0, cd0, 2, 3, 6, 7));
          v128.store(out + 2 * next, v128.shuffle<f32>(ab1, cd1, 0, 1, 4, 5));
          v128.store(out + 3 * next, v128.shuffle<f32>(ab1, cd1, 2, 3, 6, 7));
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

/** c (4 × 8, rows `stride` apart) += alpha · a · b over `depth` packed slices. */
function micro(a: usize, b: usize, depth: i32, alpha: v128, c: usize, stride: usize): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let b0: v128, b1: v128, x: v128;
  // Two slices a turn: the engine checks for interrupts at every turn.
  for (let turn = depth >> 1; turn > 0; turn--) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    x = v128.load_splat<f32>(a);
    c00 = f32x4.add(c00, f32x4.mul(x, b0));
    c01 = f32x4.add(c01, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 4);
    c10 = f32x4.add(c10, f32x4.mul(x, b0));
    c11 = f32x4.add(c11, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 8);
    c20 = f32x4.add(c20, f32x4.mul(x, b0));
    c21 = f32x4.add(c21, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 12);
    c30 = f32x4.add(c30, f32x4.mul(x, b0));
    c31 = f32x4.add(c31, f32x4.mul(x, b1));
    b0 = v128.load(b, 32);
    b1 = v128.load(b, 48);
    x = v128.load_splat<f32>(a, 16);
    c00 = f32x4.add(c00, f32x4.mul(x, b0));
    c01 = f32x4.add(c01, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 20);
    c10 = f32x4.add(c10, f32x4.mul(x, b0));
    c11 = f32x4.add(c11, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 24);
    c20 = f32x4.add(c20, f32x4.mul(x, b0));
    c21 = f32x4.add(c21, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 28);
    c30 = f32x4.add(c30, f32x4.mul(x, b0));
    c31 = f32x4.add(c31, f32x4.mul(x, b1));
    a += 32;
    b += 64;
  }
  if (depth & 1) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    x = v128.load_splat<f32>(a);
    c00 = f32x4.add(c00, f32x4.mul(x, b0));
    c01 = f32x4.add(c01, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 4);
    c10 = f32x4.add(c10, f32x4.mul(x, b0));
    c11 = f32x4.add(c11, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 8);
    c20 = f32x4.add(c20, f32x4.mul(x, b0));
    c21 = f32x4.add(c21, f32x4.mul(x, b1));
    x = v128.load_splat<f32>(a, 12);
    c30 = f32x4.add(c30, f32x4.mul(x, b0));
    c31 = f32x4.add(c31, f32x4.mul(x, b1));
  }
  flush(c, alpha, c00, c01);
  flush(c + stride, alpha, c10, c11);
  flush(c + 2 * stride, alpha, c20, c21);
  flush(c + 3 * stride, alpha, c30, c31);
}

// @ts-ignore: decorator
@inline
function flush(c: usize, alpha: v128, low: v128, high: v128): void {
  v128.store(c, f32x4.add(v128.load(c), f32x4.mul(alpha, low)));
  v128.store(c, f32x4.add(v128.load(c, 16), f32x4.mul(alpha, high)), 16);
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
      pack(b + ((p0 * bRow + j0 * bColumn) << 2), bColumn, bRow, nc, kc, 8, packedB);
      for (let i0 = 0; i0 < m; i0 += MC) {
        if (upper && i0 > j0 + nc) break;
        const mc = min(MC, m - i0);
        pack(a + ((i0 * aRow + p0 * aColumn) << 2), aRow, aColumn, mc, kc, 4, packedA);
        for (let j = 0; j < nc; j += 8) {
          const panel = packedB + ((j * kc) << 2);
          for (let i = 0; i < mc; i += 4) {
            if (upper && i0 + i > j0 + j + 7) break;
            const at = c + (((i0 + i) * cRow + j0 + j) << 2);
            const slice = packedA + ((i * kc) << 2);
            if (i + 4 <= mc && j + 8 <= nc) {
              micro(slice, panel, kc, factor, at, cRow << 2);
            } else edge(slice, panel, kc, factor, at, cRow, min(4, mc - i), min(8, nc - j));
          }
        }
      }
    }
  }
}

/** A tile that is cut off by C's edge: computed whole, added in part. */
function edge(a: usize, b: usize, k: i32, alpha: v128, c: usize, row: i32, m: i32, n: i32): void {
  memory.fill(tile, 0, 128);
  micro(a, b, k, alpha, tile, 32);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) put(c, i * row + j, f(c, i * row + j) + f(tile, i * 8 + j));
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

function rowSum(x: usize, p: i32): f32 {
  let total: f64 = 0;
  for (let j = 0; j < p; j++) total += f(x, j);
  return <f32> total;
}

/** For small d, plain dot products along the columns. */
function smallGram(x: usize, h: usize, d: i32, p: i32): void {
  for (let i = 0; i < d; i++) {
    for (let j = i; j < d; j++) {
      const at = h + ((i * d + j) << 2);
      store<f32>(at, load<f32>(at) + dot(x + ((i * p) << 2), x + ((j * p) << 2), p));
    }
  }
}

/** Σ a_i b_i in four lanes, then left to right. */
export function dot(a: usize, b: usize, n: i32): f32 {
  let acc = f32x4.splat(0), acc2 = f32x4.splat(0);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = a + (i << 2), bt = b + (i << 2);
    acc = f32x4.add(acc, f32x4.mul(v128.load(at), v128.load(bt)));
    acc2 = f32x4.add(acc2, f32x4.mul(v128.load(at, 16), v128.load(bt, 16)));
  }
  acc = f32x4.add(acc, acc2);
  let total = f32x4.extract_lane(acc, 0) + f32x4.extract_lane(acc, 1) +
    f32x4.extract_lane(acc, 2) + f32x4.extract_lane(acc, 3);
  for (; i < n; i++) total += f(a, i) * f(b, i);
  return total;
}

/** Σ a_i b_i in float64, for what is compared or reported. */
export function dot64(a: usize, b: usize, n: i32): f64 {
  let total: f64 = 0;
  for (let i = 0; i < n; i++) total += <f64> f(a, i) * <f64> f(b, i);
  return total;
}

/** r[g] (o × d) += y[g] (o × p) · x[g]ᵀ (p × d). */
export function cross(y: usize, x: usize, r: usize, groups: i32, o: i32, d: i32, p: i32): void {
  for (let g = 0; g < groups; g++) {
    const left = y + ((g * o * p) << 2), right = x + ((g * d * p) << 2);
    const to = r + ((g * o * d) << 2);
    if (d > SMALL) product(o, d, p, 1, left, p, 1, right, 1, p, to, d, false);
    else {
      for (let i = 0; i < o; i++) {
        for (let j = 0; j < d; j++) {
          const at = to + ((i * d + j) << 2);
          store<f32>(at, load<f32>(at) + dot(left + ((i * p) << 2), right + ((j * p) << 2), p));
        }
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
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(factor, v128.load(x + (i << 2)))));
  }
  for (; i < n; i++) put(y, i, f(y, i) + alpha * f(x, i));
}

/** to (columns × rows) = from (rows × columns), transposed in 4 × 4 tiles. */
export function transpose(from: usize, to: usize, rows: i32, columns: i32): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) put(to, j * rows + i, f(from, i * columns + j));
  }
}
