// Levels of given grids, back to values, and n-bit streams of them.

import { f, put } from "./memory";

/**
 * q = clip(round(x / s) + z, lo, hi) for rows × d values; s and z belong to a row and a block of it.
 * Half to even, as ONNX rounds. NaN becomes the level of zero.
 */
export function quantize(
  x: usize,
  scale: usize,
  zero: usize,
  block: i32,
  lo: f32,
  hi: f32,
  rows: i32,
  d: i32,
  q: usize,
): void {
  const low = f32x4.splat(lo), high = f32x4.splat(hi);
  const blocks = (d + block - 1) / block;
  for (let b = 0; b < rows * blocks; b++) {
    const first = (b / blocks) * d + (b % blocks) * block;
    const last = (b / blocks) * d + min(d, (b % blocks + 1) * block);
    const s = f(scale, b), z = f(zero, b);
    const step = f32x4.splat(s), shift = f32x4.splat(z);
    let i = first;
    for (; i + 4 <= last; i += 4) {
      const t = f32x4.add(f32x4.nearest(f32x4.div(v128.load(x + (i << 2)), step)), shift);
      // A comparison with NaN is false, and takes the other side.
      const known = v128.bitselect(t, shift, f32x4.eq(t, t));
      v128.store(q + (i << 2), f32x4.pmax(low, f32x4.pmin(high, known)));
    }
    for (; i < last; i++) {
      const t = nearest<f32>(f(x, i) / s) + z;
      put(q, i, max<f32>(lo, min<f32>(hi, t == t ? t : z)));
    }
  }
}

/** x = (q − z) · s for rows × d levels. */
export function dequantize(
  q: usize,
  scale: usize,
  zero: usize,
  block: i32,
  rows: i32,
  d: i32,
  x: usize,
): void {
  const blocks = (d + block - 1) / block;
  for (let b = 0; b < rows * blocks; b++) {
    const first = (b / blocks) * d + (b % blocks) * block;
    const last = (b / blocks) * d + min(d, (b % blocks + 1) * block);
    const s = f(scale, b), z = f(zero, b);
    const step = f32x4.splat(s), shift = f32x4.splat(z);
    let i = first;
    for (; i + 4 <= last; i += 4) {
      const level = f32x4.sub(v128.load(q + (i << 2)), shift);
      v128.store(x + (i << 2), f32x4.mul(level, step));
    }
    for (; i < last; i++) put(x, i, (f(q, i) - z) * s);
  }
}

/** Bytes of n levels of `bits` bits. */
export function packedBytes(n: i32, bits: i32): i32 {
  return (n * bits + 7) >> 3;
}

/**
 * The levels q, less lo, as a stream of bits: level j takes bits j·b … j·b + b − 1, and bit i is bit
 * i mod 8 of byte ⌊i/8⌋. With 4 and 2 bits that is how ONNX keeps such integers, lo being 0 there.
 */
export function pack(q: usize, n: i32, bits: i32, lo: f32, out: usize): void {
  let held: u32 = 0, filled = 0;
  for (let j = 0; j < n; j++) {
    held |= <u32> (f(q, j) - lo) << filled;
    for (filled += bits; filled >= 8; filled -= 8) {
      store<u8>(out++, <u8> held);
      held >>= 8;
    }
  }
  if (filled > 0) store<u8>(out, <u8> held);
}

/** The inverse of `pack`. */
export function unpack(from: usize, n: i32, bits: i32, lo: f32, q: usize): void {
  let held: u32 = 0, filled = 0;
  const mask: u32 = (1 << bits) - 1;
  for (let j = 0; j < n; j++) {
    if (filled < bits) {
      held |= <u32> load<u8>(from++) << filled;
      filled += 8;
    }
    put(q, j, <f32> (held & mask) + lo);
    held >>= bits;
    filled -= bits;
  }
}
