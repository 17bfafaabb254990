import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { AttuneError } from "../src/errors.ts";
import { parseLabels } from "../src/samples/labels.ts";
import { openSamples, type OpenSamplesOptions } from "../src/samples/open.ts";
import type { SampleSet } from "../src/samples/sample.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";

const inputs: InputSpec[] = [{ name: "image", dims: ["N", 3, 8, 8], type: "float32" }];
const preprocess = { preset: "raw" } as const;
const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

/** An 8×8 image whose red is `red`, so that it can be told from the others. */
function image(red: number, format: "png" | "jpeg" | "webp" = "png"): Promise<Uint8Array> {
  const background = { r: red, g: 0, b: 0 };
  return sharp({ create: { width: 8, height: 8, channels: 3, background } }).toFormat(format)
    .toBuffer();
}

/** Writes files into a temporary folder for the time of `use`. */
async function withFolder(
  files: Record<string, string | Uint8Array | Promise<Uint8Array>>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [path, content] of Object.entries(files)) {
      await Deno.mkdir(join(folder, dirname(path)), { recursive: true });
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : await content;
      await Deno.writeFile(join(folder, path), bytes);
    }
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function open(folder: string, options: Partial<OpenSamplesOptions> = {}): Promise<SampleSet> {
  return openSamples(folder, { inputs, preprocess, ...options });
}

/** Source, label and red of each sample. */
async function collect(set: SampleSet): Promise<[string, number | undefined, number][]> {
  const rows: [string, number | undefined, number][] = [];
  for await (const { source, label, inputs } of set.samples()) {
    rows.push([source, label, Number(inputs.image.data[0])]);
  }
  return rows;
}

Deno.test("a folder gives its images sorted by code unit, whatever their format", async () => {
  const files = {
    "b.png": image(1),
    "B.PNG": image(2),
    "a10.png": image(3),
    "a2.webp": sharp(await image(4)).webp({ lossless: true }).toBuffer(),
    "notes.txt": "hello",
    ".hidden.png": image(5),
  };
  await withFolder(files, async (folder) => {
    const set = await open(folder);
    assertEquals(set.count, 4);
    const rows = await collect(set);
    assertEquals(rows, [
      ["B.PNG", undefined, 2],
      ["a10.png", undefined, 3],
      ["a2.webp", undefined, 4],
      ["b.png", undefined, 1],
    ]);
    assertEquals(await collect(set), rows); // a second pass is the same
  });
});

Deno.test("subfolders are classes by their sorted names, empty ones too", async () => {
  const files = {
    "zebra/1.png": image(1),
    "cat/deep/2.png": image(2),
    "cat/1.png": image(3),
    "dog/readme.txt": "no dogs yet",
    ".git/x.png": image(9),
  };
  await withFolder(files, async (folder) => {
    assertEquals(await collect(await open(folder)), [
      ["cat/1.png", 0, 3],
      ["cat/deep/2.png", 0, 2],
      ["zebra/1.png", 2, 1],
    ]);
  });
});

Deno.test("labels.csv wins over subfolders, and --labels over both", async () => {
  const files = {
    "a/1.png": image(1),
    "b/2.png": image(2),
    "labels.csv": "file,label\na/1.png,7\nb/2.png,8\n",
    "other.csv": '\uFEFFlabel,note,file\r\n5,"a, b","a/1.png"\r\n6,,./b/2.png\r\n',
  };
  await withFolder(files, async (folder) => {
    assertEquals((await collect(await open(folder))).map(([, label]) => label), [7, 8]);
    const other = await open(folder, { labels: join(folder, "other.csv") });
    assertEquals((await collect(other)).map(([, label]) => label), [5, 6]);
    const absent = () => open(folder, { labels: join(folder, "absent.csv") });
    await assertRejects(absent, AttuneError, "absent.csv");
  });
});

Deno.test("labels files that cannot be used name the line", () => {
  const refused: Record<string, string> = {
    "": `its first line is ""`,
    "name,class\n": `make it "file,label"`,
    "file,label\na.png,cat\n": "line 2",
    "file,label\na.png,1\nb.png,-1\n": "line 3",
    "file,label\na.png\n": "line 2",
    "file,label\n,3\n": "line 2",
    "file,label\na.png,1.5\n": "line 2",
  };
  for (const [text, message] of Object.entries(refused)) {
    assertThrows(() => parseLabels(text, "l.csv"), AttuneError, message);
  }
});

Deno.test("images without a label stay, with one warning", async () => {
  const files = { "a.png": image(1), "b.png": image(2), "labels.csv": "file,label\nb.png,3\n" };
  await withFolder(files, async (folder) => {
    const set = await open(folder);
    assertEquals((await collect(set)).map(([, label]) => label), [undefined, 3]);
    assertEquals(set.warnings.map((warning) => warning.message), [
      `1 of 2 images without a label, the first is "a.png"`,
    ]);
  });
});

Deno.test("files that are no complete image are left out with one warning each", async () => {
  const jpeg = await sharp({
    create: {
      width: 64,
      height: 64,
      channels: 3,
      background: "red",
      noise: { type: "gaussian", mean: 128, sigma: 40 },
    },
  }).jpeg().toBuffer();
  const files = {
    "empty.png": "",
    "good.png": image(6),
    "text.jpg": "this is no image",
    "truncated.jpg": jpeg.subarray(0, jpeg.length / 2),
  };
  await withFolder(files, async (folder) => {
    const seen: string[] = [];
    const set = await open(folder, { onWarning: (warning) => seen.push(warning.source) });
    assertEquals(set.count, 4);
    assertEquals(await collect(set), [["good.png", undefined, 6]]);
    await collect(set);
    assertEquals(seen, ["empty.png", "text.jpg", "truncated.jpg"]);
    assertEquals(set.warnings.map((warning) => warning.source), seen);
    assert(set.warnings.every((warning) => warning.message.length > 0));
  });
});

