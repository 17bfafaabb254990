/**
 * The image decoder of pages and their workers.
 *
 * @module
 */

import { checkSize, type ImageDecoder, type Pixels } from "./decoder.ts";

/** Creates a decoder. */
export function browserDecoder(): ImageDecoder {
  return { decode };
}

async function decode(bytes: Uint8Array): Promise<Pixels> {
  const bitmap = await createImageBitmap(new Blob([Uint8Array.from(bytes)]), {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
    imageOrientation: "from-image",
  });
  try {
    const { width, height } = bitmap;
    checkSize(width, height);
    const context = new OffscreenCanvas(width, height).getContext("2d")!;
    context.drawImage(bitmap, 0, 0);
    return withoutAlpha(context.getImageData(0, 0, width, height).data, width, height);
  } finally {
    bitmap.close();
  }
}

function withoutAlpha(rgba: ArrayLike<number>, width: number, height: number): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width, height, channels: 3, data };
}
