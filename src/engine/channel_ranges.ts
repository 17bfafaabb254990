/**
 * Ranges of the channels of an activation: one scale has to serve them all, and where one of them
 * is far wider than most, few levels are left for the others.
 *
 * @module
 */

/** More channels than this are not told apart. */
const MOST_CHANNELS = 8192;

/** The ranges of channels as they travel between workers. */
export interface ChannelRangesState {
  /** The smallest value of each channel. */
  readonly min: Float32Array;
  /** The largest value of each channel. */
  readonly max: Float32Array;
}

/** Where the channel of a value lies: values of one channel in a row, and channels. */
interface Layout {
  readonly inner: number;
  readonly channels: number;
}

/** The ranges of channels, from the values that histograms are made of. */
export class ChannelRanges {
  /** Undefined until there are channels; null where shapes disagree about them. */
  #state: ChannelRangesState | null | undefined;

  /** Adds every `stride`-th of `values`, a tensor of the shape `dims`. */
  add(values: Float32Array, dims: readonly number[], stride: number): void {
    const layout = layoutOf(dims);
    if (layout === undefined || this.#state === null) return;
    const { inner, channels } = layout;
    this.#state ??= {
      min: new Float32Array(channels).fill(Infinity),
      max: new Float32Array(channels).fill(-Infinity),
    };
    const { min, max } = this.#state;
    if (min.length !== channels) {
      this.#state = null;
      return;
    }
    for (let i = 0; i < values.length; i += stride) {
      const value = values[i], channel = Math.floor(i / inner) % channels;
      if (!Number.isFinite(value)) continue;
      if (value < min[channel]) min[channel] = value;
      if (value > max[channel]) max[channel] = value;
    }
  }

  /** Adds what others saw. */
  merge(other: ChannelRangesState | undefined): void {
    if (other === undefined || this.#state === null) return;
    if (this.#state === undefined) {
      this.#state = { min: other.min.slice(), max: other.max.slice() };
      return;
    }
    const { min, max } = this.#state;
    if (min.length !== other.min.length) {
      this.#state = null;
      return;
    }
    for (let c = 0; c < min.length; c++) {
      min[c] = Math.min(min[c], other.min[c]);
      max[c] = Math.max(max[c], other.max[c]);
    }
  }

  /** What was seen so far; undefined where there are no channels. */
  get state(): ChannelRangesState | undefined {
    return this.#state ?? undefined;
  }

  /**
   * The widest channel over the median of those that are not constant; undefined where fewer than
   * two are not.
   */
  get spread(): number | undefined {
    if (!this.#state) return undefined;
    const { min, max } = this.#state;
    const widths = min.map((low, c) => max[c] - low).filter((width) => width > 0).sort();
    return widths.length < 2 ? undefined : widths.at(-1)! / widths[widths.length >> 1];
  }
}

/** Maps have their channels after the samples, rows of features last, as layers read them. */
function layoutOf(dims: readonly number[]): Layout | undefined {
  const axis = dims.length > 3 ? 1 : dims.length - 1;
  if (axis < 1 || dims[axis] < 2 || dims[axis] > MOST_CHANNELS) return undefined;
  return {
    inner: dims.slice(axis + 1).reduce((product, size) => product * size, 1),
    channels: dims[axis],
  };
}
