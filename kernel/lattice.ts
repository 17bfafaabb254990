// Rounding a row under H is a closest-vector problem: minimise (ŵ − w) H (ŵ − w)ᵀ over ŵ = s∘q.
// With H = UᵀU the loss is Σ_i U_ii² (s_i q_i − c_i)², where c_i = w_i − Σ_{j>i} U_ij/U_ii (ŵ_j − w_j):
// decided from the last input to the first, each input sees the errors of those before it and makes
// up for them. Taking the nearest level each time is Babai's nearest plane (GPTQ, in another order);
// Attention Round draws the level from a Gaussian around c_i and keeps the best of many candidates.

import { micro, pack, product } from "./gemm";
import { normal4, streamKey } from "./gaussian";
import { f, KC, madd, packedA, put, WIDTH } from "./memory";
import { level } from "./scale";
import { axpy, dot64 } from "./vector";

/** Inputs that are decided between two matrix products. */
const BLOCK: i32 = 16;
/** Lanes that are worked on at a time: an error matrix of d × 144 floats, which fits into L2. */
const LANES: i32 = 144;

/** Panels of WIDTH lanes that hold as many rows times candidates. */
function panelsOf(lanes: i32): i32 {
  return (lanes + WIDTH - 1) / WIDTH;
}

/** Bytes of working memory that `sequential` needs. */
export function sequentialBytes(d: i32, candidates: i32): i32 {
  const lanes = panelsOf(max(LANES, candidates)) * WIDTH;
  return ((d + BLOCK + 4) * lanes + BLOCK * WIDTH) << 2;
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
  const panels = panelsOf(rows * candidates), lanes = panels * WIDTH;
  // ŵ − w as panels of d × 12, which the micro-kernel reads as they are.
  const errors = work, panelBytes: usize = (d * WIDTH) << 2;
  const pulls = errors + panels * panelBytes; // panels of 16 × 12: Σ_j U_ij (ŵ_j − w_j)
  const pullBytes: usize = (BLOCK * WIDTH) << 2;
  const steps = pulls + panels * pullBytes; // 16 × 12, of one panel: s_i
  const keys = steps + pullBytes; // lanes: of their streams
  const counters = keys + (lanes << 2); // lanes: k
  const sigmas = counters + (lanes << 2); // lanes: taus[k]
  const losses = sigmas + (lanes << 2); // lanes
  memory.fill(keys, 0, lanes << 4);
  for (let lane = 0; lane < rows * candidates; lane++) {
    const k = lane % candidates;
    store<u32>(keys + (lane << 2), streamKey(seed, stream + lane / candidates));
    store<u32>(counters + (lane << 2), k);
    put(sigmas, lane, f(taus, k));
  }

  for (let end = d; end > 0; end -= BLOCK) {
    const start = max(0, end - BLOCK), height = end - start;
    memory.fill(pulls, 0, panels * pullBytes);
    for (let p = end; p < d; p += KC) {
      const depth = min(KC, d - p);
      pack(u + ((start * d + p) << 2), d, 1, height, depth, 4, packedA);
      for (let panel = 0; panel < panels; panel++) {
        const known = errors + panel * panelBytes + ((p * WIDTH) << 2);
        for (let i = 0; i < height; i += 4) {
          const to = pulls + panel * pullBytes + ((i * WIDTH) << 2);
          micro(packedA + ((i * depth) << 2), known, depth, f32x4.splat(1), to, WIDTH << 2);
        }
      }
    }
    for (let panel = 0; panel < panels; panel++) {
      const at = errors + panel * panelBytes, lane = (panel * WIDTH) << 2;
      for (let l = 0; l < WIDTH; l++) {
        // Lanes behind the last one repeat its row.
        const r = min(rows - 1, (panel * WIDTH + l) / candidates);
        spreadOut(target + ((r * d) << 2), scale + ((r * blocks) << 2), block, start, end, at, steps, l);
      }
      decide(
        at,
        pulls + panel * pullBytes,
        steps,
        u,
        spread,
        lo,
        hi,
        start,
        end,
        d,
        keys + lane,
        counters + lane,
        sigmas + lane,
        losses + lane,
      );
    }
  }

  for (let r = 0; r < rows; r++) {
    let best = r * candidates;
    for (let k = 1; k < candidates; k++) {
      if (f(losses, r * candidates + k) < f(losses, best)) best = r * candidates + k;
    }
    put(loss, r, f(losses, best));
    const lane = errors + (best / WIDTH) * panelBytes + ((best % WIDTH) << 2);
    for (let i = 0; i < d; i++) {
      const value = f(lane, i * WIDTH) + f(target, r * d + i);
      put(q, r * d + i, level(value / f(scale, r * blocks + i / block), lo, hi));
    }
  }
}

