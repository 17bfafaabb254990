// Rounding learned by gradient, on the Gram matrix: the loss tr((Ŵ−W) H (Ŵ−W)ᵀ) of all calibration
// samples at once, its exact gradient 2 (Ŵ−W) H by one matrix product, Adam on what it says. The best
// rounding seen is kept per row.
//
// Gradients are divided by 2 s mean(diag H), so that a learning rate means the same for every layer.

import { dot64, product } from "./gemm";
import { erf, normal, streamKey } from "./gaussian";
import { f, put } from "./memory";
import { level } from "./scale";

const BETA1: f32 = 0.9, BETA2: f32 = 0.999, EPSILON: f32 = 1e-8;
/** AdaRound's rectified sigmoid reaches from γ to ζ (Nagel et al. 2020). */
const ZETA: f32 = 1.1, GAMMA: f32 = -0.1;

/** Floats of state per weight: the variable, two moments, error, gradient. */
export const STATE: i32 = 5;

/** erf over [−4, 4] in steps of 1/512, for gradients only; no level depends on its last digits. */
const TABLE_STEP: f64 = 512;
const table = memory.data(4097 * 4, 16);
let ready = false;

function erfFast(x: f32): f32 {
  const t = min<f32>(4, max<f32>(-4, x)) * 512 + 2048;
  const i = min<i32>(4095, <i32> t), fraction = t - <f32> i;
  const a = f(table, i);
  return a + fraction * (f(table, i + 1) - a);
}

function fillTable(): void {
  if (ready) return;
  for (let i = 0; i <= 4096; i++) put(table, i, <f32> erf(<f64> (i - 2048) / TABLE_STEP));
  ready = true;
}

function meanDiagonal(h: usize, d: i32): f32 {
  let sum: f64 = 0;
  for (let j = 0; j < d; j++) sum += f(h, j * d + j);
  return <f32> (sum / d);
}

/** One Adam step on element `at`. */
// @ts-ignore: decorator
@inline
function adam(x: usize, m: usize, v: usize, at: i32, g: f32, rate: f32, fix1: f32, fix2: f32): f32 {
  const first = BETA1 * f(m, at) + (1 - BETA1) * g;
  const second = BETA2 * f(v, at) + (1 - BETA2) * g * g;
  put(m, at, first);
  put(v, at, second);
  const value = f(x, at) - rate * first * fix1 / (Mathf.sqrt(second * fix2) + EPSILON);
  put(x, at, value);
  return value;
}

/**
 * Attention Round, layer form, steps startStep … startStep + steps − 1, one scale per row.
 *
 * Forward ŵ = s · clip(round(w/s + α)), α₀ ~ N(0, τ²). Backward by the erf rule:
 * ∂L/∂α = s g (½ + ½ erf(α/(√2 τ))) where g > 0, s g (½ − ½ erf(α/(√2 τ))) otherwise.
 * `state` is 5 × rows·d floats; q and loss hold the best so far and must be valid at the start.
 */
export function attentionLoop(
  target: usize,
  scale: usize,
  lo: f32,
  hi: f32,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  tau: f32,
  rate: f32,
  steps: i32,
  startStep: i32,
  seed: u32,
  stream: u32,
  state: usize,
  q: usize,
  loss: usize,
): void {
  fillTable();
  const n = groups * rows * d;
  const alpha = state, m = alpha + (n << 2), v = m + (n << 2);
  const errors = v + (n << 2), gradients = errors + (n << 2);
  const inverse: f32 = 1 / (Mathf.sqrt(2) * tau);
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (first * d) << 2;
    const gram = h + ((g * d * d) << 2);
    const unit: f32 = 1 / meanDiagonal(gram, d);
    if (startStep == 0) {
      memory.fill(m + from, 0, (rows * d) << 2);
      memory.fill(v + from, 0, (rows * d) << 2);
      for (let r = 0; r < rows; r++) {
        const key = streamKey(seed, stream + first + r);
        for (let j = 0; j < d; j++) {
          put(alpha + from, r * d + j, tau * <f32> normal(key, 0, j));
        }
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      const fix1: f32 = 1 / (1 - Mathf.pow(BETA1, <f32> (step + 1)));
      const fix2: f32 = 1 / (1 - Mathf.pow(BETA2, <f32> (step + 1)));
      for (let r = 0; r < rows; r++) {
        const s = f(scale, first + r), row = from + ((r * d) << 2);
        for (let j = 0; j < d; j++) {
          put(gradients + row, j, level(f(target + row, j) / s + f(alpha + row, j), lo, hi));
        }
      }
      evaluate(target, scale, gram, first, rows, d, gradients, errors, q, loss);
      for (let r = 0; r < rows; r++) {
        const row = from + ((r * d) << 2), factor = unit / f(scale, first + r);
        for (let j = 0; j < d; j++) {
          const g1 = f(gradients + row, j) * factor;
          const e = erfFast(f(alpha + row, j) * inverse);
          const g2 = g1 * (g1 > 0 ? 0.5 + 0.5 * e : 0.5 - 0.5 * e);
          adam(alpha + row, m + row, v + row, j, g2, rate, fix1, fix2);
        }
      }
    }
  }
}

/**
 * Errors, gradients and losses of `rows` rows from `first`; rows that are better than before are kept.
 * The levels lie where the gradients will.
 */
