/** A few hundred odd inputs of every kind; `deno task fuzz` tries as many as there is time for. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serializeModel } from "../../src/onnx/model.ts";
import { bytesOf } from "../../src/onnx/tensor.ts";
import { attune, inFolder } from "../helpers/command_line.ts";
import { npz } from "./arrays.ts";
import { KINDS, makeCase, samplesOf } from "./cases.ts";
import { DATA, DATA_FILE, MODELS } from "./corpus.ts";
import { fuzz } from "./loop.ts";

Deno.test("odd inputs of every kind: a result or a typed error, and nothing else changes", async () => {
  const { counts, finds, memory } = await fuzz({ seed: 1, count: 110 });
  assertEquals(finds, []);
  assert(memory < 2e9, `${memory}`);
  for (const kind of Object.keys(KINDS)) {
    if (kind !== "shared") assert(kind in counts, `no input of the kind ${kind}`);
  }
  // Where all were refused, or none, nothing would have been tried.
  const { done, refused } = counts.model;
  assert(done > 10 && refused > 10, `${done} done, ${refused} refused`);
});

Deno.test("the same seed makes the same inputs", () =>
  inFolder(async (root) => {
    for (const kind of Object.keys(KINDS)) {
      if (kind === "shared") continue;
      const made = [];
      for (let i = 0; i < 2; i++) {
        const folder = Deno.makeTempDirSync({ dir: root });
        const job = await makeCase(kind, 5, folder);
        const args = "args" in job ? job.args.map((arg) => arg.replaceAll(folder, "")) : [];
        const files = readdirSync(folder, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile()).map(({ name, parentPath }) => [
            name,
            [...readFileSync(join(parentPath, name))],
          ]);
        made.push({ args, files: files.sort() });
      }
      assertEquals(made[0], made[1], kind);
    }
  }));

Deno.test("mutations start from models that are quantized without a word of complaint", () =>
  inFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    writeFileSync(at(DATA_FILE), bytesOf(DATA));
    const names = Object.keys(MODELS);
    const codes = await Promise.all(names.map(async (name) => {
      const model = MODELS[name]();
      writeFileSync(at(`${name}.onnx`), serializeModel(model));
      writeFileSync(at(`${name}.npz`), npz(samplesOf(model)));
      const data = ["--data", at(`${name}.npz`), "--threads=0"];
      const { code, stderr } = await attune(
        at(`${name}.onnx`),
        ...data,
        "-o",
        at(`${name}.q.onnx`),
      );
      return code === 0 ? "" : `${name}: ${stderr}`;
    }));
    assertEquals(codes.filter(Boolean), []);
  }));
