/**
 * Columns: what one output position of a layer multiplies its weights with. A convolution's column
 * is its window, a matrix product's a row (or column) of its input. Only the positions asked for are
 * gathered, so the cost does not follow the image size.
 *
 * @module
 */

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

/** The number of columns, of as many as there are, that a layer of `depth` inputs is learned from. */
export function mostColumns(depth: number, samples: number): number {
  const wanted = Math.max(LEAST_COLUMNS, COLUMNS_PER_INPUT * depth, LEAST_POSITIONS * samples);
  return Math.min(MOST_COLUMNS, wanted);
}

/** The number of output positions in `y`, over the whole batch. */
export function positionCount({ geometry, groups, rows }: ColumnShape, y: Value): number {
  // Window and columns layouts have one value per channel and position, rows one per feature.
  return y.data.length / (geometry.kind === "window" ? groups * rows : rows);
}

/**
 * Gathers the columns of `x` at `positions` into `out`, (groups·depth) × P row-major, and the layer's
 * outputs `y` there into `outY`, (groups·rows) × P.
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
  const count = positions.length;
  if (geometry.kind === "rows") {
    gatherRows(values, depth, positions, out);
    gatherRows(results, rows, positions, outY);
  } else if (geometry.kind === "columns") {
    // A vector is one column, and the product of a matrix with it has no axis for columns.
    const width = x.dims.length === 1 ? 1 : y.dims[y.dims.length - 1];
    gatherPlanes(values, depth, width, positions, out);
    gatherPlanes(results, rows, width, positions, outY);
  } else {
    const area = y.dims.slice(2).reduce((a, b) => a * b, 1);
    gatherPlanes(results, groups * rows, area, positions, outY);
    const channels = x.dims[1], size = x.dims.slice(2).reduce((a, b) => a * b, 1);
    const taps = geometry.kernel.reduce((a, b) => a * b, 1);
    // Offsets within a channel's plane, −1 for padding: the same for all channels.
    const offsets = new Int32Array(taps * count), base = new Int32Array(count);
    const outDims = y.dims.slice(2), inDims = x.dims.slice(2);
    const pads = geometry.pads ?? samePads(geometry, inDims, outDims);
    for (let p = 0; p < count; p++) {
      base[p] = Math.floor(positions[p] / area) * channels * size;
      gatherTaps(geometry, pads, inDims, unravel(positions[p] % area, outDims), offsets, p, count);
    }
    for (let c = 0, to = 0; c < channels; c++) {
      for (let tap = 0; tap < taps; tap++) {
        for (let p = 0, at = tap * count; p < count; p++, at++, to++) {
          out[to] = offsets[at] < 0 ? 0 : values[base[p] + c * size + offsets[at]];
        }
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

/** The coordinates of element `index` of a tensor of shape `dims`. */
function unravel(index: number, dims: readonly number[]): number[] {
  const at = new Array<number>(dims.length);
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    at[axis] = index % dims[axis];
    index = Math.floor(index / dims[axis]);
  }
  return at;
}

/** Calls `visit` for every tap of a kernel, with its coordinates. */
function forTaps(kernel: readonly number[], visit: (tap: number, at: number[]) => void): void {
  const taps = kernel.reduce((a, b) => a * b, 1);
  for (let tap = 0; tap < taps; tap++) visit(tap, unravel(tap, kernel));
}

/**
 * Writes column `p` of `offsets`: for each tap, which input brings its value to output `at`, as an
 * offset within a channel's plane; −1 for padding.
 */
function gatherTaps(
  window: Window,
  pads: readonly number[],
  inDims: readonly number[],
  at: readonly number[],
  offsets: Int32Array,
  p: number,
  count: number,
): void {
  const { transposed, strides, dilations, kernel } = window;
  forTaps(kernel, (tap, k) => {
    let offset = 0;
    for (let axis = 0; axis < inDims.length; axis++) {
      const reach = k[axis] * dilations[axis];
      // A ConvTranspose turns the relation around: input · stride = output + pad − reach.
      const i = transposed
        ? (at[axis] + pads[axis] - reach) / strides[axis]
        : at[axis] * strides[axis] - pads[axis] + reach;
      if (!Number.isInteger(i) || i < 0 || i >= inDims[axis]) {
        return offsets[tap * count + p] = -1;
      }
      offset = offset * inDims[axis] + i;
    }
    offsets[tap * count + p] = offset;
  });
}
