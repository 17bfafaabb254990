/**
 * Ranges of activations, observed as a stream in constant memory.
 *
 * A histogram over [−R, R] with R a power of two; when a value lies outside, R doubles and the bins
 * merge in pairs. So counts do not depend on the order of the samples, and histograms of several
 * workers add up.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { ActivationGrid } from "../emit/build.ts";
import { ChannelRanges, type ChannelRangesState } from "./channel_ranges.ts";

/** Bins of a histogram. */
const BINS = 4096;
/** Values of one tensor that go into the histogram, about; the smallest and largest are of all. */
const VALUES = 2 ** 15;

/** Values that go through the kernel at a time: 1 MiB. */
const CHUNK = 2 ** 18;

/** A histogram as it travels between workers. */
export interface RangeState {
  /** log₂ of R. */
  readonly exponent: number;
  /** Values per bin. */
  readonly counts: Float64Array;
  /** The smallest value seen. */
  readonly min: number;
  /** The largest value seen. */
  readonly max: number;
  /** The ranges of channels, where there are any. */
  readonly channels?: ChannelRangesState;
}

/** What is said of a range and decides nothing. */
export interface RangeFacts {
  /** The share of values outside of it. */
  readonly clipped?: number;
  /** The widest channel over the median one; undefined where there are none to compare. */
  readonly spread?: number;
}

/** A growing histogram of finite values. */
export class RangeObserver {
  #exponent = -126;
  #counts = new Float64Array(BINS);
  #min = Infinity;
  #max = -Infinity;
  readonly #channels = new ChannelRanges();
  readonly #kernel: Kernel | undefined;

  /** An observer that looks through values with `kernel`; without one, it only merges. */
  constructor(kernel?: Kernel) {
    this.#kernel = kernel;
  }

  /** Adds `values`, a tensor of the shape `dims`; NaN and infinities are left out. */
  add(values: Float32Array, dims: readonly number[] = []): void {
    this.addWithin(values, this.#range(values), dims);
  }

  /** Adds `values`, whose smallest and largest finite value is known. */
  addWithin(
    values: Float32Array,
    [min, max]: ArrayLike<number> & Iterable<number>,
    dims: readonly number[] = [],
  ): void {
    if (max < min) return;
    this.#min = Math.min(this.#min, min);
    this.#max = Math.max(this.#max, max);
    const reach = Math.max(-min, max);
    if (reach > 0) this.#grow(Math.ceil(Math.log2(reach)));
    const scale = BINS / 2 / 2 ** this.#exponent, counts = this.#counts;
    // An odd stride, so that it does not keep to one channel or column.
    const stride = Math.floor(values.length / VALUES) | 1;
    this.#channels.add(values, dims, stride);
    for (let i = 0; i < values.length; i += stride) {
      const value = values[i];
      const bin = Math.floor(value * scale) + BINS / 2;
      if (bin >= 0 && bin < BINS) counts[bin]++;
      else if (bin === BINS) counts[BINS - 1]++;
    }
  }

  /** The smallest and largest finite value. */
  #range(values: Float32Array): Float32Array {
    const kernel = this.#kernel!, mark = kernel.mark();
    const out = kernel.f32(Float32Array.of(Infinity, -Infinity));
    const x = kernel.f32(Math.min(values.length, CHUNK));
    for (let from = 0; from < values.length; from += CHUNK) {
      const part = values.subarray(from, from + CHUNK);
      x.view.set(part);
      kernel.minmax({ x, n: part.length, out });
    }
    const range = out.view.slice();
    kernel.reset(mark);
    return range;
  }

