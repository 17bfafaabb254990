// The error function, as gradients need it.

import { clip4 } from "./clip";
import { madd } from "./memory";

/**
 * erf4's coefficients, of the highest powers first: seven above, five below. They are read from
 * memory, since that costs one instruction each, and a constant in the code several.
 */
const RATIONAL = memory.data<f32>([
  -2.72614225801306e-10,
  2.77068142495902e-08,
  -2.10102402082508e-06,
  -5.69250639462346e-05,
  -7.34990630326855e-04,
  -2.95459980854025e-03,
  -1.60960333262415e-02,
  -1.45660718464996e-05,
  -2.13374055278905e-04,
  -1.68282697438203e-03,
  -7.37332916720468e-03,
  -1.42647390514189e-02,
]);

// @ts-ignore: decorator
@inline
function coefficient(i: usize): v128 {
  return v128.load32_splat(RATIONAL + (i << 2));
}

/**
 * erf in four lanes, for gradients only: error below 1e-6, no level depends on its last digits. A
 * rational function of odd over even powers on [−4, 4], beyond which erf is ±1 in float32.
 */
export function erf4(value: v128): v128 {
  const x = clip4(value, f32x4.splat(-4), f32x4.splat(4)), t = f32x4.mul(x, x);
  let p = coefficient(0);
  p = madd(coefficient(1), p, t);
  p = madd(coefficient(2), p, t);
  p = madd(coefficient(3), p, t);
  p = madd(coefficient(4), p, t);
  p = madd(coefficient(5), p, t);
  p = madd(coefficient(6), p, t);
  let q = coefficient(7);
  q = madd(coefficient(8), q, t);
  q = madd(coefficient(9), q, t);
  q = madd(coefficient(10), q, t);
  q = madd(coefficient(11), q, t);
  return f32x4.div(f32x4.mul(x, p), q);
}

/**
 * Attention Round's backward rule in four lanes: slopes times ½ + ½ erf(α/(√2 τ)) where they are
 * positive, else times ½ − ½ erf(α/(√2 τ)); `inverse` is 1/(√2 τ). Moving home is easy, away
 * decays.
 */
// @ts-ignore: decorator
@inline
export function erfGradient(slope: v128, alpha: v128, inverse: v128): v128 {
  const half = f32x4.splat(0.5), e = f32x4.mul(half, erf4(f32x4.mul(alpha, inverse)));
  const side = v128.bitselect(e, f32x4.neg(e), f32x4.gt(slope, f32x4.splat(0)));
  return f32x4.mul(slope, f32x4.add(half, side));
}
