/**
 * What one pass of a model tells of its tensors: the range of each, and the moments of its channels.
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
  /**
   * The axis, from the last if negative, whose elements are told apart: their moments are wanted. Default:
   * the range of all values is.
   */
  readonly axis?: number;
  /** Batches of each lane that are looked at, at most. */
  readonly batches: number;
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
  /** Its moments, if those were wanted and it was seen. */
  channels?: ChannelSums;
}

/** Looks at a tensor as it comes. */
export class Surveyor {
  readonly #tensor: SurveyedTensor;
  readonly #observer: RangeObserver;
  #channels: ChannelSums | undefined;

  /** Looks at `tensor`, at its range with the help of `kernel`. */
  constructor(tensor: SurveyedTensor, kernel: Kernel) {
    this.#tensor = tensor;
    this.#observer = new RangeObserver(kernel);
  }

  /** Looks at batch number `batch`. */
  add(value: Value, batch: number): void {
    const { axis } = this.#tensor, data = value.data as Float32Array;
    if (batch >= this.#tensor.batches) return;
    if (axis === undefined) return this.#observer.add(data);
    // A vector has one axis, whichever is meant.
    const at = Math.max(0, axis < 0 ? axis + value.dims.length : axis);
    const count = value.dims[at], width = sizeOf(value.dims.slice(at + 1));
    this.#channels ??= {
      count: 0,
      sum: new Float64Array(count),
      squares: new Float64Array(count),
    };
    addChannels(this.#channels, data, width);
  }

  /** What was seen so far. */
  get survey(): Survey {
    return this.#tensor.axis === undefined
      ? { range: this.#observer.state }
      : { channels: this.#channels };
  }
}

/** Adds `data` to the sums of its channels, each of which comes in runs of `width` values. */
function addChannels(channels: ChannelSums, data: Float32Array, width: number): void {
  const { sum, squares } = channels, count = sum.length;
  channels.count += data.length / count;
  if (width === 1) {
    for (let i = 0, channel = 0; i < data.length; i++) {
      const value = data[i];
      sum[channel] += value;
      squares[channel] += value * value;
      if (++channel === count) channel = 0;
    }
    return;
  }
  for (let at = 0, channel = 0; at < data.length; at += width) {
    let total = 0, square = 0;
    for (let i = at; i < at + width; i++) {
      const value = data[i];
      total += value;
      square += value * value;
    }
    sum[channel] += total;
    squares[channel] += square;
    if (++channel === count) channel = 0;
  }
}

/** Adds `other` to `survey`, which then holds both. */
export function mergeSurveys(survey: Survey, other: Survey): void {
  if (other.range) {
    const observer = new RangeObserver();
    if (survey.range) observer.merge(survey.range);
    observer.merge(other.range);
    survey.range = observer.state;
  }
  const { channels } = other;
  if (channels === undefined) return;
  const known = survey.channels;
  if (known === undefined) {
    survey.channels = channels;
    return;
  }
  known.count += channels.count;
  channels.sum.forEach((value, c) => known.sum[c] += value);
  channels.squares.forEach((value, c) => known.squares[c] += value);
}
