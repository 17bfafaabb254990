/**
 * The image decoder of Deno and Node: JPEG, PNG and WebP through sharp.
 *
 * @module
 */

import sharp from "sharp";
import { checkSize, type ImageDecoder, type Pixels } from "./decoder.ts";

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

async function decode(bytes: Uint8Array): Promise<Pixels> {
  // Networks are trained on pixels as they are stored: readers in Python ignore profiles, too.
  const image = sharp(bytes, { failOn: "error", limitInputPixels: false, ignoreIcc: true })
    .autoOrient().removeAlpha();
  const { width, height } = (await image.metadata()).autoOrient;
  checkSize(width, height);
  const { data, info } = await image
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { buffer, byteOffset, length } = data;
  const view = new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
  return { width: info.width, height: info.height, channels: 3, data: view };
}
