// Rounding learned by gradient, on the Gram matrix: the loss tr((Ŵ−W) H (Ŵ−W)ᵀ) of all calibration
// samples at once, its exact gradient 2 (Ŵ−W) H by one matrix product, Adam on what it says. The best
// rounding seen is kept per row.
//
// With respect to a weight in units of its step s, the gradient is 2 s (Ŵ−W) H. It is divided by
// 2 s² mean(diag H), so that a learning rate means the same for every layer.

import { adam } from "./adam";
import { adaroundForward, GAMMA, softSlope, ZETA } from "./adaround";
import { attentionForward } from "./block";
import { homeward } from "./erf";
import { normals } from "./gaussian";
import { product } from "./gemm";
import { f, put } from "./memory";
import { blockEnd, blockStart, level } from "./scale";
import { axpy, dot64 } from "./vector";

/** 1 / mean(diag H); 0 where H is zero: then nothing moves. */
function unitOf(h: usize, d: i32): f32 {
  let sum: f64 = 0;
  for (let j = 0; j < d; j++) sum += f(h, j * d + j);
  return sum > 0 ? <f32> (<f64> d / sum) : 0;
}

/**
 * Attention Round, layer form, steps startStep … startStep + steps − 1.
 *
 * Forward ŵ = s · clip(round(w/s + α)), α₀ ~ N(0, τ²). Backward by the erf rule:
 * ∂L/∂α = s g (½ + ½ erf(α/(√2 τ))) where g > 0, s g (½ − ½ erf(α/(√2 τ))) otherwise.
 * `state` is 5 × groups·rows·d floats; q and loss hold the best so far and must be valid at the start.
 */
export function attentionLoop(
  target: usize,
  scale: usize,
  block: i32,
  lo: usize,
  span: f32,
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
  const blocks = (d + block - 1) / block, n = rows * d, all = groups * n;
  const radius = f32x4.splat(1 / (Mathf.sqrt(2) * tau));
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (g * n) << 2;
    const gram = h + ((g * d * d) << 2), unit = unitOf(gram, d);
    const alpha = state + from, m = alpha + (all << 2), v = m + (all << 2);
    const errors = v + (all << 2), gradients = errors + (all << 2);
    const wanted = target + from, grid = scale + ((first * blocks) << 2), lows = lo + (first << 2);
    if (startStep == 0) {
      memory.fill(m, 0, n << 2);
      memory.fill(v, 0, n << 2);
      for (let r = 0; r < rows; r++) {
        normals(alpha + ((r * d) << 2), d, tau, seed, stream + first + r);
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      attentionForward(alpha, wanted, grid, block, lows, span, rows, d, errors);
      axpy(-1, wanted, errors, n);
      evaluate(errors, gradients, gram, rows, d);
      keepBetter(errors, gradients, wanted, grid, block, lows, span, rows, d, q + from, loss, first);
      for (let b = 0; b < rows * blocks; b++) {
        const factor = unit / f(grid, b), end = blockEnd(b, blocks, block, d);
        let i = blockStart(b, blocks, block, d);
        for (; i + 4 <= end; i += 4) {
          const at = i << 2;
          const slope = f32x4.mul(v128.load(gradients + at), f32x4.splat(factor));
          v128.store(gradients + at, homeward(slope, v128.load(alpha + at), radius));
        }
        for (; i < end; i++) {
          const slope = f32x4.splat(f(gradients, i) * factor);
          const ruled = homeward(slope, f32x4.splat(f(alpha, i)), radius);
          put(gradients, i, f32x4.extract_lane(ruled, 0));
        }
      }
      adam(alpha, m, v, gradients, n, step, rate);
    }
  }
}

/**
 * AdaRound on the Gram matrix: ŵ = s · clip(⌊w/s⌋ + h(V)), h the rectified sigmoid, with the
 * regulariser Σ 1 − |2h − 1|^β after a fifth of `totalSteps`, β from 20 down to 2. After the last
 * step the hard rounding h ≥ ½ is compared with the best so far. `state` as in attentionLoop.
 */