function evaluate(
  target: usize,
  scale: usize,
  gram: usize,
  first: i32,
  rows: i32,
  d: i32,
  gradients: usize,
  errors: usize,
  q: usize,
  loss: usize,
): void {
  const from = (first * d) << 2;
  for (let r = 0; r < rows; r++) {
    const s = f(scale, first + r), row = from + ((r * d) << 2);
    for (let j = 0; j < d; j++) {
      put(errors + row, j, s * f(gradients + row, j) - f(target + row, j));
    }
  }
  memory.fill(gradients + from, 0, (rows * d) << 2);
  product(rows, d, d, 1, errors + from, d, 1, gram, d, 1, gradients + from, d, false);
  for (let r = 0; r < rows; r++) {
    const row = from + ((r * d) << 2), s = f(scale, first + r);
    const value = <f32> dot64(errors + row, gradients + row, d);
    if (!(value < f(loss, first + r))) continue;
    put(loss, first + r, value);
    // Levels again from errors: exact, since they are small whole numbers.
    for (let j = 0; j < d; j++) {
      put(q + row, j, nearest<f32>((f(errors + row, j) + f(target + row, j)) / s));
    }
  }
}

/**
 * AdaRound on the Gram matrix: ŵ = s · clip(⌊w/s⌋ + h(V)), h the rectified sigmoid, with the
 * regulariser Σ 1 − |2h − 1|^β after a fifth of `totalSteps`, β from 20 down to 2. After the last
 * step the hard rounding h ≥ ½ is compared with the best so far.
 */
export function adaroundLoop(
  target: usize,
  scale: usize,
  lo: f32,
  hi: f32,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  rate: f32,
  steps: i32,
  startStep: i32,
  totalSteps: i32,
  regularisation: f32,
  state: usize,
  q: usize,
  loss: usize,
): void {
  const n = groups * rows * d;
  const x = state, m = x + (n << 2), v = m + (n << 2);
  const errors = v + (n << 2), gradients = errors + (n << 2);
  const warm = totalSteps / 5;
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (first * d) << 2;
    const gram = h + ((g * d * d) << 2);
    const unit: f32 = 1 / meanDiagonal(gram, d);
    if (startStep == 0) {
      memory.fill(m + from, 0, (rows * d) << 2);
      memory.fill(v + from, 0, (rows * d) << 2);
      for (let r = 0; r < rows; r++) {
        const s = f(scale, first + r), row = from + ((r * d) << 2);
        for (let j = 0; j < d; j++) {
          // h(V) starts at the fraction, so that the first forward pass is exact.
          const t = f(target + row, j) / s, rest = t - floor<f32>(t);
          const p = min<f32>(0.999, max<f32>(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
          put(x + row, j, -Mathf.log(1 / p - 1));
        }
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      const fix1: f32 = 1 / (1 - Mathf.pow(BETA1, <f32> (step + 1)));
      const fix2: f32 = 1 / (1 - Mathf.pow(BETA2, <f32> (step + 1)));
      for (let r = 0; r < rows; r++) {
        const s = f(scale, first + r), row = from + ((r * d) << 2);
        for (let j = 0; j < d; j++) {
          const w = f(target + row, j);
          const value = floor<f32>(w / s) + rectified(f(x + row, j));
          put(errors + row, j, s * max<f32>(lo, min<f32>(hi, value)) - w);
        }
      }
      memory.fill(gradients + from, 0, (rows * d) << 2);
      product(rows, d, d, 1, errors + from, d, 1, gram, d, 1, gradients + from, d, false);
      const progress = <f32> (step - warm) / <f32> max(1, totalSteps - warm);
      const beta: f32 = 2 + 18 * (0.5 * (1 + Mathf.cos(progress * 3.1415927)));
      for (let r = 0; r < rows; r++) {
        const row = from + ((r * d) << 2), factor = unit / f(scale, first + r);
        for (let j = 0; j < d; j++) {
          const raw: f32 = 1 / (1 + Mathf.exp(-f(x + row, j)));
          const stretched = raw * (ZETA - GAMMA) + GAMMA;
          const inside = stretched > 0 && stretched < 1;
          let g2: f32 = 0;
          if (inside) {
            g2 = f(gradients + row, j) * factor;
            if (step >= warm) {
              const off = stretched * 2 - 1, size = Mathf.abs(off);
              const slope = beta * 2 * Mathf.pow(size, beta - 1);
              g2 -= regularisation * (off > 0 ? slope : -slope);
            }
            g2 *= (ZETA - GAMMA) * raw * (1 - raw);
          }
          adam(x + row, m + row, v + row, j, g2, rate, fix1, fix2);
        }
      }
    }
    if (startStep + steps < totalSteps) continue;
    for (let r = 0; r < rows; r++) {
      const s = f(scale, first + r), row = from + ((r * d) << 2);
      for (let j = 0; j < d; j++) {
        const up: f32 = rectified(f(x + row, j)) >= 0.5 ? 1 : 0;
        const value = floor<f32>(f(target + row, j) / s) + up;
        put(gradients + row, j, max<f32>(lo, min<f32>(hi, value)));
      }
    }
    evaluate(target, scale, gram, first, rows, d, gradients, errors, q, loss);
  }
}

// @ts-ignore: decorator
@inline
function rectified(x: f32): f32 {
  const stretched = (ZETA - GAMMA) / (1 + Mathf.exp(-x)) + GAMMA;
  return max<f32>(0, min<f32>(1, stretched));
}
