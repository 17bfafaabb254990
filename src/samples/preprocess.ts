/**
 * From pixels to a model's input: size, crop, scale, layout. The recipe is a plain value that can
 * be printed and stored beside the result.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Pixels } from "./decoder.ts";
import { type ResizeFilter, resizePixels } from "./resize.ts";
import { formatSpec, type TensorValue } from "./sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";

/**
 * How values from 0 to 255 are scaled.
 *
 * - `imagenet`: x/255, less the mean of ImageNet, over its standard deviation (most PyTorch
 *   models).
 * - `unit`: x/255.
 * - `signed`: x/127.5 − 1 (most TensorFlow and Keras models).
 * - `raw`: as they are, 0 … 255.
 */
export type PreprocessPreset = "imagenet" | "unit" | "signed" | "raw";

/** Order of the axes of an image batch: channels before or after height and width. */
export type ImageLayout = "NCHW" | "NHWC";

/** What the user says about the preprocessing; the rest follows from the model's input. */
export interface PreprocessOptions {
  /** Scale of the values. Default: `imagenet`. */
  readonly preset?: PreprocessPreset;
  /** Mean per channel, of values from 0 to 1, in place of the preset's. */
  readonly mean?: readonly number[];
  /** Standard deviation per channel, of values from 0 to 1, in place of the preset's. */
  readonly std?: readonly number[];
  /**
   * Length to give to the short side before cropping, in pixels, or `none`. Default: 256/224 of the
   * crop, and none for an image that has the size of the crop already.
   */
  readonly resize?: number | "none";
  /** Interpolation of the resize. Default: `bilinear`. */
  readonly filter?: ResizeFilter;
  /** Centre crop in pixels: a square's side, or height and width. Default: the model's input. */
  readonly crop?: number | readonly [height: number, width: number];
  /** Order of the axes. Default: where the model's input has 1 or 3 channels. */
  readonly layout?: ImageLayout;
}

/** The complete recipe from an image file to a model's input. */
export interface Preprocess {
  /** Length of the short side after resizing, in pixels, or `none`. */
  readonly resize: number | "none";
  /** Whether an image that has the size of the crop already is resized all the same. */
  readonly resizeAlways: boolean;
  /** Interpolation of the resize. */
  readonly filter: ResizeFilter;
  /** Centre crop, in pixels. */
  readonly crop: { readonly height: number; readonly width: number };
  /** 3 for RGB, 1 for gray. */
  readonly channels: 1 | 3;
  /** Mean per channel: the model is fed (x/255 − mean)/std. */
  readonly mean: readonly number[];
  /** Standard deviation per channel. */
  readonly std: readonly number[];
  /** Order of the axes. */
  readonly layout: ImageLayout;
}

/** (x/255 − mean)/std for each preset; one number stands for all channels. */
const presets: Record<PreprocessPreset, { mean: readonly number[]; std: readonly number[] }> = {
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  unit: { mean: [0], std: [1] },
  signed: { mean: [0.5], std: [0.5] },
  raw: { mean: [0], std: [1 / 255] },
};

/**
 * Completes `options` for a model's input of shape batch×channels×height×width, or channels last,
 * with or without the batch.
 *
 * Throws `AttuneError` `bad-data` if the input is not an image, and `bad-option` if an option
 * contradicts it or its free dimensions leave the crop open.
 *
 * @example
 * ```ts
 * import { resolvePreprocess } from "./preprocess.ts";
 *
 * const input = { name: "image", dims: ["N", 3, 224, 224], type: "float32" } as const;
 * const recipe = resolvePreprocess({ preset: "signed" }, input);
 * if (recipe.resize !== 256 || recipe.layout !== "NCHW") throw new Error("not the usual recipe");
 * ```
 */
