/** Files become the same samples in a page as in Deno. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import sharp, { type Sharp } from "sharp";
import type { InputSpec } from "../src/onnx/inputs.ts";
import { openSamples } from "../src/samples/open.ts";
import type { Asked, Told } from "./helpers/browser_samples.ts";
import { CHROMIUM, runInChromium } from "./helpers/chromium.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { digestsOf, type FilesCase } from "./helpers/sample_digests.ts";

if (CHROMIUM === undefined) console.log("skipped: samples in a real browser need Chromium");

const [WIDTH, HEIGHT] = [37, 23];

/** Noise of 8 or 16 bits as an image. */
function noise(channels: 1 | 2 | 3 | 4, type: typeof Uint8Array | typeof Uint16Array = Uint8Array) {
  let state = 7 * channels;
  const data = new type(WIDTH * HEIGHT * channels).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  });
  return sharp(data, { raw: { width: WIDTH, height: HEIGHT, channels } });
}

const photograph = () => noise(3).blur(2);

/** Image files of every kind that decoders must agree on. */
const images: Record<string, Sharp> = {
  "cat/colours.png": noise(3).png(),
  "cat/transparent.png": noise(4).png(),
  "cat/gray.png": noise(1).toColourspace("b-w").png(),
  "cat/gray_transparent.png": noise(2).toColourspace("b-w").png(),
  "cat/palette.png": noise(3).png({ palette: true }),
  "cat/palette_transparent.png": noise(4).png({ palette: true, colours: 16 }),
  "dog/interlaced.png": noise(3).png({ progressive: true }),
  "dog/deep.png": noise(3, Uint16Array).toColourspace("rgb16").png(),
  "dog/deep_transparent.png": noise(4, Uint16Array).toColourspace("rgb16").png(),
  "dog/deep_gray.png": noise(1, Uint16Array).toColourspace("grey16").png(),
  "dog/profile.png": noise(3).withIccProfile("p3").png(),
  "dog/turned.png": noise(3).withMetadata({ orientation: 6 }).png(),
  "zebra/lossless.webp": noise(3).webp({ lossless: true }),
  "zebra/transparent.webp": noise(4).webp({ lossless: true, exact: true }),
  "zebra/lossy.webp": photograph().webp({ quality: 60 }),
};

/** JPEG files of both kinds of chroma, turned in all ways. */
const photographs = Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((orientation) => [
  `turned/${orientation}.jpg`,
  photograph().withMetadata({ orientation }).jpeg({
    chromaSubsampling: orientation % 2 ? "4:4:4" : "4:2:0",
  }),
]));

const colours: InputSpec = { name: "image", dims: ["N", 3, 16, 16], type: "float32" };
const gray: InputSpec = { name: "image", dims: ["N", 16, 16, 1], type: "float32" };
const ids: InputSpec = { name: "ids", dims: ["N", "T"], type: "int64" };
const mask: InputSpec = { name: "mask", dims: ["N", "T"], type: "bool" };
const grid: InputSpec = { name: "x", dims: ["N", 3, 4], type: "float32" };
const small: InputSpec = { name: "image", dims: ["N", 3, 32, 32], type: "float32" };

const cases: Record<string, FilesCase> = {
  "as they are": {
    paths: [...Object.keys(images), "dog/no_image.txt", "dog/.hidden.png", "cat/cut.png"],
    inputs: [colours],
    options: { preprocess: { preset: "raw", resize: "none" } },
  },
  "made smaller": { paths: Object.keys(images), inputs: [colours] },
  "made larger, cubic": {
    paths: Object.keys(images),
    inputs: [colours],
    options: { preprocess: { resize: 51, filter: "bicubic" } },
  },
  "gray, some of them": {
    paths: Object.keys(images),
    inputs: [gray],
    options: { limit: 9, seed: 3 },
  },
  "labels by a file": {
    paths: [...Object.keys(images).slice(0, 4), "labels.csv"],
    inputs: [colours],
  },
  ".npy": { paths: ["c_order.npy"], inputs: [grid] },
  ".npz": { paths: ["labelled.npz"], inputs: [grid] },
  ".jsonl": { paths: ["lines.jsonl"], inputs: [ids, mask] },
};

const lines = [
  '{"ids": [1, 2, 9007199254740991], "mask": [true, false, 1], "label": 3}',
  "",
  '{"inputs": {"mask": [0], "ids": [-7]}, "source": "mine"}',
].join("\r\n");

