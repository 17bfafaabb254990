// AdaRound learned on the Gram matrix of a layer: Adam on the gradient of gram_loss.ts.

import { adam } from "./adam";
import { adaroundForward, GAMMA, softSlope, ZETA } from "./adaround";
import { groupEnd, scalesPerRow, groupStart } from "./scale_groups";
import { halfGradients, keepBetter, lossScaleOf } from "./gram_loss";
import { f, put } from "./memory";
import { axpy } from "./vector";

/**
 * AdaRound on the Gram matrix: ŵ = s · clip(⌊w/s⌋ + h(V)), h the rectified sigmoid, with the
 * regulariser Σ 1 − |2h − 1|^β after a fifth of `totalSteps`, β from 20 down to 2. After the last
 * step the hard rounding h ≥ ½ is compared with the best so far. `state` as in attentionLoop.
 */
export function adaroundLoop(
  target: usize,
  scale: usize,
  groupSize: i32,
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
  const perRow = scalesPerRow(d, groupSize), n = rows * d, all = groups * n;
  const warm = totalSteps / 5;
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (g * n) << 2;
    const gram = h + ((g * d * d) << 2), lossScale = lossScaleOf(gram, d);
    const x = state + from, m = x + (all << 2), v = m + (all << 2);
    const errors = v + (all << 2), gradients = errors + (all << 2);
    const weights = target + from, grid = scale + ((first * perRow) << 2), lows = lo + (first << 2);
    if (startStep == 0) {
      memory.fill(m, 0, n << 2);
      memory.fill(v, 0, n << 2);
      for (let b = 0; b < rows * perRow; b++) {
        const s = f(grid, b), end = groupEnd(b, perRow, groupSize, d);
        for (let i = groupStart(b, perRow, groupSize, d); i < end; i++) {
          // h(V) starts at the fraction, so that the first forward pass is exact.
          const t = f(weights, i) / s, rest = t - floor<f32>(t);
          const p = min<f32>(0.999, max<f32>(0.001, (rest - GAMMA) / (ZETA - GAMMA)));
          put(x, i, -Mathf.log(1 / p - 1));
        }
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      adaroundForward(x, weights, grid, groupSize, lows, span, rows, d, false, errors);
      axpy(-1, weights, errors, n);
      halfGradients(errors, gradients, gram, rows, d);
      const progress = <f64> (step - warm) / <f64> max(1, totalSteps - warm);
      const beta = <f32> (2 + 9 * (1 + Math.cos(progress * Math.PI)));
      const weight: f32 = step < warm ? 0 : regularisation;
      for (let b = 0; b < rows * perRow; b++) {
        const factor = lossScale / f(grid, b), end = groupEnd(b, perRow, groupSize, d);
        let i = groupStart(b, perRow, groupSize, d);
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
    adaroundForward(x, weights, grid, groupSize, lows, span, rows, d, true, errors);
    axpy(-1, weights, errors, n);
    halfGradients(errors, gradients, gram, rows, d);
    keepBetter(
      errors, gradients, weights, grid, groupSize, lows, span, rows, d, q + from, loss, first,
    );
  }
}
