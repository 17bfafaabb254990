/**
 * Makes the example: trains the classifier on freshly drawn pictures and writes `shapes.onnx` and
 * the folders `calib` and `val`. Run it with `deno run -A examples/shapes/make.ts`.
 *
 * @module
 */

import { mkdir, rm, writeFile } from "node:fs/promises";
import sharp from "sharp";
import { preprocessPixels, resolvePreprocess } from "../../src/samples/preprocess.ts";
import { sharpDecoder } from "../../src/samples/sharp_decoder.ts";
import { classes, createRandom, draw, type Random, side } from "./draw.ts";
import { exportOnnx } from "./export.ts";
import { type Batch, train } from "./train.ts";

const seeds = { weights: 1, training: 2 };
const folders = { calib: { perClass: 25, seed: 3 }, val: { perClass: 40, seed: 4 } };
const steps = 1600;
const batchSize = 32;

const decoder = sharpDecoder();
const recipe = resolvePreprocess({ preset: "imagenet", layout: "NHWC" }, {
  name: "image",
  dims: ["N", side, side, 3],
  type: "float32",
});

function encode(label: number, random: Random): Promise<Uint8Array> {
  const raw = { width: side, height: side, channels: 3 as const };
  return sharp(draw(label, random), { raw }).webp({ quality: 60, effort: 4 }).toBuffer();
}

/** Pictures go through the file format in training too, so that the network knows its traces. */
async function drawBatch(random: Random): Promise<Batch> {
  const labels = Array.from({ length: batchSize }, () => Math.floor(random() * classes.length));
  const files = await Promise.all(labels.map((label) => encode(label, random)));
  const pixels = await Promise.all(files.map((file) => decoder.decode(file)));
  const data = new Float32Array(batchSize * side * side * 3);
  pixels.forEach((image, n) => {
    data.set(preprocessPixels(image, recipe).data as Float32Array, n * side * side * 3);
  });
  return { images: { data, n: batchSize, h: side, w: side, c: 3 }, labels };
}

const here = new URL("./", import.meta.url);
for (const [folder, { perClass, seed }] of Object.entries(folders)) {
  const random = createRandom(seed);
  await rm(new URL(folder, here), { recursive: true, force: true });
  for (const [label, name] of classes.entries()) {
    await mkdir(new URL(`${folder}/${name}`, here), { recursive: true });
    for (let i = 0; i < perClass; i++) {
      const file = new URL(`${folder}/${name}/${String(i).padStart(2, "0")}.webp`, here);
      await writeFile(file, await encode(label, random));
    }
  }
}

const random = createRandom(seeds.training);
let average = Math.log(classes.length);
const network = await train(steps, seeds.weights, () => drawBatch(random), (step, loss) => {
  average += 0.05 * (loss - average);
  if (step % 50 === 0) console.log(`step ${step} of ${steps}, loss ${average.toFixed(3)}`);
});
await writeFile(new URL("shapes.onnx", here), exportOnnx(network));
