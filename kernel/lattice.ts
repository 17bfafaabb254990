// Rounding a row under H is a closest-vector problem: minimise (ŵ − w) H (ŵ − w)ᵀ over ŵ = s∘q.
// With H = UᵀU the loss is Σ_i U_ii² (s_i q_i − c_i)², where c_i = w_i − Σ_{j>i} U_ij/U_ii (ŵ_j −
// w_j): decided from the last input to the first, each input sees the errors of those before it and
// makes up for them. Taking the nearest level each time is Babai's nearest plane (GPTQ, in another
// order); Attention Round draws the level from a Gaussian around c_i and keeps the best of many
// candidates.

import { scalesPerRow } from "./scale_groups";
import { micro, pack } from "./gemm";
import { normal4, streamKey } from "./gaussian";
import { level } from "./levels";
import { accumulate, f, KC, madd, packedA, put, WIDTH } from "./memory";

/** Inputs that are decided between two matrix products. */
const BLOCK: i32 = 16;
/** Lanes of d errors that are worked on at a time: d × 144 floats fit into L2. */
const LANES: i32 = 144;
/** After each further quarter of the inputs, half of a row's candidates are given up. */
const QUARTERS: i32 = 4;

/** Panels of WIDTH lanes that hold as many rows times candidates. */
function panelsOf(lanes: i32): i32 {
  return (lanes + WIDTH - 1) / WIDTH;
}

/**
 * Rows that are rounded together. Errors of the inputs decided so far take d/4 floats of each
 * candidate, then d/2 of each of half of them, and so on: never more than K/4 · d, or d.
 */
function rowsAtOnce(candidates: i32): i32 {
  return max(1, LANES / max(1, (candidates + 3) / 4));
}

/**
 * Candidates of a row that are left once `quarters` quarters of the inputs are decided: 0 and
 * others.
 */
function survivors(candidates: i32, quarters: i32): i32 {
  return max(min(2, candidates), (candidates + (1 << quarters) - 1) >> quarters);
}

/** Bytes of working memory that `sequential` needs. */
export function sequentialBytes(d: i32, candidates: i32): i32 {
  const lanes = panelsOf(rowsAtOnce(candidates) * candidates) * WIDTH;
  return ((d + BLOCK + 5) * lanes + (BLOCK + 1) * WIDTH) << 2;
}

/**
 * Rounds each row by `candidates` passes and keeps the best; ties go to the lowest candidate.
 *
 * What the decided inputs cost is a term of the loss that no later choice changes, and what the
 * rest will cost is much the same for all candidates. So half of them are given up after each
 * quarter of the inputs, of which the first are the cheap ones: 16 candidates cost four to five
 * times one, not 16 times (bench/kernel.ts). Candidate 0 always stays: the result is never worse
 * than its own.
 *
 * Candidate k draws with spread taus[k] · spread[g][i] steps around the conditional target; a
 * spread of 0 takes the nearest level. Candidate k of row r draws from stream + r, so rows can be
 * split.
 */