/** Copies w and s of inputs start … end − 1 of a row into lane `lane` of a panel and of `steps`. */
function spreadOut(
  target: usize,
  scale: usize,
  block: i32,
  start: i32,
  end: i32,
  panel: usize,
  steps: usize,
  lane: i32,
): void {
  let b = start / block, next = (b + 1) * block, s = f(scale, b);
  for (let i = start; i < end; i++) {
    if (i == next) {
      s = f(scale, ++b);
      next += block;
    }
    put(panel, i * WIDTH + lane, f(target, i));
    put(steps, (i - start) * WIDTH + lane, s);
  }
}

/**
 * Decides inputs end − 1 … start of one panel, where w lies; ŵ − w takes its place.
 * What the inputs from `end` on pull is known; within the block it is summed here.
 */
function decide(
  panel: usize,
  pulls: usize,
  steps: usize,
  u: usize,
  spread: usize,
  lo: f32,
  hi: f32,
  start: i32,
  end: i32,
  d: i32,
  keys: usize,
  counters: usize,
  sigmas: usize,
  losses: usize,
): void {
  const low = f32x4.splat(lo), high = f32x4.splat(hi);
  const draws = v128.any_true(
    v128.or(v128.or(v128.load(sigmas), v128.load(sigmas, 16)), v128.load(sigmas, 32)),
  );
  for (let i = end - 1; i >= start; i--) {
    const row = u + ((i * d) << 2), at = panel + ((i * WIDTH) << 2);
    const step = steps + (((i - start) * WIDTH) << 2), pull = pulls + (((i - start) * WIDTH) << 2);
    // Two sums in turn, as an addition takes longer than its turn.
    let a0 = v128.load(pull), a1 = v128.load(pull, 16), a2 = v128.load(pull, 32);
    let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0);
    let j = i + 1;
    for (; j + 1 < end; j += 2) {
      const x = v128.load_splat<f32>(row + (j << 2)), y = v128.load_splat<f32>(row + (j << 2), 4);
      const error = panel + ((j * WIDTH) << 2);
      a0 = madd(a0, x, v128.load(error));
      a1 = madd(a1, x, v128.load(error, 16));
      a2 = madd(a2, x, v128.load(error, 32));
      b0 = madd(b0, y, v128.load(error, 48));
      b1 = madd(b1, y, v128.load(error, 64));
      b2 = madd(b2, y, v128.load(error, 80));
    }
    if (j < end) {
      const x = v128.load_splat<f32>(row + (j << 2)), error = panel + ((j * WIDTH) << 2);
      a0 = madd(a0, x, v128.load(error));
      a1 = madd(a1, x, v128.load(error, 16));
      a2 = madd(a2, x, v128.load(error, 32));
    }
    v128.store(pull, f32x4.add(a0, b0));
    v128.store(pull, f32x4.add(a1, b1), 16);
    v128.store(pull, f32x4.add(a2, b2), 32);
    const pivot = f(row, i), inverse = f32x4.splat(1 / pivot), price = f32x4.splat(pivot * pivot);
    const reach = f(spread, i), noisy = draws && reach != 0;
    for (let four: usize = 0; four < <usize> (WIDTH << 2); four += 16) {
      const w = v128.load(at + four), s = v128.load(step + four);
      const c = f32x4.sub(w, f32x4.mul(v128.load(pull + four), inverse));
      let t = f32x4.div(c, s);
      if (noisy) {
        const z = normal4(v128.load(keys + four), v128.load(counters + four), i32x4.splat(i));
        const sigma = f32x4.mul(v128.load(sigmas + four), f32x4.splat(reach));
        t = madd(t, sigma, z);
      }
      const value = f32x4.mul(f32x4.pmax(low, f32x4.pmin(high, f32x4.nearest(t))), s);
      const off = f32x4.sub(value, c);
      const change = f32x4.mul(price, f32x4.mul(off, off));
      v128.store(at + four, f32x4.sub(value, w));
      v128.store(losses + four, f32x4.add(v128.load(losses + four), change));
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

/** Rows whose gradients are made by one product, for which H is packed anew. */
const ROWS: i32 = 128;

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
