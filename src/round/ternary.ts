/**
 * Scales of ternary weights, in closed form.
 *
 * For a scale s, the best level of w is its sign where |w| > s/2, else 0: whatever the scale, the
 * weights that are kept are the largest ones. Of the k largest, Σ h (s·q − w)² is least at s = Σ
 * h|w| / Σ h, and is less than Σ h w² by (Σ h|w|)² / Σ h. So one pass over the sorted weights finds
 * the best k. (Ternary weight networks, arXiv 1605.04711, take 0.7 · mean |w| as the threshold.)
 *
 * @module
 */

import { scalesPerRow } from "../kernel/arguments.ts";
import type { ScaleSearch } from "./search.ts";

/**
 * The scale of least weighted squared error of `weights` on the grid {−1, 0, 1}; 1 where all are 0.
 * Exact: among equal weights the first come first, and sums are float64.
 *
 * @param importance What each squared error is weighted by, as many as there are weights.
 *
 * @example
 * ```ts
 * import { ternaryScale } from "./ternary.ts";
 *
 * const scale = ternaryScale(Float32Array.of(2, -4, 0.5, 0), Float32Array.of(1, 1, 1, 1));
 * if (scale !== 3) throw new Error("unexpected");
 * ```
 */
export function ternaryScale(weights: Float32Array, importance: Float32Array): number {
  const sorted = byMagnitude(weights);
  let above = 0, below = 0, most = 0, best = 1;
  for (let i = sorted.length - 1; i >= 0; i--) {
    const j = sorted[i];
    above += importance[j] * Math.abs(weights[j]);
    below += importance[j];
    const gain = above * above / below;
    if (gain > most) [most, best] = [gain, above / below];
  }
  return best;
}

/**
 * Writes the {@linkcode ternaryScale} of every row and block into `scale`, (groups·rows) × ⌈d /
 * block⌉.
 */
export function ternaryScales(
  { target, importance, rows, groups, d, groupSize, scale }: ScaleSearch,
): void {
  const perRow = scalesPerRow(d, groupSize);
  const weights = target.view, weighting = importance.view, scales = scale.view;
  for (let row = 0; row < groups * rows; row++) {
    const group = Math.floor(row / rows) * d;
    for (let b = 0; b < perRow; b++) {
      const from = b * groupSize, to = Math.min(d, from + groupSize);
      scales[row * perRow + b] = ternaryScale(
        weights.subarray(row * d + from, row * d + to),
        weighting.subarray(group + from, group + to),
      );
    }
  }
}

/**
 * The indices of `weights` from the smallest magnitude to the largest, those of equal ones falling.
 */
function byMagnitude(weights: Float32Array): Uint32Array {
  // The bits of a positive float32 are in its order; the index below them makes every key unique.
  const keys = new BigUint64Array(weights.length), halves = new Uint32Array(keys.buffer);
  const bits = new Uint32Array(weights.map(Math.abs).buffer);
  for (let j = 0; j < bits.length; j++) {
    halves[2 * j] = ~j;
    halves[2 * j + 1] = bits[j];
  }
  keys.sort();
  return Uint32Array.from(bits, (_, i) => ~halves[2 * i]);
}
