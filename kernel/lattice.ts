// Rounding a row under H is a closest-vector problem: minimise (ŵ − w) H (ŵ − w)ᵀ over ŵ = s∘q.
// With H = UᵀU the loss is Σ_i U_ii² (s_i q_i − c_i)², where c_i = w_i − Σ_{j>i} U_ij/U_ii (ŵ_j − w_j):
// decided from the last input to the first, each input sees the errors of those before it and makes
// up for them. Taking the nearest level each time is Babai's nearest plane (GPTQ, in another order);
// Attention Round draws the level from a Gaussian around c_i and keeps the best of many candidates.

import { axpy, dot64, product } from "./gemm";
import { normal, streamKey } from "./gaussian";
import { f, put } from "./memory";
import { level } from "./scale";

/** Inputs that are decided between two matrix products. */
const BLOCK: i32 = 32;
/** Rows times candidates that are worked on at a time: an error matrix of d × 256 floats. */
const LANES: i32 = 256;

/** Bytes of working memory that `sequential` needs, padding included. */
export function sequentialBytes(d: i32, candidates: i32): i32 {
  const lanes = max(LANES, candidates + 3);
  return ((d + BLOCK + 5) * lanes) << 2;
}

/**
 * Rounds each row by `candidates` passes and keeps the best; ties go to the lowest candidate.
 *
 * Candidate k draws with spread taus[k] · spread[g][i] steps around the conditional target; a spread
 * of 0 takes the nearest level. Candidate k of row r draws from stream + r, so rows can be split.
 */
export function sequential(
  target: usize,
  scale: usize,
  block: i32,
  lo: f32,
  hi: f32,
  u: usize,
  spread: usize,
  taus: usize,
  candidates: i32,
  seed: u32,
  stream: u32,
  rows: i32,
  groups: i32,
  d: i32,
  q: usize,
  loss: usize,
  work: usize,
): void {
  const blocks = (d + block - 1) / block;
  const rowsAtOnce = max(1, LANES / candidates);
  for (let g = 0; g < groups; g++) {
    for (let r = 0; r < rows; r += rowsAtOnce) {
      const first = g * rows + r;
      tileOfRows(
        target + ((first * d) << 2),
        scale + ((first * blocks) << 2),
        blocks,
        block,
        lo,
        hi,
        u + ((g * d * d) << 2),
        spread + ((g * d) << 2),
        taus,
        candidates,
        seed,
        stream + first,
        min(rowsAtOnce, rows - r),
        d,
        q + ((first * d) << 2),
        loss + (first << 2),
        work,
      );
    }
  }
}

/** `sequential` for the rows that fit into the lanes: lane r·K + k is candidate k of row r. */
function tileOfRows(
  target: usize,
  scale: usize,
  blocks: i32,
  block: i32,
  lo: f32,
  hi: f32,
  u: usize,
  spread: usize,
  taus: usize,
  candidates: i32,
  seed: u32,
  stream: u32,
  rows: i32,
  d: i32,
  q: usize,
  loss: usize,
  work: usize,
): void {
  const lanes = (rows * candidates + 3) & ~3;
  const errors = work; // d × lanes: ŵ − w
  const pull = errors + ((d * lanes) << 2); // BLOCK × lanes: Σ_j U_ij (ŵ_j − w_j)
  const wanted = pull + ((BLOCK * lanes) << 2); // lanes: w_i
  const steps = wanted + (lanes << 2); // lanes: s_i
  const noise = steps + (lanes << 2); // lanes: σ_i z
  const losses = noise + (lanes << 2); // lanes
  const keys = losses + (lanes << 2); // rows: of their streams
  memory.fill(wanted, 0, lanes << 4);
  for (let r = 0; r < rows; r++) store<u32>(keys + (r << 2), streamKey(seed, stream + r));
  for (let lane = 0; lane < lanes; lane++) put(steps, lane, 1);
  const low = f32x4.splat(lo), high = f32x4.splat(hi);

  for (let end = d; end > 0; end -= BLOCK) {
    const start = max(0, end - BLOCK), height = end - start;
    memory.fill(pull, 0, (height * lanes) << 2);
    const right = u + ((start * d + end) << 2), known = errors + ((end * lanes) << 2);
    product(height, lanes, d - end, 1, right, d, 1, known, lanes, 1, pull, lanes, false);
    for (let i = end - 1; i >= start; i--) {
      const pivot = f(u, i * d + i);
      const reach = f(spread, i);
      for (let r = 0; r < rows; r++) {
        const w = f(target, r * d + i), s = f(scale, r * blocks + i / block);
        for (let k = 0; k < candidates; k++) {
          put(wanted, r * candidates + k, w);
          put(steps, r * candidates + k, s);
        }
      }
      for (let k = 0; k < candidates; k++) {
        const sigma = f(taus, k) * reach;
        for (let r = 0; r < rows; r++) {
          // Without a spread there is nothing to draw.
          const z = sigma == 0 ? 0 : normal(load<u32>(keys + (r << 2)), k, i);
          put(noise, r * candidates + k, sigma * <f32> z);
        }
      }
      const inverse = f32x4.splat(1 / pivot), price = f32x4.splat(pivot * pivot);
      const pulls = pull + (((i - start) * lanes) << 2), error = errors + ((i * lanes) << 2);
      for (let lane = 0; lane < lanes << 2; lane += 16) {
        const w = v128.load(wanted + lane), s = v128.load(steps + lane);
        const c = f32x4.sub(w, f32x4.mul(v128.load(pulls + lane), inverse));
        const t = f32x4.add(f32x4.div(c, s), v128.load(noise + lane));
        const level = f32x4.pmax(low, f32x4.pmin(high, f32x4.nearest(t)));
        const value = f32x4.mul(level, s);
        v128.store(error + lane, f32x4.sub(value, w));
        const off = f32x4.sub(value, c);
        const sum = v128.load(losses + lane);
        v128.store(losses + lane, f32x4.add(sum, f32x4.mul(price, f32x4.mul(off, off))));
      }
      for (let above = start; above < i; above++) {
        axpy(f(u, above * d + i), error, pull + (((above - start) * lanes) << 2), lanes);
      }
    }
  }

  for (let r = 0; r < rows; r++) {
    let best = r * candidates;
    for (let k = 1; k < candidates; k++) {
      if (f(losses, r * candidates + k) < f(losses, best)) best = r * candidates + k;
    }
    put(loss, r, f(losses, best));
    for (let i = 0; i < d; i++) {
      const value = f(errors, i * lanes + best) + f(target, r * d + i);
      put(q, r * d + i, level(value / f(scale, r * blocks + i / block), lo, hi));
    }
  }
}