export function sequential(
  target: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
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
  const perRow = scalesPerRow(d, groupSize);
  const step = rowsAtOnce(candidates);
  for (let g = 0; g < groups; g++) {
    for (let r = 0; r < rows; r += step) {
      const first = g * rows + r;
      tileOfRows(
        target + ((first * d) << 2),
        scale + ((first * perRow) << 2),
        perRow,
        groupSize,
        lo + (first << 2),
        span,
        u + ((g * d * d) << 2),
        spread + ((g * d) << 2),
        taus,
        candidates,
        seed,
        stream + first,
        min(step, rows - r),
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
  perRow: i32,
  groupSize: i32,
  lo: usize,
  span: f32,
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
  let panels = panelsOf(rows * candidates), alive = candidates, quarters = 0;
  const lanes = panels * WIDTH;
  // ŵ − w as panels of d × 12, which the micro-kernel reads as they are.
  const errors = work, panelBytes = (d * WIDTH) << 2;
  const pulls = errors + panels * panelBytes; // panels of 16 × 12: Σ_j U_ij (ŵ_j − w_j)
  const pullBytes = (BLOCK * WIDTH) << 2;
  const steps = pulls + panels * pullBytes; // 16 × 12, of one panel: s_i
  const lows = steps + pullBytes; // 12, of one panel: lo
  const keys = lows + (WIDTH << 2); // lanes: of their streams
  const counters = keys + (lanes << 2); // lanes: k
  const sigmas = counters + (lanes << 2); // lanes: taus[k]
  const losses = sigmas + (lanes << 2); // lanes
  const ranks = losses + (lanes << 2); // lanes
  memory.fill(keys, 0, lanes << 4);
  for (let lane = 0; lane < rows * candidates; lane++) {
    const k = lane % candidates;
    store<u32>(keys + (lane << 2), streamKey(seed, stream + lane / candidates));
    store<u32>(counters + (lane << 2), k);
    put(sigmas, lane, f(taus, k));
  }

  for (let end = d; end > 0; end -= BLOCK) {
    const start = max(0, end - BLOCK), height = end - start;
    while ((quarters + 1) * d <= QUARTERS * (d - end)) {
      const fewer = survivors(candidates, ++quarters);
      if (fewer == alive) continue;
      keepBest(rows, alive, fewer, errors, end, d, keys, counters, sigmas, losses, ranks);
      alive = fewer;
      panels = panelsOf(rows * alive);
    }
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
        const r = min(rows - 1, (panel * WIDTH + l) / alive);
        const row = target + ((r * d) << 2), rowScale = scale + ((r * perRow) << 2);
        spreadOut(row, rowScale, groupSize, start, end, at, steps, l);
        put(lows, l, f(lo, r));
      }
      decide(
        at,
        pulls + panel * pullBytes,
        steps,
        u,
        spread,
        lows,
        span,
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
    let best = r * alive;
    for (let k = 1; k < alive; k++) {
      if (f(losses, r * alive + k) < f(losses, best)) best = r * alive + k;
    }
    put(loss, r, f(losses, best));
    const lane = laneOf(errors, best, d), least = f(lo, r), most = least + span;
    for (let i = 0; i < d; i++) {
      const value = f(lane, i * WIDTH) + f(target, r * d + i);
      put(q, r * d + i, level(value / f(scale, r * perRow + i / groupSize), least, most));
    }
  }
}

/** The first error of a lane; the next ones are WIDTH floats apart. */
// @ts-ignore: decorator
@inline
function laneOf(errors: usize, lane: i32, d: i32): usize {
  return errors + ((lane / WIDTH * d * WIDTH + lane % WIDTH) << 2);
}

/**
 * Of the `from` candidates of each row, keeps the `to` with the lowest losses so far, and candidate
 * 0, in their order; ties go to the lowest. Their lanes move together: errors of inputs end … d −
 * 1, keys, counters, sigmas and losses.
 */
function keepBest(
  rows: i32,
  from: i32,
  to: i32,
  errors: usize,
  end: i32,
  d: i32,
  keys: usize,
  counters: usize,
  sigmas: usize,
  losses: usize,
  ranks: usize,
): void {
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < from; k++) {
      store<i32>(ranks + ((r * from + k) << 2), rank(losses + ((r * from) << 2), k, from));
    }
  }
  // A lane never moves up, so none is overwritten that is still to move.
  for (let r = 0, lane = 0; r < rows; r++) {
    const limit = load<i32>(ranks + ((r * from) << 2)) < to ? to : to - 1;
    for (let k = 0; k < from && lane < (r + 1) * to; k++) {
      const old = r * from + k;
      if (k > 0 && load<i32>(ranks + (old << 2)) >= limit) continue;
      const source = laneOf(errors, old, d), place = laneOf(errors, lane, d);
      for (let i = end * WIDTH; i < d * WIDTH; i += WIDTH) put(place, i, f(source, i));
      put(losses, lane, f(losses, old));
      put(sigmas, lane, f(sigmas, old));
      store<u32>(keys + (lane << 2), load<u32>(keys + (old << 2)));
      store<u32>(counters + (lane << 2), load<u32>(counters + (old << 2)));
      lane++;
    }
  }
}

/** How many of the losses come before loss k. */
function rank(losses: usize, k: i32, count: i32): i32 {
  const value = f(losses, k);
  let before = 0;
  for (let j = 0; j < count; j++) {
    const other = f(losses, j);
    before += i32(other < value || (other == value && j < k));
  }
  return before;
}

/** Copies w and s of inputs start … end − 1 of a row into lane `lane` of a panel and of `steps`. */
function spreadOut(
  target: usize,
  scale: usize,
  groupSize: i32,
  start: i32,
  end: i32,
  panel: usize,
  steps: usize,
  lane: i32,
): void {
  let b = start / groupSize, next = (b + 1) * groupSize, s = f(scale, b);
  for (let i = start; i < end; i++) {
    if (i == next) {
      s = f(scale, ++b);
      next += groupSize;
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
  lo: usize,
  span: f32,
  start: i32,
  end: i32,
  d: i32,
  keys: usize,
  counters: usize,
  sigmas: usize,
  losses: usize,
): void {
  const range = f32x4.splat(span);
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
      a0 = accumulate(a0, x, v128.load(error));
      a1 = accumulate(a1, x, v128.load(error, 16));
      a2 = accumulate(a2, x, v128.load(error, 32));
      b0 = accumulate(b0, y, v128.load(error, 48));
      b1 = accumulate(b1, y, v128.load(error, 64));
      b2 = accumulate(b2, y, v128.load(error, 80));
    }
    if (j < end) {
      const x = v128.load_splat<f32>(row + (j << 2)), error = panel + ((j * WIDTH) << 2);
      a0 = accumulate(a0, x, v128.load(error));
      a1 = accumulate(a1, x, v128.load(error, 16));
      a2 = accumulate(a2, x, v128.load(error, 32));
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
      const low = v128.load(lo + four), high = f32x4.add(low, range);
      const value = f32x4.mul(f32x4.pmax(low, f32x4.pmin(high, f32x4.nearest(t))), s);
      const off = f32x4.sub(value, c);
      const change = f32x4.mul(price, f32x4.mul(off, off));
      v128.store(at + four, f32x4.sub(value, w));
      v128.store(losses + four, f32x4.add(v128.load(losses + four), change));
    }
  }
}
