// Random numbers by counter: a draw is a pure function of (seed, stream, candidate, index), so that
// work can be split in any way without a change in any bit. And the normal distribution.

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

/** A standard normal draw. */
// @ts-ignore: decorator
@inline
export function normal(key: u32, candidate: u32, index: u32): f64 {
  return quantile(uniform(philox(index, candidate, key)));
}

/**
 * Φ⁻¹(p), relative error about 1e-7: algorithm AS 241, PPND7 (Wichura 1988).
 */
export function quantile(p: f64): f64 {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return q *
      (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
      (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1);
  }
  let r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  let value: f64;
  if (r <= 5) {
    r -= 1.6;
    value = (((0.17023821103 * r + 1.3067284816) * r + 2.75681539) * r + 1.4234372777) /
      ((0.12021132975 * r + 0.7370016425) * r + 1);
  } else {
    r -= 5;
    value = (((0.017337203997 * r + 0.42868294337) * r + 3.081226386) * r + 6.657905115) /
      ((0.012258202635 * r + 0.24197894225) * r + 1);
  }
  return q < 0 ? -value : value;
}

/** out[i] = normal draw i of candidate 0: for tests of the distribution. */
export function normals(out: usize, n: i32, seed: u32, stream: u32): void {
  const key = streamKey(seed, stream);
  for (let i = 0; i < n; i++) put(out, i, <f32> normal(key, 0, i));
}

/**
 * erf(x) in float64, error below 1e-12: its Taylor series for |x| < 2.5, erfc's continued fraction
 * beyond. So its rounding to float32 is off by one unit in the last place at most.
 */
export function erf(x: f64): f64 {
  const a = Math.abs(x);
  if (a > 6) return x > 0 ? 1 : -1;
  const square = a * a;
  if (a < 2.5) {
    // 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)), as e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!: all terms positive.
    let term = a, sum = a;
    for (let n = 1; n < 60; n++) {
      term *= 2 * square / (2 * <f64> n + 1);
      sum += term;
      if (term < sum * 1e-17) break;
    }
    const value = 1.1283791670955126 * Math.exp(-square) * sum;
    return x < 0 ? -value : value;
  }
  // erfc(x) = e^(−x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))), from the inside out.
  let tail = a;
  for (let n = 60; n > 0; n--) tail = a + (<f64> n / 2) / tail;
  const value = 1 - 0.5641895835477563 * Math.exp(-square) / tail;
  return x < 0 ? -value : value;
}
