// Rounding to codes that are read at several widths at once. Every width b has a codebook of its
// own, values[b][code], with its own scales, target and metric; one code per weight serves all of
// them. Nested grids are that (the high bits of a code are a level of fewer bits), and a grid whose
// levels are not all the integers of a range is the case of one width.
//
// As in lattice.ts, width b's loss is Σ_i U_b,ii² (s_b v_b(code_i) − c_b,i)², c_b,i being what its
// own errors so far make the best value of input i. The code is the one of least
// Σ_b price_b · loss_b.

import { scalesPerRow } from "./scale_groups";
import { product } from "./gemm";
import { normal4, streamKey } from "./gaussian";
import { f, madd, put } from "./memory";
import { axpy, dot } from "./vector";

/** Rows whose codes are decided together, so that a row of U serves all of them from cache. */
const TILE: i32 = 16;
/** Rows whose gradients are made by one product, for which H is packed anew. */
const ROWS: i32 = 128;

/** Bytes of working memory that `codesSequential` and `codesPolish` need. */
export function codesBytes(d: i32, widths: i32): i32 {
  return (2 * ROWS * d * widths + 2 * widths) << 2;
}

/**
 * The code of least Σ_b a_b (v_b(code) − t_b)², the lowest of equal ones. `terms` holds the t_b,
 * then the a_b; `codes` is a multiple of four.
 */
function choose(values: usize, codes: i32, widths: i32, terms: usize): i32 {
  let best = f32x4.splat(Infinity), chosen = i32x4.splat(0);
  for (let code = 0; code < codes; code += 4) {
    let cost = f32x4.splat(0);
    for (let b = 0; b < widths; b++) {
      const off = f32x4.sub(
        v128.load(values + ((b * codes + code) << 2)),
        v128.load_splat<f32>(terms + (b << 2)),
      );
      cost = madd(cost, v128.load_splat<f32>(terms + ((widths + b) << 2)), f32x4.mul(off, off));
    }
    const better = f32x4.lt(cost, best);
    best = v128.bitselect(cost, best, better);
    chosen = v128.bitselect(i32x4.splat(code), chosen, better);
  }
  chosen = i32x4.add(chosen, i32x4(0, 1, 2, 3));
  const least = min(
    min(f32x4.extract_lane(best, 0), f32x4.extract_lane(best, 1)),
    min(f32x4.extract_lane(best, 2), f32x4.extract_lane(best, 3)),
  );
  // Lanes above the least become the largest number, so that the lowest code is left.
  const masked = v128.or(chosen, v128.not(f32x4.eq(best, f32x4.splat(least))));
  const low = i32x4.min_u(masked, v128.shuffle<i32>(masked, masked, 2, 3, 0, 1));
  const code = i32x4.extract_lane(i32x4.min_u(low, v128.shuffle<i32>(low, low, 1, 0, 3, 2)), 0);
  // Where all costs are NaN none is equal to the least.
  return code < 0 ? 0 : code;
}

/**
 * Decides the codes of each row from the last input to the first. Arrays of all widths lie one
 * after another: target (rows × d), scale (rows × scales of a row), u (groups × d × d), price
 * (rows), spread (groups × d). offset (rows) is what a row adds to the values of all codes. Draws
 * are as in `sequential`, with one normal draw per weight for all widths.
 */
export function codesSequential(
  target: usize,
  scale: usize,
  groupSize: i32,
  values: usize,
  codes: i32,
  widths: i32,
  offset: usize,
  price: usize,
  u: usize,
  spread: usize,
  tau: f32,
  candidate: u32,
  seed: u32,
  stream: u32,
  rows: i32,
  groups: i32,
  d: i32,
  code: usize,
  work: usize,
): void {
  const all = groups * rows, perRow = scalesPerRow(d, groupSize);
  const terms = work, errors = work + ((2 * widths) << 2);
  for (let first = 0; first < all; first += TILE) {
    const last = min(first + TILE, all);
    for (let i = d - 1; i >= 0; i--) {
      for (let row = first; row < last; row++) {
        const group = row / rows;
        let z: f32 = 0;
        if (tau != 0) {
          const keys = i32x4.splat(streamKey(seed, stream + row));
          z = tau * f32x4.extract_lane(normal4(keys, i32x4.splat(candidate), i32x4.splat(i)), 0);
        }
        for (let b = 0; b < widths; b++) {
          const factor = u + (((b * groups + group) * d + i) * d << 2);
          const error = errors + (((row - first) * widths + b) * d << 2);
          const s = f(scale, (b * all + row) * perRow + i / groupSize), pivot = f(factor, i);
          const pull = dot(factor + ((i + 1) << 2), error + ((i + 1) << 2), d - 1 - i);
          const c = f(target, (b * all + row) * d + i) - pull / pivot, step = pivot * s;
          put(terms, b, c / s - f(offset, row) + z * f(spread, (b * groups + group) * d + i));
          put(terms, widths + b, f(price, b * all + row) * step * step);
        }
        const chosen = choose(values, codes, widths, terms);
        put(code, row * d + i, <f32> chosen);
        for (let b = 0; b < widths; b++) {
          const s = f(scale, (b * all + row) * perRow + i / groupSize);
          const value = f(values, b * codes + chosen) + f(offset, row);
          const error = s * value - f(target, (b * all + row) * d + i);
          put(errors, ((row - first) * widths + b) * d + i, error);
        }
      }
    }
  }
}

