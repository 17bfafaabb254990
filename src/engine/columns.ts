/**
 * Columns: what one output position of a layer multiplies its weights with. A convolution's column
 * is its window, a matrix product's a row (or column) of its input. Only the positions asked for
 * are gathered, so the cost does not follow the image size.
 *
 * @module
 */

import { sizeOf } from "../onnx/tensor.ts";
import type { Value } from "../runtime/session.ts";
import type { Geometry } from "../weights/target.ts";

/** Columns that a layer's statistics are made of, over all samples: this many per unknown… */
const COLUMNS_PER_INPUT = 64;
/** …but at least and at most so many. */
const LEAST_COLUMNS = 16384, MOST_COLUMNS = 131072;
/** Output positions per sample, at least: what one sample shows is worth a few looks. */
const LEAST_POSITIONS = 16;

/** A layer as far as its columns go. */
export interface ColumnShape {
  /** How columns are gathered. */
  readonly geometry: Geometry;
  /** Independent matrices. */
  readonly groups: number;
  /** Output channels per group. */
  readonly rows: number;
  /** Inputs times kernel positions, per group. */
  readonly depth: number;
}

/**
 * The number of columns, of as many as there are, that a layer of `depth` inputs is learned from.
 */
export function mostColumns(depth: number, samples: number): number {
  const columns = Math.max(LEAST_COLUMNS, COLUMNS_PER_INPUT * depth, LEAST_POSITIONS * samples);
  return Math.min(MOST_COLUMNS, columns);
}

/** The number of output positions in `y`, over the whole batch. */
export function positionCount({ geometry, groups, rows }: ColumnShape, y: Value): number {
  // Window and columns layouts have one value per channel and position, rows one per feature.
  return y.data.length / (geometry.kind === "window" ? groups * rows : rows);
}

/**
 * Gathers the columns of `x` at `positions` into `out`, (groups·depth) × P row-major, and the
 * layer's outputs `y` there into `outY`, (groups·rows) × P.
 */
export function gatherColumns(
  shape: ColumnShape,
  x: Value,
  y: Value,
  positions: readonly number[],
  out: Float32Array,
  outY: Float32Array,
): void {
  const { geometry, groups, rows, depth } = shape;
  const values = x.data as Float32Array, results = y.data as Float32Array;
  if (geometry.kind === "rows") {
    gatherRows(values, depth, positions, out);
    gatherRows(results, rows, positions, outY);
  } else if (geometry.kind === "columns") {
    // A vector is one column, and the product of a matrix with it has no axis for columns.
    const width = x.dims.length === 1 ? 1 : y.dims[y.dims.length - 1];
    gatherPlanes(values, depth, width, positions, out);
    gatherPlanes(results, rows, width, positions, outY);
  } else {
    const area = sizeOf(y.dims.slice(2));
    gatherPlanes(results, groups * rows, area, positions, outY);
    gatherWindows(geometry, x, y, positions, out);
  }
}

/** Position p is the window of output p mod area, in sample ⌊p / area⌋. */
function gatherWindows(
  geometry: Window,
  x: Value,
  y: Value,
  positions: readonly number[],
  out: Float32Array,
): void {
  const values = x.data as Float32Array, [, channels, ...inDims] = x.dims;
  const count = positions.length, size = sizeOf(inDims), taps = sizeOf(geometry.kernel);
  // Where each tap of each column is in the first channel, −1 for padding; the same in all
  // channels.
  const places = placesOf(geometry, x.dims, y.dims, positions);
  const padded = Array.from(
    { length: taps },
    (_, tap) => places.subarray(tap * count, (tap + 1) * count).includes(-1),
  );
  for (let c = 0, to = 0; c < channels; c++) {
    const plane = c * size;
    for (let tap = 0, at = 0; tap < taps; tap++) {
      const end = at + count;
      if (padded[tap]) {
        for (; at < end; at++, to++) out[to] = places[at] < 0 ? 0 : values[plane + places[at]];
      } else {
        for (; at < end; at++, to++) out[to] = values[plane + places[at]];
      }
    }
  }
}

/** Position p is row p of a matrix with `width` features. */
function gatherRows(
  values: Float32Array,
  width: number,
  positions: readonly number[],
  out: Float32Array,
): void {
  for (let j = 0, to = 0; j < width; j++) {
    for (const position of positions) out[to++] = values[position * width + j];
  }
}

