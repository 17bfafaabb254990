/**
 * What one pass of a model tells of its tensors: the range of each, and the moments of its
 * channels.
 *
 * @module
 */

import type { Kernel } from "../kernel/kernel.ts";
import { sizeOf } from "../onnx/tensor.ts";
import type { Value } from "../runtime/session.ts";
import { RangeObserver, type RangeState } from "./range.ts";

/** A tensor of which something is wanted. */
export interface SurveyedTensor {
  /** Its name. */
  readonly name: string;
  /** Whether its range is wanted. */
  readonly range?: boolean;
  /**
   * The axis, from the last if negative, whose elements are told apart, as the channels whose
   * moments are wanted. Default: none are.
   */
  readonly axis?: number;
}

/** How many batches of each lane are looked at. */
export interface SurveyedBatches {
  /** For ranges. */
  readonly ranged: number;
  /** For moments; the model runs on as many. */
  readonly all: number;
  /** For the moments of the first of them, which are told apart, too. */
  readonly first: number;
}

/** A part of a model that is open, and the tensors that are looked at once it has run. */
export interface SurveyedPart {
  /** The name that it was opened under. */
  readonly key: string;
  /** What is wanted of what it computes, and of what it reads. */
  readonly tensors: readonly SurveyedTensor[];
  /** The tensors that later parts read. */
  readonly crossing: readonly string[];
}

/** Sums over all values of each channel, in float64. */
export interface ChannelSums {
  /** Values of a channel. */
  count: number;
  /** Σ x by channel. */
  readonly sum: Float64Array;
  /** Σ x² by channel. */
  readonly squares: Float64Array;
}

/** What was seen of a tensor. */
export interface Survey {
  /** Its range, if that was wanted. */
  range?: RangeState;
  /** Its moments, if those were wanted and it was seen; and those of the first batches. */
  channels?: ChannelSums;
  first?: ChannelSums;
}

/** Values that go through the kernel at a time: 1 MiB. */
const CHUNK = 2 ** 18;

/** Looks at a tensor as it comes. */
export class Surveyor {
  readonly #tensor: SurveyedTensor;
  readonly #batches: SurveyedBatches;
  readonly #kernel: Kernel;
  readonly #observer: RangeObserver;
  #channels: ChannelSums | undefined;
  #first: ChannelSums | undefined;

  /** Looks at `tensor` with the help of `kernel`. */
  constructor(tensor: SurveyedTensor, batches: SurveyedBatches, kernel: Kernel) {
    this.#tensor = tensor;
    this.#batches = batches;
    this.#kernel = kernel;
    this.#observer = new RangeObserver();
  }

  /** Looks at batch number `batch`. */
  add(value: Value, batch: number): void {
    const { range = false, axis } = this.#tensor, { ranged, first } = this.#batches;
    const data = value.data as Float32Array, isRanged = range && batch < ranged;
    let channels = 1, width = data.length;
    if (axis !== undefined) {
      // A vector has one axis, whichever is meant.
      const at = Math.max(0, axis < 0 ? axis + value.dims.length : axis);
      [channels, width] = [value.dims[at], sizeOf(value.dims.slice(at + 1))];
    }
    const { bounds, sums } = this.#look(data, width, axis === undefined ? 0 : channels, isRanged);
    if (isRanged) this.#observer.addWithin(data, bounds, value.dims);
    if (axis === undefined) return;
    const seen: ChannelSums = {
      count: data.length / channels,
      sum: sums.slice(0, channels),
      squares: sums.slice(channels),
    };
    if (this.#channels === undefined) this.#channels = seen;
    else addSums(this.#channels, seen);
    if (batch + 1 === first) this.#first = copySums(this.#channels);
  }

  /** The range of `data` and the sums of its `channels` (of none, if 0), in runs of `width`. */
  #look(data: Float32Array, width: number, channels: number, isRanged: boolean) {
    const kernel = this.#kernel, mark = kernel.mark();
    const out = kernel.f32(Float32Array.of(Infinity, -Infinity));
    const sums = kernel.f32(4 * channels), x = kernel.f32(Math.min(data.length, CHUNK));
    for (let from = 0; from < data.length;) {
      // Whole runs, or a piece of one.
      const rest = width - from % width;
      const most = rest === width && width <= CHUNK ? CHUNK - CHUNK % width : Math.min(rest, CHUNK);
      const part = data.subarray(from, from + most), n = part.length;
      x.view.set(part);
      if (isRanged) kernel.minmax({ x, n, out });
      if (channels > 0) {
        const first = Math.floor(from / width) % channels, runWidth = Math.min(width, n);
        kernel.channelSums({ x, runs: n / runWidth, width: runWidth, channels, first, sums });
      }
      from += n;
    }
    const { buffer, byteOffset } = sums.view;
    const result = {
      bounds: out.view.slice(),
      sums: new Float64Array(buffer, byteOffset, 2 * channels).slice(),
    };
    kernel.reset(mark);
    return result;
  }

  /** What was seen so far. */
  get survey(): Survey {
    const first = this.#first ?? (this.#channels && copySums(this.#channels));
    return {
      range: this.#tensor.range ? this.#observer.state : undefined,
      channels: this.#channels,
      first,
    };
  }
}

function copySums({ count, sum, squares }: ChannelSums): ChannelSums {
  return { count, sum: sum.slice(), squares: squares.slice() };
}

function addSums(into: ChannelSums, { count, sum, squares }: ChannelSums): void {
  into.count += count;
  sum.forEach((value, c) => into.sum[c] += value);
  squares.forEach((value, c) => into.squares[c] += value);
}

/** Adds the moments of `other` to those of `survey`. */
export function addSurvey(survey: Survey, other: Survey): void {
  for (const key of ["channels", "first"] as const) {
    const sums = other[key], total = survey[key];
    if (sums === undefined) continue;
    if (total === undefined) survey[key] = sums;
    else addSums(total, sums);
  }
}
