/**
 * Small pictures of samples, made of the tensor that the model is given: whatever preprocessing did
 * is stretched back to black and white.
 *
 * @module
 */

import type { Sample, TensorValue } from "../samples/sample.ts";

/** Pixels of a picture's longer side, at most. */
const MOST_PIXELS = 64;
/** Sides of an image: less is a vector, more is no single one. */
const LEAST_SIDE = 4;
/** Bytes of a bitmap's headers. */
const HEADERS = 54;

/** The image in `inputs` as a bitmap in a `data:` URL; undefined where no input looks like one. */
export function thumbnail(inputs: Sample["inputs"]): string | undefined {
  const images = Object.values(inputs).flatMap((value) => imageIn(value) ?? []);
  return images.length === 1 ? `data:image/bmp;base64,${base64(bitmap(images[0]))}` : undefined;
}

/** Where the pixels of a tensor lie. */
interface Image {
  readonly data: Float32Array | Float64Array | Uint8Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** The distance of two channels of a pixel, and of two pixels. */
  readonly steps: { readonly channel: number; readonly pixel: number };
}

/** `value` as an image of one or three channels, which come first or last. */
function imageIn({ dims, data }: TensorValue): Image | undefined {
  const isPixels = data instanceof Float32Array || data instanceof Float64Array ||
    data instanceof Uint8Array;
  const sides = dims.length === 4 && dims[0] === 1 ? dims.slice(1) : dims;
  if (!isPixels || sides.length !== 3) return undefined;
  const isImage = (channels: number, height: number, width: number) =>
    (channels === 1 || channels === 3) && Math.min(height, width) >= LEAST_SIDE;
  const [a, b, c] = sides;
  if (isImage(a, b, c)) {
    return { data, channels: a, height: b, width: c, steps: { channel: b * c, pixel: 1 } };
  }
  return isImage(c, a, b)
    ? { data, channels: c, height: a, width: b, steps: { channel: 1, pixel: c } }
    : undefined;
}

/** A bitmap of 24 bits per pixel: each picks the value that lies nearest in the image. */
function bitmap({ data, channels, height, width, steps }: Image): Uint8Array {
  const scale = Math.min(1, MOST_PIXELS / Math.max(height, width));
  const rows = Math.max(1, Math.round(height * scale));
  const columns = Math.max(1, Math.round(width * scale));
  const { low, high } = rangeOf(data);
  // Rows of a bitmap are a multiple of four bytes, the lowest first.
  const stride = Math.ceil(3 * columns / 4) * 4, size = HEADERS + stride * rows;
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]);
  view.setUint32(2, size, true);
  view.setUint32(10, HEADERS, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, columns, true);
  view.setInt32(22, rows, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, 24, true);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const from = Math.floor((y + 0.5) * height / rows) * width +
        Math.floor((x + 0.5) * width / columns);
      for (let c = 0; c < 3; c++) {
        const value = data[from * steps.pixel + Math.min(c, channels - 1) * steps.channel];
        const share = high > low ? (value - low) / (high - low) : 0;
        // Blue comes first.
        bytes[HEADERS + (rows - 1 - y) * stride + 3 * x + 2 - c] = Math.round(255 * share);
      }
    }
  }
  return bytes;
}

/** The smallest and the largest finite value. */
function rangeOf(data: Image["data"]): { readonly low: number; readonly high: number } {
  let low = Infinity, high = -Infinity;
  for (const value of data) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
