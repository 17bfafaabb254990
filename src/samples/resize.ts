/**
 * Resizes pixels, to the same bytes everywhere: by the convention of Pillow, whose resize most
 * networks were trained behind. Each new pixel is an average of all old ones around it, weighted by
 * a triangle (`bilinear`) or by Catmull and Rom's cubic (`bicubic`) that is as wide as a new pixel;
 * first along rows, then along columns, each rounded to 8 bits, in integers throughout.
 *
 * @module
 */

import { checkSize, type Pixels } from "./decoder.ts";

/** How to interpolate when an image is resized; both average over all source pixels. */
export type ResizeFilter = "bilinear" | "bicubic";

/** Weights are whole multiples of 2⁻²²: with 8 bits of a pixel their sum stays below 2³¹. */
const ONE = 1 << 22;

/** What a filter gives at a distance of the centre, and the distance from which it gives 0. */
const FILTERS: Record<ResizeFilter, { support: number; at: (distance: number) => number }> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - x) },
  bicubic: {
    support: 2,
    at: (x) => x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0,
  },
};

/** The weights by which old positions along an axis make up the new ones. */
interface Weights {
  /** First old position of each new one. */
  readonly first: Int32Array;
  /** Number of old positions of each new one. */
  readonly count: Int32Array;
  /** Weights, `most` for each new position. */
  readonly weights: Int32Array;
  readonly most: number;
}

/** The weights from `from` positions to `to`. */
function weightsOf(from: number, to: number, filter: ResizeFilter): Weights {
  const { support, at } = FILTERS[filter];
  const scale = from / to, stretch = Math.max(1, scale), reach = support * stretch;
  const most = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(to), count = new Int32Array(to);
  const weights = new Int32Array(to * most), exact = new Float64Array(most);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    first[i] = Math.max(0, Math.trunc(centre - reach + 0.5));
    count[i] = Math.min(from, Math.trunc(centre + reach + 0.5)) - first[i];
    let sum = 0;
    for (let k = 0; k < count[i]; k++) {
      exact[k] = at(Math.abs((first[i] + k - centre + 0.5) * (1 / stretch)));
      sum += exact[k];
    }
    for (let k = 0; k < count[i]; k++) {
      const weight = exact[k] / sum * ONE;
      weights[i * most + k] = Math.trunc(weight + (weight < 0 ? -0.5 : 0.5));
    }
  }
  return { first, count, weights, most };
}

/** The pixel of a sum of pixels times weights. */
function toByte(sum: number): number {
  const value = sum >> 22;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Makes rows longer or shorter. */
function resizeRows(pixels: Pixels, width: number, filter: ResizeFilter): Pixels {
  const { width: old, height, channels, data } = pixels;
  const weights = weightsOf(old, width, filter), result = new Uint8Array(width * height * channels);
  const resizeRow = channels === 3 ? resizeColours : resizeGrays;
  for (let y = 0; y < height; y++) {
    const from = y * old * channels, to = y * width * channels;
    resizeRow(
      data.subarray(from, from + old * channels),
      weights,
      result.subarray(to, to + width * channels),
    );
  }
  return { width, height, channels, data: result };
}

/** Makes a row of R, G and B as long as `to`; three times as fast as one colour at a time. */
function resizeColours(row: Uint8Array, { first, count, weights, most }: Weights, to: Uint8Array) {
  for (let x = 0, i = 0; i < to.length; x++, i += 3) {
    const start = x * most, end = start + count[x];
    let r = ONE / 2, g = ONE / 2, b = ONE / 2;
    for (let k = start, at = first[x] * 3; k < end; k++, at += 3) {
      const weight = weights[k];
      r = (r + Math.imul(row[at], weight)) | 0;
      g = (g + Math.imul(row[at + 1], weight)) | 0;
      b = (b + Math.imul(row[at + 2], weight)) | 0;
    }
    to[i] = toByte(r);
    to[i + 1] = toByte(g);
    to[i + 2] = toByte(b);
  }
}

/** Makes a row of grays as long as `to`. */
function resizeGrays(row: Uint8Array, { first, count, weights, most }: Weights, to: Uint8Array) {
  for (let x = 0; x < to.length; x++) {
    const start = x * most, end = start + count[x];
    let sum = ONE / 2;
    for (let k = start, at = first[x]; k < end; k++, at++) {
      sum = (sum + Math.imul(row[at], weights[k])) | 0;
    }
    to[x] = toByte(sum);
  }
}

/** Makes columns longer or shorter. */
function resizeColumns(pixels: Pixels, height: number, filter: ResizeFilter): Pixels {
  const { width, height: old, channels, data } = pixels;
  const { first, count, weights, most } = weightsOf(old, height, filter);
  const length = width * channels, sums = new Int32Array(length);
  const result = new Uint8Array(length * height);
  for (let y = 0; y < height; y++) {
    sums.fill(ONE / 2);
    for (let k = 0; k < count[y]; k++) {
      const weight = weights[y * most + k], from = (first[y] + k) * length;
      for (let i = 0; i < length; i++) sums[i] += Math.imul(data[from + i], weight);
    }
    for (let i = 0, to = y * length; i < length; i++, to++) result[to] = toByte(sums[i]);
  }
  return { width, height, channels, data: result };
}

/**
 * `pixels` in another size.
 *
 * @throws {Error} where that is too large to hold.
 *
 * @example
 * ```ts
 * import { resizePixels } from "./resize.ts";
 *
 * const pixels = { width: 4, height: 1, channels: 1, data: Uint8Array.of(0, 0, 8, 8) } as const;
 * const { data } = resizePixels(pixels, { width: 2, height: 1 }, "bilinear");
 * if (data.join() !== "1,7") throw new Error("no average of what is around");
 * ```
 */
export function resizePixels(
  pixels: Pixels,
  { width, height }: { readonly width: number; readonly height: number },
  filter: ResizeFilter,
): Pixels {
  checkSize(width, height);
  // What lies between the two steps must be held, too.
  checkSize(width, pixels.height);
  const wide = width === pixels.width ? pixels : resizeRows(pixels, width, filter);
  return height === pixels.height ? wide : resizeColumns(wide, height, filter);
}
