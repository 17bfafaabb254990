import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import sharp from "sharp";
import { AttuneError } from "../src/errors.ts";
import {
  fitPixels,
  type PreprocessOptions,
  preprocessPixels,
  type PreprocessPreset,
  resolvePreprocess,
} from "../src/samples/preprocess.ts";
import { checkSample, type TensorData } from "../src/samples/sample.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";
import { chooseSpread } from "../src/samples/sampling.ts";
import { sharpDecoder } from "../src/samples/sharp_decoder.ts";

const input = (...dims: (number | string)[]): InputSpec => ({ name: "x", dims, type: "float32" });
const decoder = sharpDecoder();

/** What each preset makes of the pixel (0, 51, 255). */
const presets: Record<PreprocessPreset, number[]> = {
  imagenet: [-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225],
  unit: [0, 0.2, 1],
  signed: [-1, 51 / 127.5 - 1, 1],
  raw: [0, 51, 255],
};
for (const [preset, expected] of Object.entries(presets)) {
  Deno.test(`preset ${preset} scales values`, () => {
    const recipe = resolvePreprocess({ preset: preset as PreprocessPreset }, input("N", 3, 1, 1));
    const pixel = { width: 1, height: 1, channels: 3, data: Uint8Array.of(0, 51, 255) } as const;
    const { data } = preprocessPixels(pixel, recipe);
    expected.forEach((value, c) => assertAlmostEquals(Number(data[c]), value, 1e-6));
  });
}

Deno.test("mean and std take the preset's place", () => {
  const recipe = resolvePreprocess({ mean: [0.5], std: [0.1, 0.2, 0.4] }, input("N", 3, 1, 1));
  const white = { width: 1, height: 1, channels: 3, data: new Uint8Array(3).fill(255) } as const;
  assertEquals(preprocessPixels(white, recipe).data, new Float32Array([5, 2.5, 1.25]));
});

Deno.test("the layout follows from the input, and the crop takes the centre", () => {
  // A 4×4 image whose values are 10·row + column, the same in all channels plus 100 per channel.
  const values = Array.from({ length: 48 }, (_, i) => {
    const [position, c] = [Math.floor(i / 3), i % 3];
    return 10 * Math.floor(position / 4) + position % 4 + 50 * c;
  });
  const pixels = { width: 4, height: 4, channels: 3, data: Uint8Array.from(values) } as const;
  const options = { preset: "raw", resize: "none" } as const;
  const planes = preprocessPixels(pixels, resolvePreprocess(options, input("N", 3, 2, 2)));
  assertEquals(planes.dims, [3, 2, 2]);
  assertEquals([...planes.data], [11, 12, 21, 22, 61, 62, 71, 72, 111, 112, 121, 122]);
  const last = preprocessPixels(pixels, resolvePreprocess(options, input("N", 2, 2, 3)));
  assertEquals(last.dims, [2, 2, 3]);
  assertEquals([...last.data], [11, 61, 111, 12, 62, 112, 21, 71, 121, 22, 72, 122]);
  const wide = preprocessPixels(pixels, resolvePreprocess(options, input("N", 3, 2, 4)));
  assertEquals([...wide.data.slice(0, 8)], [10, 11, 12, 13, 20, 21, 22, 23]);
});

Deno.test("the recipe is complete and plain", () => {
  assertEquals(resolvePreprocess({}, input(1, 3, 224, 224)), {
    resize: 256,
    resizeAlways: false,
    filter: "bilinear",
    crop: { height: 224, width: 224 },
    channels: 3,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    layout: "NCHW",
  });
  const gray = resolvePreprocess({ crop: 28, layout: "NHWC" }, input("N", "h", "w", 1));
  assertEquals([gray.crop, gray.channels, gray.resize], [{ height: 28, width: 28 }, 1, 32]);
  assertAlmostEquals(gray.mean[0], 0.449, 1e-9);
  assertEquals(gray.mean.length, 1);
});

