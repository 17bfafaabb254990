/**
 * The interface between image files and pixels. Server and browser bring their own decoder.
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

/** How to interpolate when an image is resized; both average over all source pixels. */
export type ResizeFilter = "bilinear" | "bicubic";

/** What the decoder shall do with the image. */
export interface DecodeOptions {
  /** Length to give to the short side, in pixels, with the aspect ratio kept. Default: as it is. */
  readonly resize?: number;
  /** Leave an image of exactly this size as it is, whatever `resize` says. Default: none. */
  readonly unlessSize?: { readonly width: number; readonly height: number };
  /**
   * Size of the centre that is wanted, after resizing. A decoder may give more, or all: what it
   * gives is cropped in any case. Default: all.
   */
  readonly crop?: { readonly width: number; readonly height: number };
  /** Interpolation. Default: `bilinear`. */
  readonly filter?: ResizeFilter;
  /** 3 turns gray to RGB, 1 turns RGB to gray. Default: 3. */
  readonly channels?: 1 | 3;
}

/**
 * Decodes images. The same bytes and options give the same pixels; the rotation in EXIF data is
 * applied and transparency is dropped. Bytes that are no complete image, or one too large to hold,
 * reject with any error.
 */
export interface ImageDecoder {
  /** Decodes the bytes of one image file. */
  decode(bytes: Uint8Array, options?: DecodeOptions): Promise<Pixels>;
}