Deno.test("a folder without a usable image names the folder and the reason", async () => {
  await withFolder({ "readme.txt": "nothing here" }, async (folder) => {
    const error = await assertRejects(() => open(folder), AttuneError, folder);
    assertEquals(error.code, "bad-data");
  });
  await withFolder({ "small.png": image(1) }, async (folder) => {
    const large: InputSpec[] = [{ name: "image", dims: ["N", 3, 9, 9], type: "float32" }];
    const set = await open(folder, { inputs: large, preprocess: { resize: "none" } });
    await assertRejects(() => collect(set), AttuneError, "the model wants 9×9");
  });
});

Deno.test("a limit takes a seeded subset, in order, from every class", async () => {
  const files: Record<string, Promise<Uint8Array>> = {};
  for (let i = 0; i < 40; i++) files[`class${i % 4}/${String(i).padStart(2, "0")}.png`] = image(i);
  await withFolder(files, async (folder) => {
    const pick = async (seed: number) => {
      const set = await open(folder, { limit: 8, seed });
      assertEquals(set.count, 8);
      return (await collect(set)).map(([source]) => source);
    };
    const first = await pick(1);
    assertEquals(first, await pick(1));
    assertEquals(first, first.toSorted());
    assertEquals(new Set(first).size, 8);
    assertEquals(first.map((source) => source[5]).join(""), "00112233");
    assert((await pick(2)).join() !== first.join());
  });
});

Deno.test("a pass that is left early or aborted leaves nothing behind", async () => {
  const files: Record<string, Promise<Uint8Array>> = {};
  for (let i = 0; i < 12; i++) files[`${10 + i}.png`] = image(i);
  await withFolder(files, async (folder) => {
    const controller = new AbortController();
    const set = await open(folder, { signal: controller.signal });
    for await (const sample of set.samples()) {
      assertEquals(sample.source, "10.png");
      break;
    }
    controller.abort();
    const error = await assertRejects(() => collect(set), AttuneError);
    assertEquals(error.code, "aborted");
  });
});

Deno.test("images are resized to the model's input, unless they have its size", async () => {
  const large = sharp({ create: { width: 60, height: 30, channels: 3, background: "#0a0000" } });
  await withFolder({ "a.png": image(3), "b.png": large.png().toBuffer() }, async (folder) => {
    assertEquals((await collect(await open(folder))).map(([, , red]) => red), [3, 10]);
  });
});

Deno.test("openSamples refuses what it cannot open", async () => {
  const reject = (path: string, options: Partial<OpenSamplesOptions>, message: string) =>
    assertRejects(() => open(path, options), AttuneError, message);
  const here = fixture("");
  await reject(fixture("absent"), {}, "it does not exist");
  await reject(fixture("make_arrays.py"), {}, "give a folder of images");
  await reject(here, { limit: 0 }, "Cannot read 0 samples");
  await reject(here, { seed: 0.5 }, "Cannot use seed 0.5");
  await reject(here, { inputs: [...inputs, ...inputs] }, "the model has 2 inputs");
  await reject(fixture("c_order.npy"), { labels: "labels.csv" }, "give a .npy file");
});

Deno.test("openSamples reads .npy, .npz and .jsonl files", async () => {
  const grid: InputSpec[] = [{ name: "x", dims: ["N", 3, 4], type: "float32" }];
  const lines = [0, 12].map((from) =>
    [0, 4, 8].map((row) => [0, 1, 2, 3].map((i) => from + row + i))
  );
  await withFolder(
    { "lines.jsonl": lines.map((line) => JSON.stringify(line)).join("\n") },
    async (folder) => {
      for (
        const path of [fixture("c_order.npy"), fixture("labelled.npz"), join(folder, "lines.jsonl")]
      ) {
        const set = await open(path, { inputs: grid });
        const sums: number[] = [];
        for await (const { inputs } of set.samples()) {
          sums.push(Array.from(inputs.x.data, Number).reduce((a, b) => a + b));
        }
        assertEquals(sums, [66, 210]); // 0 + … + 11 and 12 + … + 23
      }
    },
  );
});

const imagenet = new URL("../../shared/data/imagenet/calib", import.meta.url);
const exists = await Deno.stat(imagenet).then(() => true, () => false);
Deno.test("real photographs become normalized inputs", { ignore: !exists }, async () => {
  const spec: InputSpec[] = [{ name: "x", dims: [1, 3, 224, 224], type: "float32" }];
  const options = { inputs: spec, preprocess: { resize: "none" }, limit: 40 } as const;
  const set = await openSamples(fileURLToPath(imagenet), options);
  let [sum, square, count] = [0, 0, 0];
  for await (const { inputs, label } of set.samples()) {
    assert(label !== undefined);
    for (const value of inputs.x.data as Float32Array) {
      sum += value;
      square += value * value;
    }
    count += inputs.x.data.length;
  }
  assertEquals(count, 40 * 3 * 224 * 224);
  // ImageNet's mean and deviation make about 0 and 1 of any good handful of photographs.
  assert(Math.abs(sum / count) < 0.3, `mean ${sum / count}`);
  assert(Math.abs(square / count - 1) < 0.4, `variance ${square / count}`);
});