  /** Adds what another observer saw. */
  merge(state: RangeState): void {
    const other = new RangeObserver();
    other.#exponent = state.exponent;
    other.#counts = state.counts.slice();
    const exponent = Math.max(this.#exponent, state.exponent);
    this.#grow(exponent);
    other.#grow(exponent);
    for (let i = 0; i < BINS; i++) this.#counts[i] += other.#counts[i];
    this.#min = Math.min(this.#min, state.min);
    this.#max = Math.max(this.#max, state.max);
    this.#channels.merge(state.channels);
  }

  /** Whether no finite value was seen. */
  get empty(): boolean {
    return this.#max < this.#min;
  }

  /** What was seen so far. */
  get state(): RangeState {
    const channels = this.#channels.state;
    return {
      exponent: this.#exponent,
      counts: this.#counts,
      min: this.#min,
      max: this.#max,
      ...(channels && { channels }),
    };
  }

  /** Doubles R until it is 2^exponent; each time the bins merge in pairs towards the middle. */
  #grow(exponent: number): void {
    if (exponent <= this.#exponent) return;
    const merge = Math.min(exponent - this.#exponent, 12);
    for (let step = 0; step < merge; step++) {
      const counts = new Float64Array(BINS);
      for (let i = 0; i < BINS; i++) counts[BINS / 4 + (i >> 1)] += this.#counts[i];
      this.#counts = counts;
    }
    this.#exponent = exponent;
  }

  /** The range that `method` finds, and the grid of `bits` over it; zero is always a level. */
  grid(method: RangeMethod, bits: 4 | 8): ActivationGrid & Range {
    const full = { lo: Math.min(this.#min, 0), hi: Math.max(this.#max, 0) };
    if (!(full.hi > full.lo)) return { bits, scale: 1, zeroPoint: 0, lo: 0, hi: 0 };
    const range = method.kind === "minmax"
      ? full
      : method.kind === "percentile"
      ? this.#percentile(full, (method.percentile ?? 99.99) / 100)
      : this.#leastError(full, bits);
    return { ...gridOver(range, bits), ...range };
  }

  /** What is to be said of the range from `lo` to `hi`; bins that it cuts count as inside. */
  facts({ lo, hi }: Range): RangeFacts {
    const width = 2 ** this.#exponent / (BINS / 2), { spread } = this.#channels;
    let all = 0, outside = 0;
    for (let i = 0; i < BINS; i++) {
      const low = (i - BINS / 2) * width;
      all += this.#counts[i];
      if (low + width <= lo || low >= hi) outside += this.#counts[i];
    }
    const clipped = lo <= this.#min && hi >= this.#max ? 0 : outside / all;
    return { ...(all > 0 && { clipped }), ...(spread !== undefined && { spread }) };
  }

  /** Cuts (1 − share) of the values, half from each side, zero staying inside. */
  #percentile({ lo, hi }: Range, share: number): Range {
    const total = this.#counts.reduce((a, b) => a + b, 0);
    const width = 2 ** this.#exponent / (BINS / 2);
    const cut = total * (1 - share) / 2;
    let low = 0, high = BINS - 1;
    for (let sum = this.#counts[0]; sum <= cut && low < BINS - 1;) sum += this.#counts[++low];
    for (let sum = this.#counts[BINS - 1]; sum <= cut && high > 0;) sum += this.#counts[--high];
    return {
      lo: Math.min(0, Math.max(lo, (low - BINS / 2) * width)),
      hi: Math.max(0, Math.min(hi, (high + 1 - BINS / 2) * width)),
    };
  }

  /** Shrinks both ends in turn to the least squared error of the histogram. */
  #leastError(full: Range, bits: 4 | 8): Range {
    let best = full, least = this.#error(full, bits);
    for (let round = 0; round < 2; round++) {
      for (const end of ["lo", "hi"] as const) {
        for (let i = 0; i < 100; i++) {
          const range = { ...best, [end]: full[end] * (1 - i / 100) };
          if (!(range.hi > range.lo)) continue;
          const error = this.#error(range, bits);
          if (error < least) [best, least] = [range, error];
        }
      }
    }
    return best;
  }

  /** Squared error of the grid over a range: clipping outside, step²/12 inside. */
  #error(range: Range, bits: 4 | 8): number {
    const width = 2 ** this.#exponent / (BINS / 2);
    const { scale, zeroPoint } = gridOver(range, bits);
    const low = -zeroPoint * scale, high = (2 ** bits - 1 - zeroPoint) * scale;
    let error = 0;
    for (let i = 0; i < BINS; i++) {
      if (this.#counts[i] === 0) continue;
      const value = (i + 0.5 - BINS / 2) * width;
      const outside = value < low ? low - value : value > high ? value - high : 0;
      error += this.#counts[i] * (outside * outside + scale * scale / 12);
    }
    return error;
  }
}

/** What both of two observers saw. */
export function mergedRanges(first: RangeState | undefined, second: RangeState): RangeState {
  const observer = new RangeObserver();
  if (first) observer.merge(first);
  observer.merge(second);
  return observer.state;
}

interface Range {
  /** The smallest value. */
  readonly lo: number;
  /** The largest value. */
  readonly hi: number;
}

/** The grid of `bits` over [lo, hi] with zero as a level; the scale is a float32. */
function gridOver({ lo, hi }: Range, bits: 4 | 8): ActivationGrid {
  const most = 2 ** bits - 1;
  const scale = Math.fround(Math.max((hi - lo) / most, 1e-30));
  return { bits, scale, zeroPoint: Math.min(most, Math.max(0, Math.round(-lo / scale))) };
}