/** All files by their paths. */
async function drawFiles(): Promise<Record<string, Uint8Array>> {
  const text = (content: string) => new TextEncoder().encode(content);
  const files: Record<string, Uint8Array> = {
    "dog/no_image.txt": text("hello"),
    "dog/.hidden.png": text("hidden"),
    "labels.csv": text("file,label\ncat/colours.png,7\ncat/gray.png,5\n"),
    "lines.jsonl": text(lines),
  };
  for (const [path, image] of Object.entries({ ...images, ...photographs })) {
    files[path] = await image.toBuffer();
  }
  files["cat/cut.png"] = files["cat/colours.png"].subarray(0, 1000);
  for (const name of ["c_order.npy", "labelled.npz"]) {
    files[name] = readFileSync(join(root, "tests/fixtures", name));
  }
  const example = join(root, "examples/shapes/calib");
  for (const name of readdirSync(example)) {
    const image = sharp(join(example, name, "00.webp")).resize(40, 40, { kernel: "cubic" });
    for (const turn of [0, 90, 180, 270]) {
      files[`shapes/${name}/${turn}.png`] = await image.clone().rotate(turn).png().toBuffer();
    }
  }
  return files;
}

/** Writes those of `files` that are called `paths` into `folder`. */
function writeFiles(
  folder: string,
  files: Record<string, Uint8Array>,
  paths: readonly string[],
): void {
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), files[path]);
  }
}

/** What openSamples makes of a case. */
async function openCase(files: Record<string, Uint8Array>, { paths, inputs, options }: FilesCase) {
  const folder = Deno.makeTempDirSync();
  writeFiles(folder, files, paths);
  const [only] = paths;
  const set = await openSamples(paths.length === 1 ? join(folder, only) : folder, {
    ...options,
    inputs,
  });
  return { set, [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }) };
}

Deno.test({
  name: "files give the same samples, and models, in Chromium as in Deno",
  ignore: CHROMIUM === undefined,
  // esbuild and Chromium are processes that outlive a step of the test.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    const files = await drawFiles();
    const shapes = Object.keys(files).filter((path) => path.startsWith("shapes/"));
    const raw = { preset: "raw", resize: "none" } as const;
    const asked: Asked = {
      cases: Object.values(cases),
      pixels: {
        paths: Object.keys(photographs),
        inputs: [colours],
        options: { preprocess: raw },
      },
      job: { paths: shapes, inputs: [small] },
    };
    const model = readFileSync(join(root, "examples/shapes/shapes.onnx"));
    const told = await runInChromium<Told>({
      scripts: ["browser_samples.ts", "browser_samples_worker.ts"],
      files: {
        "/shapes.onnx": model,
        "/asked.json": new TextEncoder().encode(JSON.stringify(asked)),
        ...Object.fromEntries(Object.entries(files).map(([path, bytes]) => [`/${path}`, bytes])),
      },
    });
    for (const [i, [name, each]] of Object.entries(cases).entries()) {
      await t.step(name, async () => {
        using opened = await openCase(files, each);
        const expected = await digestsOf(opened.set);
        assert(expected.length > 2, "samples are read");
        assertEquals(told.page[i], expected, "the page");
        assertEquals(told.worker[i], expected, "a worker");
      });
    }
    await t.step("JPEG, turned as EXIF says, within what decoders may do", async () => {
      using opened = await openCase(files, asked.pixels);
      let at = 0;
      for await (const { source, inputs } of opened.set.samples()) {
        const bytes = Uint8Array.from(atob(told.pixels[at++]), (char) => char.charCodeAt(0));
        const values = inputs.image.data as Float32Array;
        assertEquals(bytes.length, values.length);
        const off = values.reduce((sum, value, i) => sum + Math.abs(value - bytes[i]), 0);
        // An image that is not turned, or mirrored, is 15 of 255 off.
        assert(off / values.length < 1, `${source}: ${off / values.length} of 255 in the mean`);
      }
      assertEquals(at, 8);
    });
    await t.step("a job, by the command line", () =>
      inFolder(async (folder) => {
        writeFiles(folder, files, shapes);
        const [from, to] = [join(root, "examples/shapes/shapes.onnx"), join(folder, "small.onnx")];
        const options = ["--bits=3", "--blocks", "--iterations=3", "--seed=3"];
        const { code, stderr } = await attune(from, `--data=${folder}`, ...options, "-o", to);
        assertEquals(code, 0, stderr);
        const digest = await crypto.subtle.digest("SHA-256", readFileSync(to));
        assertEquals(told.job, new Uint8Array(digest).toHex());
      }));
  },
});
