/**
 * The image decoder of pages and their workers. Of PNG and WebP it makes the pixels that sharp
 * makes.
 *
 * createImageBitmap decodes and turns, and a canvas gives the pixels. WebCodecs would be shorter,
 * but of JPEG it gives chroma that is not interpolated (18 of 255 away from sharp, at most), and
 * colours that were multiplied by their opacity. Browsers that blur what a canvas tells, against
 * being recognized by it, blur the pixels.
 *
 * @module
 */

import { checkSize, type ImageDecoder, type Pixels } from "./decoder.ts";

/** Creates a decoder. */
export function browserDecoder(): ImageDecoder {
  let transparent: ReadTransparent | undefined;
  return {
    async decode(bytes) {
      const bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]), {
        colorSpaceConversion: "none",
        premultiplyAlpha: "none",
        imageOrientation: "from-image",
      });
      try {
        checkSize(bitmap.width, bitmap.height);
        const rgba = readOpaque(bitmap) ?? (transparent ??= transparentReader())(bitmap);
        return withoutAlpha(rgba, bitmap);
      } finally {
        bitmap.close();
      }
    },
  };
}

/** The pixels of an image where all are opaque. */
function readOpaque(bitmap: ImageBitmap): Uint8ClampedArray | undefined {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("the browser has no canvas to read images from");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return undefined;
  return data;
}

/** Gives the pixels of an image as they are stored, under whatever opacity. */
type ReadTransparent = (bitmap: ImageBitmap) => Uint8Array;

/**
 * WebGL reads images for {@linkcode ReadTransparent}: a canvas for drawing holds colour × alpha.
 */
function transparentReader(): ReadTransparent {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (gl === null) throw new Error("the browser reads no transparent images without WebGL");
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  return (bitmap) => {
    const { width, height } = bitmap;
    if (Math.max(width, height) > most) {
      throw new Error(
        `the browser reads transparent images up to ${most} pixels wide or high only`,
      );
    }
    const texture = gl.createTexture(), buffer = gl.createFramebuffer();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, buffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    const rgba = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    gl.deleteFramebuffer(buffer);
    gl.deleteTexture(texture);
    const error = gl.getError();
    if (error !== gl.NO_ERROR) throw new Error(`WebGL could not read the image, error ${error}`);
    return rgba;
  };
}

function withoutAlpha(rgba: ArrayLike<number>, { width, height }: ImageBitmap): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width, height, channels: 3, data };
}
