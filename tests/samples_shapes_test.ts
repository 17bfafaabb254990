import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { fileURLToPath } from "node:url";
import { classes } from "../examples/shapes/draw.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { openSamples } from "../src/samples/open.ts";
import type { InputSpec } from "../src/onnx/inputs.ts";

const shapes = new URL("../examples/shapes/", import.meta.url);
const inputs: InputSpec[] = [{ name: "image", dims: ["N", 3, 32, 32], type: "float32" }];

Deno.test("the example has the float accuracy that its README states", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", shapes));
  const [, right, total] = /(\d+) of (\d+)\s+validation\s+pictures\s+right/.exec(readme)!.map(
    Number,
  );
  const runtime = await loadBackend("web");
  const session = await runtime.open(await Deno.readFile(new URL("shapes.onnx", shapes)));
  const set = await openSamples(fileURLToPath(new URL("val", shapes)), { inputs });
  const data = new Float32Array(set.count * 3 * 32 * 32);
  const labels: number[] = [];
  for await (const sample of set.samples()) {
    data.set(sample.inputs.image.data as Float32Array, labels.length * 3 * 32 * 32);
    labels.push(sample.label!);
  }
  const image = { type: "float32", dims: [set.count, 3, 32, 32], data };
  const { logits } = await session.run({ image });
  await session.release();
  const found = labels.map((_, n) => {
    const row = Array.from(logits.data.slice(n * 10, n * 10 + 10), Number);
    return row.indexOf(Math.max(...row));
  });
  assertEquals(set.warnings, []);
  assertEquals(labels.length, total);
  assertEquals(found.filter((label, n) => label === labels[n]).length, right);
});

Deno.test("the example's classes are its folders, and the whole is small", async () => {
  let bytes = (await Deno.stat(new URL("shapes.onnx", shapes))).size;
  for (const folder of ["calib", "val"]) {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(new URL(folder, shapes))) {
      names.push(name);
      for await (const file of Deno.readDir(new URL(`${folder}/${name}`, shapes))) {
        bytes += (await Deno.stat(new URL(`${folder}/${name}/${file.name}`, shapes))).size;
      }
    }
    assertEquals(names.sort(), classes);
  }
  assert(bytes < 1_000_000, `${bytes} bytes`);
});
