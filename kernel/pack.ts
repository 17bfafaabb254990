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
  const t = f32x4.add(f32x4.nearest(f32x4.div(x, step)), shift);
  const q = clip4(v128.bitselect(t, shift, f32x4.eq(t, t)), low, high);
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
  const shift = i8x16.splat(<i8> lo), byte = i16x8.splat(255);
  let j = 0;
  if (bits == 8) {
    for (; j + 16 <= n; j += 16, out += 16) {
      v128.store(out, i8x16.sub(v128.load(q + j), shift));
    }
  } else if (bits == 4) {
    for (; j + 32 <= n; j += 32, out += 16) {
      const front = v128.and(joined4(q + j, shift), byte);
      const back = v128.and(joined4(q + j + 16, shift), byte);
      v128.store(out, i8x16.narrow_i16x8_u(front, back));
    }
  } else if (bits == 2) {
    for (; j + 64 <= n; j += 64, out += 16) {
      const front = i16x8.narrow_i32x4_s(joined2(q + j, shift), joined2(q + j + 16, shift));
      const back = i16x8.narrow_i32x4_s(joined2(q + j + 32, shift), joined2(q + j + 48, shift));
      v128.store(out, i8x16.narrow_i16x8_u(front, back));
    }
  }
  // Eight levels fill `bits` bytes.
  const mask: u64 = (1 << bits) - 1;
  for (; j < n; j += 8, out += bits) {
    let held: u64 = 0;
    for (let k = min(8, n - j) - 1; k >= 0; k--) {
      held = held << bits | <u64> (<i32> load<u8>(q + j + k) - lo) & mask;
    }
    store<u64>(out, held);
  }
}

/** Of two levels each, less `shift`, one byte: the lower of its 16 bits. */
// @ts-ignore: decorator
@inline
function joined4(q: usize, shift: v128): v128 {
  const levels = v128.and(i8x16.sub(v128.load(q), shift), i8x16.splat(15));
  return v128.or(levels, i16x8.shr_u(levels, 4));
}

/** Of four levels each, less `shift`, one byte: the lowest of its 32 bits, the others zero. */
// @ts-ignore: decorator
@inline
function joined2(q: usize, shift: v128): v128 {
  const levels = v128.and(i8x16.sub(v128.load(q), shift), i8x16.splat(3));
  const pairs = v128.or(levels, i32x4.shr_u(levels, 6));
  return v128.and(v128.or(pairs, i32x4.shr_u(pairs, 12)), i32x4.splat(255));
}

/** The inverse of `pack`: q = bits + lo, bytes. Up to 7 bytes behind the stream are read. */
export function unpack(from: usize, n: i32, bits: i32, lo: i32, q: usize): void {
  const shift = i8x16.splat(<i8> lo);
  let j = 0;
  if (bits == 8) {
    for (; j + 16 <= n; j += 16, from += 16) {
      v128.store(q + j, i8x16.add(v128.load(from), shift));
    }
  } else if (bits == 4) {
    for (; j + 32 <= n; j += 32, from += 16) {
      const bytes = v128.load(from), mask = i8x16.splat(15);
      const even = i8x16.add(v128.and(bytes, mask), shift);
      const odd = i8x16.add(i8x16.shr_u(bytes, 4), shift);
      v128.store(q + j, front8(even, odd));
      v128.store(q + j, back8(even, odd), 16);
    }
  } else if (bits == 2) {
    for (; j + 64 <= n; j += 64, from += 16) {
      const bytes = v128.load(from), mask = i8x16.splat(3);
      const first = i8x16.add(v128.and(bytes, mask), shift);
      const second = i8x16.add(v128.and(i8x16.shr_u(bytes, 2), mask), shift);
      const third = i8x16.add(v128.and(i8x16.shr_u(bytes, 4), mask), shift);
      const fourth = i8x16.add(i8x16.shr_u(bytes, 6), shift);
      const left = front8(first, second), right = front8(third, fourth);
      v128.store(q + j, front16(left, right));
      v128.store(q + j, back16(left, right), 16);
      const left2 = back8(first, second), right2 = back8(third, fourth);
      v128.store(q + j, front16(left2, right2), 32);
      v128.store(q + j, back16(left2, right2), 48);
    }
  }
  const mask: u64 = (1 << bits) - 1;
  for (; j < n; j += 8, from += bits) {
    let held = load<u64>(from);
    for (let k = 0; k < min(8, n - j); k++) {
      store<u8>(q + j + k, <u8> (<i32> (held & mask) + lo));
      held >>= bits;
    }
  }
}

/** The first halves of a and b, byte by byte in turn. */
// @ts-ignore: decorator
@inline
function front8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** The second halves. */
// @ts-ignore: decorator
@inline
function back8(a: v128, b: v128): v128 {
  return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** The first halves of a and b, 16 bits by 16 bits in turn. */
// @ts-ignore: decorator
@inline
function front16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

/** The second halves. */
// @ts-ignore: decorator
@inline
function back16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
