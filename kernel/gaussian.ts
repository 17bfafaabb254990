// Random numbers by counter: a draw is a pure function of (seed, stream, candidate, index), so that
// work can be split in any way without a change in any bit; and the
// normal distribution.

import { cubic, log4 } from "./exponential";
import { put } from "./memory";

/**
 * Philox 2×32 with seven rounds (Salmon, Moraes, Dror, Shaw 2011): the counter (a, b) encrypted
 * under `key`; the first half of the block.
 */
export function philox(a: u32, b: u32, key: u32): u32 {
  for (let round = 0; round < 7; round++) {
    const wide = <u64> a * 0xD256D193;
    a = <u32> (wide >> 32) ^ key ^ b;
    b = <u32> wide;
    key += 0x9E3779B9;
  }
  return a;
}

/** The key of a stream. */
export function streamKey(seed: u32, stream: u32): u32 {
  return philox(stream, 0x61747475, seed);
}

/** A number strictly between 0 and 1: 32 random bits and a half. */
// @ts-ignore: decorator
@inline
export function uniform(bits: u32): f64 {
  return (<f64> bits + 0.5) * 2.3283064365386963e-10;
}

/** `philox` in four lanes. */
function philox4(a: v128, b: v128, key: v128): v128 {
  const factor = i32x4.splat(0xD256D193), step = i32x4.splat(0x9E3779B9);
  for (let round = 0; round < 7; round++) {
    const even = i64x2.extmul_low_i32x4_u(a, factor), odd = i64x2.extmul_high_i32x4_u(a, factor);
    a = v128.xor(v128.xor(v128.shuffle<i32>(even, odd, 1, 3, 5, 7), key), b);
    b = v128.shuffle<i32>(even, odd, 0, 2, 4, 6);
    key = i32x4.add(key, step);
  }
  return a;
}

/**
 * Four standard normal draws of the streams with these keys: Φ⁻¹ of a uniform draw, by algorithm
 * AS 241, PPND7 (Wichura 1988). In float32: error below 4e-6 relative to the larger of 1 and the
 * draw.
 */
export function normal4(keys: v128, candidates: v128, indices: v128): v128 {
  const bits = philox4(indices, candidates, keys);
  // q = u − ½ for u = (bits + ½) / 2³²; its sign is that of the flipped highest bit.
  const signed = v128.xor(bits, i32x4.splat(0x80000000));
  const q = f32x4.mul(
    f32x4.add(f32x4.convert_i32x4_s(signed), f32x4.splat(0.5)),
    f32x4.splat(2.3283064365386963e-10),
  );
  let r = f32x4.sub(f32x4.splat(0.180625), f32x4.mul(q, q));
  const middle = f32x4.div(
    f32x4.mul(q, cubic(r, 59.10937472, 159.29113202, 50.434271938, 3.3871327179)),
    cubic(r, 67.1875636, 78.757757664, 17.895169469, 1),
  );
  // The tail that u lies in, as min(u, 1 − u): whole numbers have its digits. With 32 bits r stays
  // below 5, where Wichura's third case begins.
  const negative = i32x4.shr_s(signed, 31);
  const tail = f32x4.mul(
    f32x4.add(
      f32x4.convert_i32x4_s(v128.xor(bits, v128.not(negative))),
      f32x4.splat(0.5),
    ),
    f32x4.splat(2.3283064365386963e-10),
  );
  r = f32x4.sub(f32x4.sqrt(f32x4.neg(log4(tail))), f32x4.splat(1.6));
  const far = f32x4.div(
    cubic(r, 0.17023821103, 1.3067284816, 2.75681539, 1.4234372777),
    cubic(r, 0, 0.12021132975, 0.7370016425, 1),
  );
  const outer = v128.xor(far, v128.and(negative, i32x4.splat(0x80000000)));
  return v128.bitselect(middle, outer, f32x4.le(f32x4.abs(q), f32x4.splat(0.425)));
}

/** out[i] = factor · normal draw i of candidate 0. */
export function normals(out: usize, n: i32, factor: f32, seed: u32, stream: u32): void {
  const keys = i32x4.splat(streamKey(seed, stream)), zero = i32x4.splat(0);
  let indices = i32x4(0, 1, 2, 3), i = 0;
  for (; i < n; i += 4) {
    const draws = f32x4.mul(f32x4.splat(factor), normal4(keys, zero, indices));
    if (i + 4 <= n) v128.store(out + (i << 2), draws);
    else {
      put(out, i, f32x4.extract_lane(draws, 0));
      if (i + 1 < n) put(out, i + 1, f32x4.extract_lane(draws, 1));
      if (i + 2 < n) put(out, i + 2, f32x4.extract_lane(draws, 2));
    }
    indices = i32x4.add(indices, i32x4.splat(4));
  }
}
