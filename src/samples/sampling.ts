/**
 * Which samples to take: a seeded choice without replacement, the same on every engine.
 *
 * @module
 */

/**
 * Chooses `limit` of `count` positions, ascending: one at random from each of `limit` equal
 * stretches, so that the choice is spread evenly (over classes, where they lie one after another).
 * All positions if `limit` is not smaller than `count`.
 *
 * The choice is a pure function of the arguments.
 *
 * @example
 * ```ts
 * import { chooseSpread } from "./sampling.ts";
 *
 * const chosen = chooseSpread(1000, 10, 7);
 * if (chosen.length !== 10 || chosen[9] < 900) throw new Error("not spread");
 * ```
 */
export function chooseSpread(count: number, limit: number, seed: number): number[] {
  const size = Math.min(count, limit);
  return Array.from({ length: size }, (_, i) => {
    const start = Math.floor(i * count / size);
    const end = Math.floor((i + 1) * count / size);
    return start + hash32(seed, i) % (end - start);
  });
}

/** 32 random bits for element `index` of the stream `seed`: the finalizer of MurmurHash3, twice. */
export function hash32(seed: number, index: number): number {
  return finalize(finalize(seed ^ 0x9e3779b9) + index);
}

function finalize(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