/**
 * Coordinate descent on Σ_b price_b · loss_b, arrays as in `codesSequential`, h as u: each weight
 * in turn moves to its best code given all others, until none moves or after `sweeps` sweeps.
 */
export function codesPolish(
  target: usize,
  scale: usize,
  groupSize: i32,
  values: usize,
  codes: i32,
  widths: i32,
  offset: usize,
  price: usize,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  sweeps: i32,
  code: usize,
  work: usize,
): void {
  const all = groups * rows, perRow = scalesPerRow(d, groupSize), size = ROWS * d;
  const terms = work, errors = terms + ((2 * widths) << 2);
  const gradients = errors + ((widths * size) << 2);
  for (let g = 0; g < groups; g++) {
    for (let r0 = 0; r0 < rows; r0 += ROWS) {
      const count = min(ROWS, rows - r0), first = g * rows + r0;
      memory.fill(gradients, 0, (widths * size) << 2);
      for (let b = 0; b < widths; b++) {
        for (let r = 0; r < count; r++) {
          for (let i = 0; i < d; i++) {
            const at = (first + r) * d + i;
            const value = f(values, b * codes + <i32> f(code, at)) + f(offset, first + r);
            const s = f(scale, (b * all + first + r) * perRow + i / groupSize);
            put(errors, (b * ROWS + r) * d + i, s * value - f(target, b * all * d + at));
          }
        }
        const error = errors + ((b * size) << 2), gradient = gradients + ((b * size) << 2);
        const metric = h + ((b * groups + g) * d * d << 2);
        product(count, d, d, 1, error, d, 1, metric, d, 1, gradient, d, false);
      }
      for (let r = 0; r < count; r++) {
        for (let sweep = 0; sweep < sweeps; sweep++) {
          let moved = false;
          for (let i = 0; i < d; i++) {
            const at = (first + r) * d + i, old = <i32> f(code, at);
            for (let b = 0; b < widths; b++) {
              const curvature = f(h, ((b * groups + g) * d + i) * d + i);
              const s = f(scale, (b * all + first + r) * perRow + i / groupSize);
              const slope = f(gradients, (b * ROWS + r) * d + i);
              put(terms, b, f(values, b * codes + old) - slope / (curvature * s));
              put(terms, widths + b, f(price, b * all + first + r) * curvature * s * s);
            }
            const next = choose(values, codes, widths, terms);
            if (next == old) continue;
            // What is gained, and what of the move would be lost to rounding errors.
            let gain: f32 = 0, move: f32 = 0;
            for (let b = 0; b < widths; b++) {
              const from = f(values, b * codes + old), to = f(values, b * codes + next);
              const t = f(terms, b), a = f(terms, widths + b);
              gain += a * ((from - t) * (from - t) - (to - t) * (to - t));
              move += a * (to - from) * (to - from);
            }
            if (!(gain > 1e-6 * move)) continue;
            put(code, at, <f32> next);
            moved = true;
            for (let b = 0; b < widths; b++) {
              const change = f(values, b * codes + next) - f(values, b * codes + old);
              if (change == 0) continue;
              const s = f(scale, (b * all + first + r) * perRow + i / groupSize);
              const row = h + (((b * groups + g) * d + i) * d << 2);
              axpy(change * s, row, gradients + ((b * ROWS + r) * d << 2), d);
            }
          }
          if (!moved) break;
        }
      }
    }
  }
}
