// The exponential function and the logarithm in four lanes.

/**
 * log x for normal x > 0, error below one unit in the last place: x = 2ᵉ (1 + t), then the series
 * of FreeBSD's logf in z = (t / (2 + t))². Of zero it is about −88.
 */
export function log4(x: v128): v128 {
  // e such that 1 + t lies between √½ and √2.
  const e = i32x4.shr_s(i32x4.sub(x, i32x4.splat(0x3F3504F3)), 23);
  const t = f32x4.sub(i32x4.sub(x, i32x4.shl(e, 23)), f32x4.splat(1));
  const s = f32x4.div(t, f32x4.add(t, f32x4.splat(2))), z = f32x4.mul(s, s);
  const series = f32x4.mul(z, cubic(z, 0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693));
  const half = f32x4.mul(f32x4.mul(t, t), f32x4.splat(0.5));
  const rest = f32x4.sub(f32x4.mul(s, f32x4.add(half, series)), half);
  const power = f32x4.mul(f32x4.convert_i32x4_s(e), f32x4.splat(0.69314718));
  return f32x4.add(power, f32x4.add(rest, t));
}

/**
 * eˣ, relative error below 2e-7, for x cut to [−87, 88]: x = n log 2 + r with |r| ≤ ½ log 2, then
 * the polynomial of Cephes' expf in r. NaN stays NaN.
 */
export function exp4(x: v128): v128 {
  // A comparison with NaN is false, and gives the first operand.
  const y = f32x4.pmax(f32x4.pmin(x, f32x4.splat(88)), f32x4.splat(-87));
  // Next to 1.5 · 2²³ the last bit of a float32 is worth 1: the sum ends in the bits of n.
  const big = f32x4.splat(12582912);
  const shifted = f32x4.add(f32x4.mul(y, f32x4.splat(1.44269504)), big);
  const n = f32x4.sub(shifted, big);
  let r = f32x4.sub(y, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.add(r, f32x4.mul(n, f32x4.splat(2.12194440e-4)));
  const top = cubic(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2);
  let p = f32x4.add(f32x4.mul(top, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(0.5));
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r), f32x4.splat(1));
  // 2ⁿ: n goes where a float32 has its exponent.
  return f32x4.mul(p, i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(127 << 23)));
}

/** ((a x + b) x + c) x + d. */
// @ts-ignore: decorator
@inline
export function cubic(x: v128, a: f32, b: f32, c: f32, d: f32): v128 {
  let sum = f32x4.add(f32x4.mul(f32x4.splat(a), x), f32x4.splat(b));
  sum = f32x4.add(f32x4.mul(sum, x), f32x4.splat(c));
  return f32x4.add(f32x4.mul(sum, x), f32x4.splat(d));
}
