/**
 * The image decoder of Deno and Node: JPEG, PNG and WebP through sharp.
 *
 * @module
 */

import sharp from "sharp";
import type { DecodeOptions, ImageDecoder, Pixels } from "./decoder.ts";

/**
 * Creates a decoder.
 *
 * @example
 * ```ts
 * import sharp from "sharp";
 * import { sharpDecoder } from "./sharp_decoder.ts";
 *
 * const png = await sharp({ create: { width: 8, height: 4, channels: 3, background: "red" } })
 *   .png().toBuffer();
 * const pixels = await sharpDecoder().decode(png);
 * if (pixels.width !== 8 || pixels.data[0] !== 255) throw new Error("not red");
 * ```
 */
export function sharpDecoder(): ImageDecoder {
  return { decode };
}

/** Pixels of the largest image that is decoded: a small file may say that it has billions. */
const MOST_PIXELS = 1e8;

async function decode(bytes: Uint8Array, options: DecodeOptions = {}): Promise<Pixels> {
  const { resize, unlessSize, crop, filter = "bilinear", channels = 3 } = options;
  const image = sharp(bytes, { failOn: "error", limitInputPixels: false })
    .autoOrient().removeAlpha();
  const { width, height } = (await image.metadata()).autoOrient;
  const keepsSize = width === unlessSize?.width && height === unlessSize?.height;
  const factor = resize === undefined || keepsSize ? 1 : resize / Math.min(width, height);
  if (width * height * Math.max(1, factor ** 2) > MOST_PIXELS) {
    throw new Error(
      `an image of ${width}×${height} is more than ${
        MOST_PIXELS / 1e6
      } million pixels, resized or ` +
        `as it is; make it smaller`,
    );
  }
  if (resize !== undefined && !keepsSize) {
    image.resize(resize, resize, {
      fit: "outside",
      kernel: filter === "bicubic" ? "cubic" : "linear",
      fastShrinkOnLoad: false, // it saves time at the cost of fidelity
    });
  } else if (crop && width >= crop.width && height >= crop.height) {
    // Only what is given is ever held as pixels. After a resize it would change the last bits.
    const left = Math.floor((width - crop.width) / 2), top = Math.floor((height - crop.height) / 2);
    image.extract({ left, top, width: crop.width, height: crop.height });
  }
  const { data, info } = await image
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { buffer, byteOffset, length } = data;
  const view = new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
  return { width: info.width, height: info.height, channels, data: view };
}