Deno.test("options that cannot be used say so", () => {
  const refused: [PreprocessOptions, InputSpec, string][] = [
    [{}, input("N", 128), "the model wants N×128 float32"],
    [{}, input("N", "T", 3, 8, 8), "not float32 images"],
    [{}, { ...input("N", 3, 8, 8), type: "uint8" }, "not float32 images"],
    [{}, input("N", 4, 8, 8), "give the layout"],
    [{ layout: "NCHW" }, input("N", 4, 8, 8), "with 4 channels"],
    [{}, input("N", 3, "h", "w"), "give the crop"],
    [{ crop: 9 }, input("N", 3, 8, 8), "Cannot crop to 9×9"],
    [{ resize: 0 }, input("N", 3, 8, 8), "resize 0"],
    [{ resize: 7.5 }, input("N", 3, 8, 8), "resize 7.5"],
    [{ mean: [1, 2] }, input("N", 3, 8, 8), "2 values as mean"],
    [{ std: [0] }, input("N", 3, 8, 8), "std 0"],
    [{ mean: [NaN] }, input("N", 3, 8, 8), "mean NaN"],
    [{ preset: "vgg" as PreprocessPreset }, input("N", 3, 8, 8), `preset "vgg"`],
  ];
  for (const [options, spec, message] of refused) {
    assertThrows(() => resolvePreprocess(options, spec), AttuneError, message);
  }
});

Deno.test("an image below the crop says what the model wants", () => {
  const recipe = resolvePreprocess({ resize: "none" }, input("N", 3, 8, 8));
  const small = { width: 8, height: 7, channels: 3, data: new Uint8Array(168) } as const;
  assertThrows(() => preprocessPixels(small, recipe), AttuneError, "the model wants 8×8");
});

function solid(width: number, height: number, background: string) {
  return sharp({ create: { width, height, channels: 3, background } });
}

/** What the recipe of `options` makes of an image file for an input of 3×`side`×`side`. */
async function fit(file: Uint8Array, options: PreprocessOptions, side = 8) {
  return fitPixels(
    await decoder.decode(file),
    resolvePreprocess(options, input("N", 3, side, side)),
  );
}

Deno.test("the short side is resized, and the wanted size is left alone", async () => {
  const png = await solid(40, 20, "#204060").png().toBuffer();
  for (const filter of ["bilinear", "bicubic"] as const) {
    const { width, height, data } = await fit(png, { resize: 10, filter });
    assertEquals([width, height, ...data.subarray(0, 3)], [20, 10, 0x20, 0x40, 0x60]);
  }
  const square = await solid(8, 8, "red").png().toBuffer();
  assertEquals((await fit(square, {})).width, 8);
  assertEquals((await fit(square, { resize: 9 })).width, 9);
  // The long side is rounded down, as by torchvision: 10 · 31/20 is 15.5.
  const odd = await solid(31, 20, "red").png().toBuffer();
  assertEquals((await fit(odd, { resize: 10 })).width, 15);
});

Deno.test("images that are too large to hold are refused", async () => {
  // A few hundred bytes that say they are 10⁸ pixels and more; and a line that a resize makes so.
  const bomb = await solid(20_000, 6_000, "red").png({ compressionLevel: 9 }).toBuffer();
  await assertRejects(() => decoder.decode(bomb), Error, "more than 100 million pixels");
  const line = await solid(4_000, 1, "red").png().toBuffer();
  await assertRejects(() => fit(line, { resize: 256 }), Error, "million pixels");
});

Deno.test("images are fed to an input without batch axis, too", () => {
  const recipe = resolvePreprocess({}, input(3, 224, 224));
  assertEquals([recipe.layout, recipe.resize, recipe.crop.width], ["NCHW", 256, 224]);
  assertEquals(resolvePreprocess({}, input(8, 9, 1)).layout, "NHWC");
});

Deno.test("the decoder turns images as EXIF says before it resizes", async () => {
  const upright = await solid(16, 8, "red").composite([{
    input: await solid(8, 8, "blue").png().toBuffer(),
    left: 0,
    top: 0,
  }]).png().toBuffer();
  // Orientation 6: turn by 90° clockwise, so what was left (blue) comes to the top.
  const turned = await sharp(upright).withMetadata({ orientation: 6 }).png().toBuffer();
  const { width, height, data } = await fit(turned, { resize: 8 });
  assertEquals([width, height], [8, 16]);
  assertEquals([...data.subarray(0, 3), ...data.subarray(-3)], [0, 0, 255, 255, 0, 0]);
});