export function adaroundLoop(
  target: usize,
  scale: usize,
  block: i32,
  lo: usize,
  span: f32,
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
  const blocks = (d + block - 1) / block, n = rows * d, all = groups * n;
  const warm = totalSteps / 5;
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (g * n) << 2;
    const gram = h + ((g * d * d) << 2), unit = unitOf(gram, d);
    const x = state + from, m = x + (all << 2), v = m + (all << 2);
    const errors = v + (all << 2), gradients = errors + (all << 2);
    const wanted = target + from, grid = scale + ((first * blocks) << 2), lows = lo + (first << 2);
    if (startStep == 0) {
      memory.fill(m, 0, n << 2);
      memory.fill(v, 0, n << 2);
      for (let b = 0; b < rows * blocks; b++) {
        const s = f(grid, b), end = blockEnd(b, blocks, block, d);
        for (let i = blockStart(b, blocks, block, d); i < end; i++) {
          // h(V) starts at the fraction, so that the first forward pass is exact.
          const t = f(wanted, i) / s, rest = t - floor<f32>(t);
          const p = min<f32>(0.999, max<f32>(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
          put(x, i, -Mathf.log(1 / p - 1));
        }
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      adaroundForward(x, wanted, grid, block, lows, span, rows, d, false, errors);
      axpy(-1, wanted, errors, n);
      evaluate(errors, gradients, gram, rows, d);
      const progress = <f64> (step - warm) / <f64> max(1, totalSteps - warm);
      const beta = <f32> (2 + 9 * (1 + Math.cos(progress * Math.PI)));
      const weight: f32 = step < warm ? 0 : regularisation;
      for (let b = 0; b < rows * blocks; b++) {
        const factor = unit / f(grid, b), end = blockEnd(b, blocks, block, d);
        let i = blockStart(b, blocks, block, d);
        for (; i + 4 <= end; i += 4) {
          const at = i << 2;
          const slope = f32x4.mul(v128.load(gradients + at), f32x4.splat(factor));
          v128.store(gradients + at, softSlope(slope, v128.load(x + at), beta, weight));
        }
        for (; i < end; i++) {
          const slope = f32x4.splat(f(gradients, i) * factor);
          const soft = softSlope(slope, f32x4.splat(f(x, i)), beta, weight);
          put(gradients, i, f32x4.extract_lane(soft, 0));
        }
      }
      adam(x, m, v, gradients, n, step, rate);
    }
    if (startStep + steps < totalSteps) continue;
    adaroundForward(x, wanted, grid, block, lows, span, rows, d, true, errors);
    axpy(-1, wanted, errors, n);
    evaluate(errors, gradients, gram, rows, d);
    keepBetter(errors, gradients, wanted, grid, block, lows, span, rows, d, q + from, loss, first);
  }
}

/** gradients = errors · H: half the loss's gradients. */
function evaluate(errors: usize, gradients: usize, gram: usize, rows: i32, d: i32): void {
  memory.fill(gradients, 0, (rows * d) << 2);
  product(rows, d, d, 1, errors, d, 1, gram, d, 1, gradients, d, false);
}

/** Takes over the levels of the rows whose loss, Σ error · gradient, is below the best so far. */
function keepBetter(
  errors: usize,
  gradients: usize,
  wanted: usize,
  grid: usize,
  block: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  q: usize,
  loss: usize,
  first: i32,
): void {
  const blocks = (d + block - 1) / block;
  for (let r = 0; r < rows; r++) {
    const row = (r * d) << 2;
    const value = <f32> dot64(errors + row, gradients + row, d);
    if (!(value < f(loss, first + r))) continue;
    put(loss, first + r, value);
    const least = f(lo, r), most = least + span;
    for (let b = r * blocks; b < (r + 1) * blocks; b++) {
      const s = f(grid, b), end = blockEnd(b, blocks, block, d);
      // The levels again from the errors: exact, since they are small whole numbers.
      for (let i = blockStart(b, blocks, block, d); i < end; i++) {
        put(q, i, level((f(errors, i) + f(wanted, i)) / s, least, most));
      }
    }
  }
}
