// Levels made better one by one under H: coordinate descent on the loss (ŵ − w) H (ŵ − w)ᵀ.

import { scalesPerRow } from "./scale_groups";
import { product } from "./gemm";
import { level } from "./levels";
import { f, put } from "./memory";
import { axpy, dot64 } from "./vector";

/** errors = s∘q − w for `rows` rows. */
function errorsOf(
  q: usize,
  target: usize,
  scale: usize,
  groupSize: i32,
  rows: i32,
  d: i32,
  errors: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < d; j++) {
      const at = r * d + j;
      put(errors, at, f(scale, r * perRow + j / groupSize) * f(q, at) - f(target, at));
    }
  }
}

/** Rows whose gradients are made by one product, for which H is packed anew. */
const ROWS: i32 = 128;

/** Bytes of working memory that `polish` needs. */
export function polishBytes(d: i32): i32 {
  return (2 * ROWS * d) << 2;
}

/**
 * Coordinate descent: each weight in turn moves to its best level given all others, until no weight
 * moves or after `sweeps` sweeps. No step raises the loss. With sweeps = 0 it only writes the
 * losses.
 */
export function polish(
  q: usize,
  target: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  sweeps: i32,
  loss: usize,
  work: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  const errors = work, gradients = work + ((ROWS * d) << 2);
  for (let g = 0; g < groups; g++) {
    const gram = h + ((g * d * d) << 2);
    for (let r0 = 0; r0 < rows; r0 += ROWS) {
      const count = min(ROWS, rows - r0), first = g * rows + r0;
      const levels = q + ((first * d) << 2), targets = target + ((first * d) << 2);
      const steps = scale + ((first * perRow) << 2);
      errorsOf(levels, targets, steps, groupSize, count, d, errors);
      memory.fill(gradients, 0, (count * d) << 2);
      product(count, d, d, 1, errors, d, 1, gram, d, 1, gradients, d, false);
      for (let r = 0; r < count; r++) {
        const row = (r * d) << 2, gradient = gradients + row;
        const step = steps + ((r * perRow) << 2), least = f(lo, first + r);
        for (let sweep = 0; sweep < sweeps; sweep++) {
          const most = least + span;
          if (!descend(levels + row, step, groupSize, least, most, gram, d, gradient)) break;
        }
        if (sweeps > 0) {
          // Afresh, since small errors add up over the updates.
          errorsOf(levels + row, targets + row, step, groupSize, 1, d, errors + row);
        }
      }
      if (sweeps > 0) {
        memory.fill(gradients, 0, (count * d) << 2);
        product(count, d, d, 1, errors, d, 1, gram, d, 1, gradients, d, false);
      }
      for (let r = 0; r < count; r++) {
        const row = (r * d) << 2;
        put(loss, first + r, <f32> dot64(errors + row, gradients + row, d));
      }
    }
  }
}

/** One sweep over a row; whether any weight moved. `gradient` is half the loss's. */
function descend(
  q: usize,
  scale: usize,
  groupSize: i32,
  lo: f32,
  hi: f32,
  h: usize,
  d: i32,
  gradient: usize,
): bool {
  let moved = false;
  for (let i = 0; i < d; i++) {
    const s = f(scale, i / groupSize), curvature = f(h, i * d + i), slope = f(gradient, i);
    const old = f(q, i);
    const next = level(old - slope / (curvature * s), lo, hi);
    if (next == old) continue;
    const change = (next - old) * s;
    // 2Δg + Δ²H_ii, with a margin for rounding errors so that no cycle is possible.
    const gain = change * 2 * slope + change * change * curvature;
    if (!(gain < -1e-6 * change * change * curvature)) continue;
    put(q, i, next);
    axpy(change, h + ((i * d) << 2), gradient, d);
    moved = true;
  }
  return moved;
}
