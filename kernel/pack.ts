// Values to the levels of a given grid and back, a byte per level; and levels as streams of bits.

import { clip4 } from "./clip";
import { f, put } from "./memory";
import { blockEnd, blockStart } from "./scale";

/**
 * q = clip(round(x / s) + z, lo, hi) for rows × d values; s and z belong to a row and a block of it.
 * Half to even and zero point after rounding, as ONNX does it. NaN becomes z, the level of zero. A
 * level is the low byte of its two's complement: lo ≥ −128, hi ≤ 255.
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
    const end = blockEnd(b, blocks, block, d);
    const s = f(scale, b), z = f(zero, b);
    const step = f32x4.splat(s), shift = f32x4.splat(z);
    let i = blockStart(b, blocks, block, d);
    for (; i + 16 <= end; i += 16) {
      const from = x + (i << 2);
      const a = levelBytes(v128.load(from), step, shift, low, high);
      const b = levelBytes(v128.load(from, 16), step, shift, low, high);
      const c = levelBytes(v128.load(from, 32), step, shift, low, high);
      const d = levelBytes(v128.load(from, 48), step, shift, low, high);
      const front = i16x8.narrow_i32x4_s(a, b), back = i16x8.narrow_i32x4_s(c, d);
      v128.store(q + i, i8x16.narrow_i16x8_u(front, back));
    }
    for (; i < end; i++) {
      const t = nearest<f32>(f(x, i) / s) + z;
      store<u8>(q + i, <u8> <i32> max<f32>(lo, min<f32>(hi, t == t ? t : z)));
    }
  }
}

/** The levels of four values, each as a whole number from 0 to 255. */
// @ts-ignore: decorator
@inline
function levelBytes(x: v128, step: v128, shift: v128, low: v128, high: v128): v128 {
  const t = f32x4.div(x, step);
  const known = v128.and(f32x4.nearest(t), f32x4.eq(t, t));
  const q = clip4(f32x4.add(known, shift), low, high);
  // Next to 1.5 · 2²³ the last bit of a float32 is worth 1: the sum ends in the level's own bits.
  return v128.and(f32x4.add(q, f32x4.splat(12582912)), i32x4.splat(255));
}

/** x = (q − z) · s for rows × d levels, bytes with a sign or without. */
export function dequantize(
  q: usize,
  signed: bool,
  scale: usize,
  zero: usize,
  block: i32,
  rows: i32,
  d: i32,
  x: usize,
): void {
  const blocks = (d + block - 1) / block;
  for (let b = 0; b < rows * blocks; b++) {
    const end = blockEnd(b, blocks, block, d);
    const s = f(scale, b), z = f(zero, b);
    const step = f32x4.splat(s), shift = f32x4.splat(z);
    let i = blockStart(b, blocks, block, d);
    for (; i + 8 <= end; i += 8) {
      const wide = signed ? v128.load8x8_s(q + i) : v128.load8x8_u(q + i), to = x + (i << 2);
      const front = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide));
      const back = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide));
      v128.store(to, f32x4.mul(f32x4.sub(front, shift), step));
      v128.store(to, f32x4.mul(f32x4.sub(back, shift), step), 16);
    }
    for (; i < end; i++) {
      const level = signed ? <f32> load<i8>(q + i) : <f32> load<u8>(q + i);
      put(x, i, (level - z) * s);
    }
  }
}

/**
 * The last `bits` bits of n levels q (bytes), less lo, as a stream: level j takes bits j·b …
 * j·b + b − 1, and bit i is bit i mod 8 of byte ⌊i/8⌋; the last byte ends in zeros. With lo = 0 and 4
 * or 2 bits that is how ONNX keeps such integers. Up to 7 bytes behind the stream are overwritten.
 */
export function pack(q: usize, n: i32, bits: i32, lo: i32, out: usize): void {
  const mask: u64 = (1 << bits) - 1, shift = i8x16.splat(<i8> lo), levels = i8x16.splat(<i8> mask);
  let j = 0;
  // Eight levels fill `bits` bytes. They close up in pairs, pairs of pairs, and those.
  for (; j + 16 <= n; j += 16, out += 2 * bits) {
    const x = v128.and(i8x16.sub(v128.load(q + j), shift), levels);
    const two = i16x8.shl(i16x8.shr_u(x, 8), bits);
    const y = v128.or(v128.and(x, i16x8.splat(0xFF)), two);
    const four = i32x4.shl(i32x4.shr_u(y, 16), 2 * bits);
    const z = v128.or(v128.and(y, i32x4.splat(0xFFFF)), four);
    const eight = i64x2.shl(i64x2.shr_u(z, 32), 4 * bits);
    const held = v128.or(v128.and(z, i64x2.splat(0xFFFFFFFF)), eight);
    v128.store64_lane(out, held, 0);
    v128.store64_lane(out + bits, held, 1);
  }
  for (; j < n; j += 8, out += bits) {
    let held: u64 = 0;
    for (let k = min(8, n - j) - 1; k >= 0; k--) {
      held = held << bits | <u64> (<i32> load<u8>(q + j + k) - lo) & mask;
    }
    store<u64>(out, held);
  }
}

/** The inverse of `pack`: q = bits + lo, bytes. Up to 7 bytes behind the stream are read. */
export function unpack(from: usize, n: i32, bits: i32, lo: i32, q: usize): void {
  const mask: u64 = (1 << bits) - 1, shift = i8x16.splat(<i8> lo);
  const levels = i16x8.splat(<i16> mask), pairs = i32x4.splat((1 << 2 * bits) - 1);
  const fours = i64x2.splat((<i64> 1 << 4 * bits) - 1);
  let j = 0;
  for (; j + 16 <= n; j += 16, from += 2 * bits) {
    const held = v128.load64_lane(from + bits, v128.load64_zero(from), 1);
    const eight = i64x2.shl(v128.and(i64x2.shr_u(held, 4 * bits), fours), 32);
    const z = v128.or(v128.and(held, fours), eight);
    const four = i32x4.shl(v128.and(i32x4.shr_u(z, 2 * bits), pairs), 16);
    const y = v128.or(v128.and(z, pairs), four);
    const two = i16x8.shl(v128.and(i16x8.shr_u(y, bits), levels), 8);
    v128.store(q + j, i8x16.add(v128.or(v128.and(y, levels), two), shift));
  }
  for (; j < n; j += 8, from += bits) {
    let held = load<u64>(from);
    for (let k = 0; k < min(8, n - j); k++) {
      store<u8>(q + j + k, <u8> (<i32> (held & mask) + lo));
      held >>= bits;
    }
  }
}
