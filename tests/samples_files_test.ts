/** Files that a page was given, without a page: by a decoder that the caller brings. */

import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { AttuneError } from "../src/errors.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";
import { openFiles, type OpenFilesOptions, type SampleFile } from "../src/samples/open_files.ts";
import { sharpDecoder } from "../src/samples/sharp_decoder.ts";
import { root } from "./helpers/command_line.ts";

const image: InputSpec = { name: "image", dims: ["N", 3, 4, 4], type: "float32" };
const grid: InputSpec = { name: "x", dims: ["N", 3, 4], type: "float32" };
const preprocess = { preset: "raw" } as const;

/** A PNG whose red is `red`, so that it can be told from the others. */
async function png(red: number): Promise<Uint8Array<ArrayBuffer>> {
  const background = { r: red, g: 0, b: 0 };
  const solid = sharp({ create: { width: 4, height: 4, channels: 3, background } });
  return new Uint8Array(await solid.png().toBuffer());
}

/** A file in a folder that was chosen. */
function chosen(path: string, content: BlobPart): File {
  const file = new File([content], path.split("/").pop()!);
  return Object.defineProperty(file, "webkitRelativePath", { value: path });
}

/** Source, label and first element of each sample. */
async function collect(files: Iterable<SampleFile>, options: Partial<OpenFilesOptions> = {}) {
  const decoder = sharpDecoder();
  const set = await openFiles(files, { inputs: [image], preprocess, decoder, ...options });
  const samples = await Array.fromAsync(set.samples());
  return samples.map(({ source, label, inputs }) => [
    source,
    label,
    Number(Object.values(inputs)[0].data[0]),
  ]);
}

Deno.test("a folder that was chosen is read as openSamples reads it", async () => {
  const files = [
    chosen("set/zebra/1.png", await png(1)),
    chosen("set/cat/deep/2.png", await png(2)),
    chosen("set/dog/readme.txt", "no dogs yet"),
    chosen("set/.git/3.png", await png(3)),
    chosen("set/cat/.4.png", await png(4)),
  ];
  assertEquals(await collect(files), [["cat/deep/2.png", 0, 2], ["zebra/1.png", 2, 1]]);
  const labels = chosen("set/labels.csv", "file,label\nzebra/1.png,8\ncat/deep/2.png,9\n");
  const labelled = [["cat/deep/2.png", 9, 2], ["zebra/1.png", 8, 1]];
  assertEquals(await collect([...files, labels]), labelled);
  assertEquals(await collect(files, { labels }), labelled);
});

Deno.test("files go by their names, blobs by their order, dropped ones by the given path", async () => {
  const blob = async (red: number) => new Blob([await png(red)], { type: "image/png" });
  const files = [new File([await png(1)], "b.png"), new File([await png(2)], "a.png")];
  assertEquals(await collect(files), [["a.png", undefined, 2], ["b.png", undefined, 1]]);
  const blobs = await Promise.all(Array.from({ length: 11 }, (_, i) => blob(i)));
  assertEquals((await collect(blobs)).map(([, , red]) => red), Array.from(blobs, (_, i) => i));
  const dropped = [
    { path: "cat/1.png", file: await blob(5) },
    { path: "ant/1.png", file: await blob(6) },
  ];
  assertEquals(await collect(dropped), [["ant/1.png", 0, 6], ["cat/1.png", 1, 5]]);
});

Deno.test("an array may have its labels beside it", async () => {
  const read = (name: string) => new Uint8Array(readFileSync(join(root, "tests/fixtures", name)));
  const array = new File([read("c_order.npy")], "array.npy");
  const plain = await collect([array], { inputs: [grid] });
  assertEquals(plain, [["array.npy[0]", undefined, 0], ["array.npy[1]", undefined, 12]]);
  const header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  const text = "\x93NUMPY\x01\x00" + String.fromCharCode(header.length, 0) + header + "\x05\x06";
  const labels = new File([Uint8Array.from(text, (char) => char.charCodeAt(0))], "labels.npy");
  const labelled = await collect([labels, array], { inputs: [grid] });
  assertEquals(labelled.map(([, label]) => label), [5, 6]);
  const lines = new File(["[[1,2,3,4],[5,6,7,8],[9,10,11,12]]"], "lines.JSONL");
  assertEquals(await collect([lines], { inputs: [grid] }), [["lines.JSONL:1", undefined, 1]]);
});

Deno.test("files that are not all of a kind, or of none, are refused", async () => {
  const array = new File([], "a.npy"), picture = new File([await png(1)], "b.png");
  const refused: [SampleFile[], Partial<OpenFilesOptions>, string][] = [
    [[], {}, "Cannot find images in the files: give .jpg, .png or .webp files"],
    [[new File([], "a.txt"), new Blob([])], {}, "Cannot find images"],
    [[array, picture], {}, `Cannot read samples from "a.npy" and images at once`],
    [[array, new File([], "b.npz")], {}, `from "a.npy" and "b.npz" at once`],
    [[picture], { limit: 0 }, "Cannot read 0 samples"],
    [[picture], { seed: NaN }, "Cannot use seed NaN"],
    [[picture], { batchAxis: 7 }, "Cannot take axis 7"],
    [[picture], { inputs: [image, grid] }, "the model has 2 inputs"],
    [[picture], { labels: new Blob(["a,b"]) }, `Cannot read labels from "labels.csv"`],
    [[new File(["text"], "a.png")], {}, "Cannot use any of the 1 images in the files"],
  ];
  for (const [files, options, message] of refused) {
    await assertRejects(() => collect(files, options), AttuneError, message);
  }
});
