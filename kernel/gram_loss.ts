// The loss that rounding is learned by on the Gram matrix: tr((Ŵ−W) H (Ŵ−W)ᵀ), of all calibration
// samples at once, with its exact gradient 2 (Ŵ−W) H by one matrix product. The best rounding seen
// is kept per row.
//
// With respect to a weight in units of its step s, the gradient is 2 s (Ŵ−W) H. It is divided by
// 2 s² mean(diag H), so that a learning rate means the same for every layer.

import { groupEnd, scalesPerRow, groupStart } from "./scale_groups";
import { product } from "./gemm";
import { level } from "./levels";
import { f, put } from "./memory";
import { dot64 } from "./vector";

/** 1 / mean(diag H); 0 where H is zero: then nothing moves. */
export function lossScaleOf(h: usize, d: i32): f32 {
  let sum: f64 = 0;
  for (let j = 0; j < d; j++) sum += f(h, j * d + j);
  return sum > 0 ? <f32> (<f64> d / sum) : 0;
}

/** gradients = errors · H: half the loss's gradients. */
export function halfGradients(
  errors: usize,
  gradients: usize,
  gram: usize,
  rows: i32,
  d: i32,
): void {
  memory.fill(gradients, 0, (rows * d) << 2);
  product(rows, d, d, 1, errors, d, 1, gram, d, 1, gradients, d, false);
}

/** Takes over the levels of the rows whose loss, Σ error · gradient, is below the best so far. */
export function keepBetter(
  errors: usize,
  gradients: usize,
  weights: usize,
  grid: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  q: usize,
  loss: usize,
  first: i32,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let r = 0; r < rows; r++) {
    const row = (r * d) << 2;
    const value = <f32> dot64(errors + row, gradients + row, d);
    if (!(value < f(loss, first + r))) continue;
    put(loss, first + r, value);
    const least = f(lo, r), most = least + span;
    for (let b = r * perRow; b < (r + 1) * perRow; b++) {
      const s = f(grid, b), end = groupEnd(b, perRow, groupSize, d);
      // The levels again from the errors: exact, since they are small whole numbers.
      for (let i = groupStart(b, perRow, groupSize, d); i < end; i++) {
        put(q, i, level((f(errors, i) + f(weights, i)) / s, least, most));
      }
    }
  }
}