export function resolvePreprocess(options: PreprocessOptions, input: InputSpec): Preprocess {
  const wants = `the model wants ${formatSpec(input)} ${input.type} at input "${input.name}"`;
  const { length } = input.dims;
  if ((length !== 4 && length !== 3) || input.type !== "float32") {
    throw new AttuneError(
      "bad-data",
      `Cannot feed images: ${wants}, not float32 images; give the samples as .npy or .npz`,
    );
  }
  const dims = input.dims.slice(-3);
  const layout = options.layout ?? detectLayout(dims);
  if (layout === undefined) {
    throw new AttuneError(
      "bad-option",
      `Cannot tell channels from height and width: ${wants}; give the layout, NCHW or NHWC`,
    );
  }
  const [channelDim, heightDim, widthDim] = layout === "NCHW" ? dims : [dims[2], dims[0], dims[1]];
  const channels = typeof channelDim === "string" ? 3 : channelDim;
  if (channels !== 1 && channels !== 3) {
    throw new AttuneError(
      "bad-data",
      `Cannot feed images: ${wants}, with ${channels} channels in layout ${layout}; ` +
        `only 1 (gray) or 3 (RGB) can be fed from images, give the samples as .npy or .npz`,
    );
  }
  const crop = resolveCrop(options.crop, heightDim, widthDim, wants);
  const resize = options.resize ?? Math.round(Math.max(crop.height, crop.width) * 256 / 224);
  if (resize !== "none") checkPositive("resize", resize);
  const preset = presets[options.preset ?? "imagenet"];
  if (preset === undefined) {
    throw new AttuneError(
      "bad-option",
      `Cannot use preset "${options.preset}": give ${Object.keys(presets).join(", ")}`,
    );
  }
  return {
    resize,
    resizeAlways: options.resize !== undefined,
    filter: options.filter ?? "bilinear",
    crop,
    channels,
    mean: perChannel("mean", options.mean ?? preset.mean, channels),
    std: perChannel("std", options.std ?? preset.std, channels),
    layout,
  };
}

/** The axis with 1 or 3 elements holds the channels; if both do, the first: NCHW is ONNX's own. */
function detectLayout(dims: readonly (number | string)[]): ImageLayout | undefined {
  const isChannels = (dim: number | string) => dim === 1 || dim === 3;
  return isChannels(dims[0]) ? "NCHW" : isChannels(dims[2]) ? "NHWC" : undefined;
}

function resolveCrop(
  crop: PreprocessOptions["crop"],
  heightDim: number | string,
  widthDim: number | string,
  wants: string,
): { height: number; width: number } {
  const asked = typeof crop === "number" ? [crop, crop] : crop;
  const [height, width] = [heightDim, widthDim].map((dim, axis) => {
    const value = asked?.[axis] ?? dim;
    if (typeof value === "string") {
      throw new AttuneError(
        "bad-option",
        `Cannot tell the size of the images: ${wants}; give the crop, for example 224`,
      );
    }
    if (typeof dim === "number" && value !== dim) {
      throw new AttuneError(
        "bad-option",
        `Cannot crop to ${asked?.join("×")}: ${wants}; drop the crop`,
      );
    }
    return checkPositive("crop", value);
  });
  return { height, width };
}

function checkPositive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) {
    throw new AttuneError(
      "bad-option",
      `Cannot use ${name} ${value}: give a whole number of pixels`,
    );
  }
  return value;
}

/** One value per channel from one for all or, for gray, from three (their mean). */
function perChannel(name: "mean" | "std", values: readonly number[], channels: 1 | 3): number[] {
  if (values.length !== 1 && values.length !== 3) {
    throw new AttuneError(
      "bad-option",
      `Cannot use ${values.length} values as ${name}: give 1 or 3`,
    );
  }
  const invalid = values.find((v) => !Number.isFinite(v) || (name === "std" && v <= 0));
  if (invalid !== undefined) {
    throw new AttuneError(
      "bad-option",
      `Cannot use ${name} ${invalid}: give a ${name === "std" ? "positive " : ""}number`,
    );
  }
  if (values.length === 1) return Array(channels).fill(values[0]);
  return channels === 3 ? [...values] : [values.reduce((sum, v) => sum + v, 0) / 3];
}