/** Position p is element p mod area of every channel's plane, in sample ⌊p / area⌋. */
function gatherPlanes(
  values: Float32Array,
  channels: number,
  area: number,
  positions: readonly number[],
  out: Float32Array,
): void {
  const starts = positions.map((p) => Math.floor(p / area) * channels * area + p % area);
  for (let c = 0, to = 0; c < channels; c++) {
    for (const start of starts) out[to++] = values[start + c * area];
  }
}

type Window = Extract<Geometry, { kind: "window" }>;

/** Zeros before the first value as auto_pad wants them: SAME_LOWER puts the odd one in front. */
function samePads(window: Window, inDims: number[], outDims: number[]): number[] {
  return outDims.map((out, axis) => {
    const reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
    const total = Math.max(0, (out - 1) * window.strides[axis] + reach - inDims[axis]);
    return window.autoPad === "SAME_LOWER" ? Math.ceil(total / 2) : Math.floor(total / 2);
  });
}

/**
 * Which input brings its value to each output of `positions` by each tap: taps × positions, as
 * places in the first channel of its sample; −1 for padding.
 */
function placesOf(
  window: Window,
  xDims: readonly number[],
  yDims: readonly number[],
  positions: readonly number[],
): Int32Array {
  const { dilations, kernel } = window;
  const inDims = xDims.slice(2), outDims = yDims.slice(2), axes = inDims.length;
  const pads = window.pads ?? samePads(window, inDims, outDims);
  const area = sizeOf(outDims), sample = xDims[1] * sizeOf(inDims), taps = sizeOf(kernel);
  const reach = Int32Array.from(
    { length: taps * axes },
    (_, i) => coordinate(Math.floor(i / axes), i % axes, kernel) * dilations[i % axes],
  );
  const places = new Int32Array(taps * positions.length), at = new Int32Array(axes);
  positions.forEach((position, p) => {
    for (let axis = 0; axis < axes; axis++) at[axis] = coordinate(position % area, axis, outDims);
    const first = Math.floor(position / area) * sample;
    for (let tap = 0; tap < taps; tap++) {
      let offset = 0;
      for (let axis = 0; axis < axes && offset >= 0; axis++) {
        const i = inputAt(window, axis, at[axis], reach[tap * axes + axis], pads);
        const inside = i >= 0 && i < inDims[axis] && Number.isInteger(i);
        offset = inside ? offset * inDims[axis] + i : -1;
      }
      places[tap * positions.length + p] = offset < 0 ? -1 : first + offset;
    }
  });
  return places;
}

/**
 * The share of a layer's columns in which each tap meets a value of the input: others meet padding,
 * or the zeros that a ConvTranspose has between values. One tap where the layer has no windows.
 *
 * @param xDims the shape of the layer's input, and `yDims` that of its output.
 */
export function tapShares(
  geometry: Geometry,
  xDims: readonly number[],
  yDims: readonly number[],
): number[] {
  if (geometry.kind !== "window") return [1];
  const { kernel } = geometry, inDims = xDims.slice(2), outDims = yDims.slice(2);
  const pads = geometry.pads ?? samePads(geometry, inDims, outDims);
  const alongAxis = kernel.map((size, axis) =>
    Array.from({ length: size }, (_, k) => {
      let inside = 0;
      for (let out = 0; out < outDims[axis]; out++) {
        const i = inputAt(geometry, axis, out, k * geometry.dilations[axis], pads);
        if (Number.isInteger(i) && i >= 0 && i < inDims[axis]) inside++;
      }
      return inside / outDims[axis];
    })
  );
  return Array.from(
    { length: sizeOf(kernel) },
    (_, tap) =>
      alongAxis.reduce((share, shares, axis) => share * shares[coordinate(tap, axis, kernel)], 1),
  );
}

/**
 * Which input along `axis` the output `out` meets at a tap that is `reach` away; no whole number
 * between two.
 */
function inputAt(
  { transposed, strides }: Window,
  axis: number,
  out: number,
  reach: number,
  pads: readonly number[],
): number {
  // A ConvTranspose turns the relation around: input · stride = output + pad − reach.
  return transposed
    ? (out + pads[axis] - reach) / strides[axis]
    : out * strides[axis] - pads[axis] + reach;
}

/** The coordinate along `axis` of element `index` of a tensor of shape `dims`. */
function coordinate(index: number, axis: number, dims: readonly number[]): number {
  for (let last = dims.length - 1; last > axis; last--) index = Math.floor(index / dims[last]);
  return index % dims[axis];
}
