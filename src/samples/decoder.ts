/**
 * The interface between image files and pixels. Server and browser bring their own decoder; what
 * is done to pixels afterwards is the same for both ([resize.ts](./resize.ts)).
 *
 * @module
 */

/** Interleaved 8-bit pixels: row by row, in each pixel R, G, B or gray. */
export interface Pixels {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** 3 for RGB, 1 for gray. */
  readonly channels: 1 | 3;
  /** `height`×`width`×`channels` values from 0 to 255. */
  readonly data: Uint8Array;
}

/**
 * Decodes images. The same bytes give the same pixels: as they are stored, without any conversion
 * of colours; the rotation in EXIF data is applied, transparency is dropped, of 16 bits the upper 8
 * are kept. Bytes that are no complete image, or one too large to hold, reject with any error.
 *
 * Of PNG and WebP all decoders make the same pixels. JPEG leaves them free in how frequencies
 * become pixels (the inverse cosine transform, mostly within 1 of 255) and how colours that are
 * stored at half the size are interpolated (tens of 255 at edges). sharp and Chromium do both
 * alike: of 140 JPEG files, 40 with colours at half the size, all pixels were the same. Other
 * browsers may differ; for the same bytes everywhere give PNG.
 */
export interface ImageDecoder {
  /** Decodes the bytes of one image file. */
  decode(bytes: Uint8Array): Promise<Pixels>;
}

/** Pixels of the largest image that is held: a small file may say that it has billions. */
const MOST_PIXELS = 1e8;

/** Refuses an image that would have so many pixels. */
export function checkSize(width: number, height: number): void {
  if (width * height <= MOST_PIXELS) return;
  throw new Error(
    `an image of ${width}×${height} is more than ${MOST_PIXELS / 1e6} million pixels, resized or ` +
      `as it is; make it smaller`,
  );
}
