// Cholesky factors H = Uᵀ U with U upper triangular, and systems solved by them. Blocked: all but a
// band of the work is matrix products.

import { product } from "./gemm";
import { f, put } from "./memory";
import { axpy } from "./vector";

/** Rows between two updates of all that remains: a matrix product that deep is a fast one. */
const PANEL: i32 = 128;
/**
 * Rows within a panel that are worked on one by one: what is no product is about 32/n of the work.
 */
const BLOCK: i32 = 32;

/**
 * Factors each h[g] (n × n, upper triangle given) in place; below the diagonal it becomes zero.
 * Returns −1, or the first input whose pivot is not positive and finite.
 */
export function cholesky(h: usize, groups: i32, n: i32): i32 {
  for (let g = 0; g < groups; g++) {
    const failed = factor(h + ((g * n * n) << 2), n);
    if (failed >= 0) return failed;
  }
  return -1;
}

function factor(h: usize, n: i32): i32 {
  for (let panel = 0; panel < n; panel += PANEL) {
    const panelEnd = min(n, panel + PANEL);
    for (let b = panel; b < panelEnd; b += BLOCK) {
      const end = min(panelEnd, b + BLOCK);
      const failed = factorBlock(h, n, b, end);
      if (failed >= 0) return failed;
      // The rows to its right: U12 = U11⁻ᵀ H12, row by row.
      for (let i = b; i < end; i++) {
        const row = h + ((i * n + end) << 2);
        for (let s = b; s < i; s++) axpy(-f(h, s * n + i), h + ((s * n + end) << 2), row, n - end);
        scale(row, 1 / f(h, i * n + i), n - end);
      }
      update(h, n, b, end, panelEnd);
    }
    update(h, n, panel, panelEnd, n);
  }
  for (let i = 1; i < n; i++) memory.fill(h + ((i * n) << 2), 0, i << 2);
  return -1;
}

/** The diagonal block b … end, sums in float64: everything after divides by its pivots. */
function factorBlock(h: usize, n: i32, b: i32, end: i32): i32 {
  for (let i = b; i < end; i++) {
    let sum: f64 = f(h, i * n + i);
    for (let s = b; s < i; s++) sum -= <f64> f(h, s * n + i) * <f64> f(h, s * n + i);
    if (!(sum > 0 && sum < Infinity)) return i;
    const pivot = Math.sqrt(sum);
    put(h, i * n + i, <f32> pivot);
    for (let j = i + 1; j < end; j++) {
      let value: f64 = f(h, i * n + j);
      for (let s = b; s < i; s++) value -= <f64> f(h, s * n + i) * <f64> f(h, s * n + j);
      put(h, i * n + j, <f32> (value / pivot));
    }
  }
  return -1;
}

/** Rows end … last − 1, from the diagonal on, −= U12ᵀ U12, where U12 is rows first … end − 1. */
function update(h: usize, n: i32, first: i32, end: i32, last: i32): void {
  const right = h + ((first * n + end) << 2), to = h + ((end * n + end) << 2);
  product(last - end, n - end, end - first, -1, right, 1, n, right, n, 1, to, n, true);
}

// @ts-ignore: decorator
@inline
function scale(x: usize, factor: f32, n: i32): void {
  for (let i = 0; i < n; i++) put(x, i, f(x, i) * factor);
}

/**
 * Replaces b (n × rows: one right-hand side per column) by H⁻¹ b, for one factor u (n × n).
 * Uᵀ Y = B forwards, U X = Y backwards.
 */
export function solve(u: usize, b: usize, n: i32, rows: i32): void {
  for (let block = 0; block < n; block += BLOCK) {
    const end = block + BLOCK < n ? block + BLOCK : n;
    const to = b + ((block * rows) << 2);
    // Rows of Uᵀ are columns of U.
    product(end - block, rows, block, -1, u + (block << 2), 1, n, b, rows, 1, to, rows, false);
    for (let i = block; i < end; i++) {
      const row = b + ((i * rows) << 2);
      for (let s = block; s < i; s++) axpy(-f(u, s * n + i), b + ((s * rows) << 2), row, rows);
      scale(row, 1 / f(u, i * n + i), rows);
    }
  }
  for (let block = ((n - 1) / BLOCK) * BLOCK; block >= 0; block -= BLOCK) {
    const end = block + BLOCK < n ? block + BLOCK : n;
    const to = b + ((block * rows) << 2), from = b + ((end * rows) << 2);
    const left = u + ((block * n + end) << 2);
    product(end - block, rows, n - end, -1, left, n, 1, from, rows, 1, to, rows, false);
    for (let i = end - 1; i >= block; i--) {
      const row = b + ((i * rows) << 2);
      for (let s = i + 1; s < end; s++) axpy(-f(u, i * n + s), b + ((s * rows) << 2), row, rows);
      scale(row, 1 / f(u, i * n + i), rows);
    }
  }
}
