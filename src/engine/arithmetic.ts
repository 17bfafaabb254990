/**
 * Arithmetic on whole tensors in a worker.
 *
 * @module
 */

import { hash32 } from "../samples/sampling.ts";
import type { Batch } from "./spool.ts";

/** Adds the squared errors of `computed`, and the squares of what was `expected`, to `sums`. */
export function addErrors(
  sums: { error: number; power: number },
  computed: Float32Array,
  expected: Float32Array,
): void {
  for (let i = 0; i < expected.length; i++) {
    sums.error += (computed[i] - expected[i]) ** 2;
    sums.power += expected[i] ** 2;
  }
}

/** Replaces about half of the float32 values in `into` by those of `from`, by chance (QDrop). */
export function mix(into: Batch, from: Batch, seed: number): void {
  let state = hash32(seed, 1) | 1;
  for (const [name, { type, data }] of Object.entries(into)) {
    if (type !== "float32") continue;
    const values = data as Float32Array, others = from[name].data as Float32Array;
    for (let i = 0; i < values.length; i++) {
      // A bit of xorshift32 (Marsaglia 2003).
      if ((i & 31) === 0) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
      }
      if ((state >>> (i & 31)) & 1) values[i] = others[i];
    }
  }
}

/** Adds the sum of each row of `width` values to `sums`. */
export function addRowSums(matrix: Float32Array, width: number, sums: Float32Array): void {
  for (let row = 0, at = 0; row < sums.length; row++) {
    let sum = 0;
    for (let j = 0; j < width; j++) sum += matrix[at++];
    sums[row] += sum;
  }
}
