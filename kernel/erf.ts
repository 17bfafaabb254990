// The error function: exact to the last place of a float32, and fast for gradients.

import { f, put } from "./memory";

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

/** erf over [−4, 4] in steps of 1/512, for gradients only; no level depends on its last digits. */
const STEPS_PER_UNIT: i32 = 512, TABLE: i32 = 8 * STEPS_PER_UNIT;
const table = memory.data((TABLE + 1) * 4, 16);
let ready = false;

/** Must have run before `erfFast`. */
export function fillTable(): void {
  if (ready) return;
  for (let i = 0; i <= TABLE; i++) put(table, i, <f32> erf(<f64> i / STEPS_PER_UNIT - 4));
  ready = true;
}

/** erf by the table: error below 2e-6. */
// @ts-ignore: decorator
@inline
export function erfFast(x: f32): f32 {
  const t: f32 = (min<f32>(4, max<f32>(-4, x)) + 4) * <f32> STEPS_PER_UNIT;
  const i = min<i32>(TABLE - 1, <i32> t);
  const a = f(table, i);
  return a + (t - <f32> i) * (f(table, i + 1) - a);
}
