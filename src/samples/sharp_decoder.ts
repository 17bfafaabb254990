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

async function decode(bytes: Uint8Array, options: DecodeOptions = {}): Promise<Pixels> {
  const { resize, unlessSize, filter = "bilinear", channels = 3 } = options;
  const image = sharp(bytes, { failOn: "error" }).autoOrient().removeAlpha();
  if (resize !== undefined) {
    const { autoOrient: size } = await image.metadata();
    if (size.width !== unlessSize?.width || size.height !== unlessSize?.height) {
      image.resize(resize, resize, {
        fit: "outside",
        kernel: filter === "bicubic" ? "cubic" : "linear",
        fastShrinkOnLoad: false, // it saves time at the cost of fidelity
      });
    }
  }
  const { data, info } = await image
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels, data: new Uint8Array(data) };
}