/** errors = s∘q − w for `rows` rows. */
function errorsOf(
  q: usize,
  target: usize,
  scale: usize,
  block: i32,
  rows: i32,
  d: i32,
  errors: usize,
): void {
  const blocks = (d + block - 1) / block;
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < d; j++) {
      const at = r * d + j;
      put(errors, at, f(scale, r * blocks + j / block) * f(q, at) - f(target, at));
    }
  }
}

/** Rows whose gradients are made by one product. */
const ROWS: i32 = 32;

/** Bytes of working memory that `polish` and `losses` need. */
export function polishBytes(d: i32): i32 {
  return (2 * ROWS * d) << 2;
}

/**
 * Coordinate descent: each weight in turn moves to its best level given all others, until no weight
 * moves or after `sweeps` sweeps. No step raises the loss. With sweeps = 0 it only writes the losses.
 */
export function polish(
  q: usize,
  target: usize,
  scale: usize,
  block: i32,
  lo: f32,
  hi: f32,
  h: usize,
  rows: i32,
  groups: i32,
  d: i32,
  sweeps: i32,
  loss: usize,
  work: usize,
): void {
  const blocks = (d + block - 1) / block;
  const errors = work, gradients = work + ((ROWS * d) << 2);
  for (let g = 0; g < groups; g++) {
    const gram = h + ((g * d * d) << 2);
    for (let r0 = 0; r0 < rows; r0 += ROWS) {
      const count = min(ROWS, rows - r0), first = g * rows + r0;
      const levels = q + ((first * d) << 2), wanted = target + ((first * d) << 2);
      const steps = scale + ((first * blocks) << 2);
      errorsOf(levels, wanted, steps, block, count, d, errors);
      memory.fill(gradients, 0, (count * d) << 2);
      product(count, d, d, 1, errors, d, 1, gram, d, 1, gradients, d, false);
      for (let r = 0; r < count; r++) {
        const row = (r * d) << 2, gradient = gradients + row;
        const step = steps + ((r * blocks) << 2);
        for (let sweep = 0; sweep < sweeps; sweep++) {
          if (!descend(levels + row, step, block, lo, hi, gram, d, gradient)) break;
        }
        if (sweeps > 0) {
          // Afresh, since small errors add up over the updates.
          errorsOf(levels + row, wanted + row, step, block, 1, d, errors + row);
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
  block: i32,
  lo: f32,
  hi: f32,
  h: usize,
  d: i32,
  gradient: usize,
): bool {
  let moved = false;
  for (let i = 0; i < d; i++) {
    const s = f(scale, i / block), curvature = f(h, i * d + i), slope = f(gradient, i);
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
