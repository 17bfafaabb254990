/**
 * 95 % intervals.
 *
 * @module
 */

/** A 95 % interval. */
export type Interval = readonly [low: number, high: number];

/** The quantile of the normal distribution that leaves 2.5 % above it. */
const Z = 1.959964;

/**
 * The interval of a share, `count` of `samples`, in percent (Wilson 1927). Unlike a bootstrap it
 * says of 15 of 15 that it may be less.
 *
 * @example
 * ```ts
 * import { wilson } from "./interval.ts";
 *
 * const [low, high] = wilson(15, 15);
 * if (Math.abs(low - 79.6) > 0.1 || high !== 100) throw new Error("unexpected");
 * ```
 */
export function wilson(count: number, samples: number): Interval {
  const p = count / samples, z2 = Z * Z / samples;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = Z / (1 + z2) * Math.sqrt(p * (1 - p) / samples + z2 / (4 * samples));
  return [100 * Math.max(0, centre - half), count === samples ? 100 : 100 * (centre + half)];
}

/** Resamples of the bootstrap. */
const RESAMPLES = 2000;

/**
 * The intervals of figures by bootstrap: `figures` of 2,000 draws of `samples` samples with
 * replacement, of each what `draw` picks as the i-th.
 */
export function bootstrap<T>(
  samples: number,
  figures: (draw: () => number) => T,
  seed: number,
): (value: (figures: T) => number) => Interval {
  const random = generator(seed), draw = () => Math.floor(random() * samples);
  const draws = Array.from({ length: RESAMPLES }, () => figures(draw));
  return (value) => {
    const sorted = Float64Array.from(draws, value).sort(), tail = Math.floor(RESAMPLES * 0.025);
    return [sorted[tail], sorted[RESAMPLES - 1 - tail]];
  };
}

/** Numbers from 0 to 1, the same on every engine: SplitMix32 (Steele, Lea, Flood 2014). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}