/**
 * Gives an image the recipe's channels and size, up to the crop. Gray is 0.299 R + 0.587 G +
 * 0.114 B, and the longer side is rounded down, as in Pillow and torchvision.
 *
 * @throws {Error} where the image would be too large to hold.
 */
export function fitPixels(pixels: Pixels, recipe: Preprocess): Pixels {
  const { resize, resizeAlways, filter, crop, channels } = recipe;
  const image = withChannels(pixels, channels), { width, height } = image;
  const keepsSize = !resizeAlways && width === crop.width && height === crop.height;
  if (resize === "none" || keepsSize) return image;
  const short = Math.min(width, height);
  const scaled = (length: number) => Math.floor(resize * length / short);
  return resizePixels(image, { width: scaled(width), height: scaled(height) }, filter);
}

/** Gray as RGB, or RGB as gray. */
function withChannels({ width, height, channels: has, data }: Pixels, channels: 1 | 3): Pixels {
  if (has === channels) return { width, height, channels, data };
  const result = new Uint8Array(width * height * channels);
  if (channels === 3) {
    for (let i = 0; i < result.length; i++) {
      result[i] = data[Math.trunc(i / 3)];
    }
  } else {
    for (let i = 0, at = 0; i < result.length; i++, at += 3) {
      // Multiples of 2⁻¹⁶ that sum up to 1, so that gray stays what it is.
      const sum = data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471;
      result[i] = (sum + 0x8000) >> 16;
    }
  }
  return { width, height, channels, data: result };
}

/**
 * Crops the centre of an image and scales its values: pixels (height×width×channels) to a float32
 * tensor in the recipe's layout, without batch axis.
 *
 * Throws `AttuneError` `bad-data` if the image is smaller than the crop or has other channels.
 *
 * @example
 * ```ts
 * import { preprocessPixels, resolvePreprocess } from "./preprocess.ts";
 *
 * const input = { name: "image", dims: ["N", 1, 2, 2], type: "float32" } as const;
 * const recipe = resolvePreprocess({ preset: "unit" }, input);
 * const data = new Uint8Array([0, 51, 102, 255]);
 * const tensor = preprocessPixels({ width: 2, height: 2, channels: 1, data }, recipe);
 * if (tensor.data[3] !== 1) throw new Error("255 is not 1");
 * ```
 */
export function preprocessPixels(pixels: Pixels, recipe: Preprocess): TensorValue {
  const { crop: { height, width }, channels, mean, std, layout } = recipe;
  if (pixels.width < width || pixels.height < height || pixels.channels !== channels) {
    const remedy = recipe.resize === "none"
      ? "let images be resized"
      : `resize to at least ${Math.max(height, width)}`;
    throw new AttuneError(
      "bad-data",
      `Cannot crop an image of ${pixels.height}×${pixels.width}, ${pixels.channels} channels: the ` +
        `model wants ${height}×${width}, ${channels} channels; ${remedy}`,
    );
  }
  const top = Math.floor((pixels.height - height) / 2);
  const left = Math.floor((pixels.width - width) / 2);
  const data = new Float32Array(channels * height * width);
  const [channelStep, pixelStep] = layout === "NCHW" ? [height * width, 1] : [1, channels];
  for (let c = 0; c < channels; c++) {
    const scaled = Float32Array.from({ length: 256 }, (_, x) => (x / 255 - mean[c]) / std[c]);
    let to = c * channelStep;
    for (let y = 0; y < height; y++) {
      let from = ((top + y) * pixels.width + left) * channels + c;
      for (let x = 0; x < width; x++, to += pixelStep, from += channels) {
        data[to] = scaled[pixels.data[from]];
      }
    }
  }
  return { dims: layout === "NCHW" ? [channels, height, width] : [height, width, channels], data };
}
