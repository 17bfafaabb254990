// Levels of weights, each without regard to the others.

import { scalesPerRow } from "./scale_groups";
import { philox, streamKey, uniform } from "./gaussian";
import { f, put } from "./memory";

/** The whole number nearest to t, half to even, within [lo, hi]. */
// @ts-ignore: decorator
@inline
export function level(t: f32, lo: f32, hi: f32): f32 {
  return max<f32>(lo, min<f32>(hi, nearest<f32>(t)));
}

/** The nearest level of every weight; those of row r are lo[r] … lo[r] + span. */
export function nearestLevels(
  target: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  q: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let row = 0; row < rows; row++) {
    const least = f(lo, row), most = least + span;
    for (let j = 0; j < d; j++) {
      const at = row * d + j;
      put(q, at, level(f(target, at) / f(scale, row * perRow + j / groupSize), least, most));
    }
  }
}

/** The level below or above, up with the probability of the fraction. */
export function stochasticLevels(
  target: usize,
  scale: usize,
  groupSize: i32,
  lo: usize,
  span: f32,
  rows: i32,
  d: i32,
  seed: u32,
  stream: u32,
  q: usize,
): void {
  const perRow = scalesPerRow(d, groupSize);
  for (let row = 0; row < rows; row++) {
    const key = streamKey(seed, stream + row), least = f(lo, row), most = least + span;
    for (let j = 0; j < d; j++) {
      const at = row * d + j;
      const t = f(target, at) / f(scale, row * perRow + j / groupSize);
      const down = floor<f32>(t), up = uniform(philox(j, 0, key)) < <f64> (t - down);
      put(q, at, max<f32>(least, min<f32>(most, up ? down + 1 : down)));
    }
  }
}
