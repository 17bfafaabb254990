// Matrix products. All of them end in one micro-kernel: a 4 × 12 tile of C in twelve registers, fed
// from panels of A (4 rows) and B (12 columns) that are packed so that it reads them front to back.
// V8 has 15 free vector registers: 12 for the tile, the others for B and a broadcast of A. Fewer
// loads per product make up for the one that does not fit; 4 × 8 was 6 % slower.

import {
  accumulate,
  f,
  KC,
  madd,
  MC,
  NC,
  packedA,
  packedB,
  put,
  tile,
  TILE_BYTES,
  WIDTH,
} from "./memory";
import { transpose4x4 } from "./vector";

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
      // Four slices at a time, transposed in registers.
      let p = 0;
      for (; p + 4 <= depth; p += 4) {
        for (let r = 0; r < width; r += 4) {
          const at = start + ((r * rowStride + p) << 2);
          transpose4x4(at, rowStride << 2, to + (r << 2), width << 2);
        }
        to += width << 4;
      }
      for (; p < depth; p++) {
        for (let r = 0; r < width; r++) put(to, r, f(start, r * rowStride + p));
        to += width << 2;
      }
    } else {
      memory.fill(to, 0, (width * depth) << 2);
      for (let r = 0; r < count; r++) {
        const row = start + ((r * rowStride) << 2);
        for (let p = 0; p < depth; p++) put(to, p * width + r, f(row, p * columnStride));
      }
      to += (width * depth) << 2;
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
  // Slices in pairs: the engine checks for interrupts at every one.
  for (let pair = depth >> 1; pair > 0; pair--) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    x = v128.load_splat<f32>(a);
    c00 = accumulate(c00, x, b0);
    c01 = accumulate(c01, x, b1);
    c02 = accumulate(c02, x, b2);
    x = v128.load_splat<f32>(a, 4);
    c10 = accumulate(c10, x, b0);
    c11 = accumulate(c11, x, b1);
    c12 = accumulate(c12, x, b2);
    x = v128.load_splat<f32>(a, 8);
    c20 = accumulate(c20, x, b0);
    c21 = accumulate(c21, x, b1);
    c22 = accumulate(c22, x, b2);
    x = v128.load_splat<f32>(a, 12);
    c30 = accumulate(c30, x, b0);
    c31 = accumulate(c31, x, b1);
    c32 = accumulate(c32, x, b2);
    b0 = v128.load(b, 48);
    b1 = v128.load(b, 64);
    b2 = v128.load(b, 80);
    x = v128.load_splat<f32>(a, 16);
    c00 = accumulate(c00, x, b0);
    c01 = accumulate(c01, x, b1);
    c02 = accumulate(c02, x, b2);
    x = v128.load_splat<f32>(a, 20);
    c10 = accumulate(c10, x, b0);
    c11 = accumulate(c11, x, b1);
    c12 = accumulate(c12, x, b2);
    x = v128.load_splat<f32>(a, 24);
    c20 = accumulate(c20, x, b0);
    c21 = accumulate(c21, x, b1);
    c22 = accumulate(c22, x, b2);
    x = v128.load_splat<f32>(a, 28);
    c30 = accumulate(c30, x, b0);
    c31 = accumulate(c31, x, b1);
    c32 = accumulate(c32, x, b2);
    a += 32;
    b += 96;
  }
  if (depth & 1) {
    b0 = v128.load(b);
    b1 = v128.load(b, 16);
    b2 = v128.load(b, 32);
    x = v128.load_splat<f32>(a);
    c00 = accumulate(c00, x, b0);
    c01 = accumulate(c01, x, b1);
    c02 = accumulate(c02, x, b2);
    x = v128.load_splat<f32>(a, 4);
    c10 = accumulate(c10, x, b0);
    c11 = accumulate(c11, x, b1);
    c12 = accumulate(c12, x, b2);
    x = v128.load_splat<f32>(a, 8);
    c20 = accumulate(c20, x, b0);
    c21 = accumulate(c21, x, b1);
    c22 = accumulate(c22, x, b2);
    x = v128.load_splat<f32>(a, 12);
    c30 = accumulate(c30, x, b0);
    c31 = accumulate(c31, x, b1);
    c32 = accumulate(c32, x, b2);
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