Deno.test("the decoder gives 8-bit RGB or gray from any kind of file", async () => {
  const rgba = await sharp({
    create: { width: 2, height: 2, channels: 4, background: { r: 10, g: 20, b: 30, alpha: 0 } },
  }).png().toBuffer();
  assertEquals([...(await decoder.decode(rgba)).data.subarray(0, 4)], [10, 20, 30, 10]);
  const gray = await solid(2, 2, "#808080").toColourspace("b-w").png().toBuffer();
  assertEquals([...(await decoder.decode(gray)).data], Array(12).fill(128));
  const one = resolvePreprocess({}, input("N", 1, 2, 2));
  assertEquals([...fitPixels(await decoder.decode(gray), one).data], Array(4).fill(128));
  // Pillow's own figures for pure colours.
  const colours = Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3);
  const rgb = { width: 2, height: 2, channels: 3, data: colours } as const;
  assertEquals([...fitPixels(rgb, one).data], [76, 150, 29, 2]);
  const deep = await solid(2, 2, "#ff8040").toColourspace("rgb16").png().toBuffer();
  assertEquals([...(await decoder.decode(deep)).data.subarray(0, 3)], [255, 128, 64]);
  for (const format of ["jpeg", "webp"] as const) {
    const { data } = await decoder.decode(await solid(8, 8, "#c83200").toFormat(format).toBuffer());
    assertAlmostEquals(data[0], 200, 4);
    assertAlmostEquals(data[2], 0, 4);
  }
});

Deno.test("samples are checked against the model's inputs", () => {
  const spec = input("N", 2);
  const make = (inputs: Parameters<typeof checkSample>[0]["inputs"]) => () =>
    checkSample({ inputs, source: "s" }, [spec]);
  const refused: [() => unknown, string][] = [
    [make({}), "the sample has none"],
    [make({ y: { dims: [2], data: new Float32Array(2) } }), `no input "y"`],
    [
      make({ x: { dims: [3], data: new Float32Array(3) } }),
      "the sample has 3; give it the shape 2 (or N×2 for a whole input)",
    ],
    [make({ x: { dims: [2], data: new Float32Array(3) } }), "Float32Array of 3 elements"],
    [make({ x: { dims: [2], data: new Int32Array(2) } }), "has a Int32Array of 2"],
  ];
  const broken: [InputSpec["type"], TensorData][] = [
    ["float32", Float32Array.of(0, NaN)],
    ["float64", Float64Array.of(0, -Infinity)],
    ["float16", Uint16Array.of(0, 0xfc00)],
  ];
  for (const [type, data] of broken) {
    refused.push([
      () => checkSample({ inputs: { x: { dims: [2], data } }, source: "s" }, [{ ...spec, type }]),
      `sample "s": element 1 of input "x" is`,
    ]);
  }
  for (const [check, message] of refused) assertThrows(check, AttuneError, message);
  make({ x: { dims: [2], data: new Float32Array(2) } })();
  make({ x: { dims: [5, 2], data: new Float32Array(10) } })();
});

Deno.test("the choice is spread, without repetition, and depends on the seed alone", () => {
  // Written down: the choice must be the same on every engine and in every version.
  assertEquals(chooseSpread(100, 5, 0), [5, 22, 47, 66, 88]);
  for (const [count, limit] of [[10, 10], [10, 99], [1, 1], [1000, 7], [7, 3]]) {
    for (let seed = 0; seed < 20; seed++) {
      const chosen = chooseSpread(count, limit, seed);
      const size = Math.min(count, limit);
      assertEquals(chosen.length, size);
      chosen.forEach((position, i) => {
        const inStretch = position >= Math.floor(i * count / size) &&
          position < Math.floor((i + 1) * count / size);
        assertEquals(inStretch, true, `${position} is outside of stretch ${i}`);
      });
    }
  }
  const seeds = new Set(Array.from({ length: 50 }, (_, s) => chooseSpread(1000, 5, s).join()));
  assertEquals(seeds.size, 50);
});

Deno.test("over many seeds every position of a stretch is chosen about equally often", () => {
  const counts = new Array(10).fill(0);
  for (let seed = 0; seed < 5000; seed++) {
    for (const p of chooseSpread(20, 2, seed)) counts[p % 10]++;
  }
  counts.forEach((count) => assertAlmostEquals(count, 1000, 150)); // five standard deviations
});
