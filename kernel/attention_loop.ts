// Attention Round learned on the Gram matrix of a layer: Adam on the gradient of gram_loss.ts.

import { adam } from "./adam";
import { attentionForward } from "./attention";
import { groupEnd, scalesPerRow, groupStart } from "./scale_groups";
import { erfGradient } from "./erf";
import { normals } from "./gaussian";
import { halfGradients, keepBetter, lossScaleOf } from "./gram_loss";
import { f, put } from "./memory";
import { axpy } from "./vector";

/**
 * Attention Round, layer form, steps startStep … startStep + steps − 1.
 *
 * Forward ŵ = s · clip(round(w/s + α)), α₀ ~ N(0, τ²). Backward by the erf rule:
 * ∂L/∂α = s g (½ + ½ erf(α/(√2 τ))) where g > 0, s g (½ − ½ erf(α/(√2 τ))) otherwise.
 *
 * `state` is 5 × groups·rows·d floats; q and loss hold the best so far and must be valid at the
 * start.
 */
export function attentionLoop(
  target: usize,
  scale: usize,
  groupSize: i32,
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
  const perRow = scalesPerRow(d, groupSize), n = rows * d, all = groups * n;
  const radius = f32x4.splat(1 / (Mathf.sqrt(2) * tau));
  for (let g = 0; g < groups; g++) {
    const first = g * rows, from = (g * n) << 2;
    const gram = h + ((g * d * d) << 2), lossScale = lossScaleOf(gram, d);
    const alpha = state + from, m = alpha + (all << 2), v = m + (all << 2);
    const errors = v + (all << 2), gradients = errors + (all << 2);
    const weights = target + from, grid = scale + ((first * perRow) << 2), lows = lo + (first << 2);
    if (startStep == 0) {
      memory.fill(m, 0, n << 2);
      memory.fill(v, 0, n << 2);
      for (let r = 0; r < rows; r++) {
        normals(alpha + ((r * d) << 2), d, tau, seed, stream + first + r);
      }
    }
    for (let step = startStep; step < startStep + steps; step++) {
      attentionForward(alpha, weights, grid, groupSize, lows, span, rows, d, errors);
      axpy(-1, weights, errors, n);
      halfGradients(errors, gradients, gram, rows, d);
      const best = q + from;
      keepBetter(
        errors, gradients, weights, grid, groupSize, lows, span, rows, d, best, loss, first,
      );
      for (let b = 0; b < rows * perRow; b++) {
        const factor = lossScale / f(grid, b), end = groupEnd(b, perRow, groupSize, d);
        let i = groupStart(b, perRow, groupSize, d);
        for (; i + 4 <= end; i += 4) {
          const at = i << 2;
          const slope = f32x4.mul(v128.load(gradients + at), f32x4.splat(factor));
          v128.store(gradients + at, erfGradient(slope, v128.load(alpha + at), radius));
        }
        for (; i < end; i++) {
          const slope = f32x4.splat(f(gradients, i) * factor);
          const ruled = erfGradient(slope, f32x4.splat(f(alpha, i)), radius);
          put(gradients, i, f32x4.extract_lane(ruled, 0));
        }
      }
      adam(alpha, m, v, gradients, n, step, rate);
    }
  }
}
