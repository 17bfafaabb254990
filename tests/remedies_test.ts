/** What errors say in the words of the library, and the command line in flags. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { quantizeCommand } from "../src/cli/quantize.ts";
import { flagOf, messageWithFlags, REMEDY_OPTIONS } from "../src/cli/remedies.ts";
import { AttuneError, type Remedy } from "../src/errors.ts";
import { writeModel } from "../src/onnx/file.ts";
import { makeNode } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { Client, portPair, serve } from "../src/workers/rpc.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { build } from "./helpers/models.ts";

/** The code of every file of the library, without comments. */
function library(): [path: string, code: string][] {
  return readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".ts") && !path.startsWith("cli/"))
    .map((path) => {
      const code = readFileSync(join(root, "src", path), "utf8");
      return [path, code.replace(/\/\*[^]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "")];
    });
}

/** Flags in the texts of `code`; custom properties of a style sheet are none. */
function flagsIn(code: string): string[] {
  const styled = code.replace(/var\(--[\w-]+\)|--[\w-]+:/g, "");
  return styled.match(/(?<=[\s"'`(])--[a-z][\w-]*/g) ?? [];
}

Deno.test("no text of the library names a flag", () => {
  assertEquals(flagsIn('`use --override or "--data", var(--soft) --page: #fff ${i--}`'), [
    ...["--override", "--data"],
  ]);
  const files = library();
  assert(files.length > 150);
  assertEquals(
    files.flatMap(([path, code]) => flagsIn(code).map((flag) => `${path}: ${flag}`)),
    [],
  );
});

const REMEDIES: readonly Remedy[] = [
  { option: "backend", value: "web" },
  { option: "damping" },
  { option: "edgeBits" },
  { option: "format" },
  { option: "granularity" },
  { option: "nested", value: [8, 4] },
  { option: "overrides" },
  { option: "overrides", value: { pattern: "it's *", bits: "skip" } },
  { option: "resume", value: false },
  { option: "samples" },
  { option: "activationBits", value: "none" },
];

Deno.test("the command line has a flag for every option that errors name, and for no other", () => {
  const named = library().flatMap(([, code]) =>
    [...code.matchAll(/\boption: "(\w+)"/g)].map(([, option]) => option)
  );
  assertEquals(new Set(named), new Set(REMEDY_OPTIONS));
  assertEquals(new Set(REMEDIES.map(({ option }) => option)), new Set(REMEDY_OPTIONS));
  for (const remedy of REMEDIES) {
    const flag = /--([a-z-]+)/.exec(flagOf(remedy))?.[1];
    assert(flag !== undefined && flag in quantizeCommand.flags, flagOf(remedy));
  }
});

Deno.test("the command line says flags behind the sentence, fit for a shell", () => {
  const [backend, , , , granularity, nested, , override] = REMEDIES;
  assertEquals(flagOf(backend), "--backend web");
  assertEquals(flagOf(nested), "--nested 8,4");
  assertEquals(flagOf(override), `--override 'it'\\''s *=skip'`);
  const error = new AttuneError("too-large", "Too large: make it smaller", {
    remedies: [granularity, override],
  });
  assertEquals(
    messageWithFlags(error),
    `Too large: make it smaller (--granularity KIND or --override 'it'\\''s *=skip')`,
  );
  assertEquals(messageWithFlags(new AttuneError("bad-data", "No samples")), "No samples");
});

Deno.test("remedies come back from a worker", async () => {
  const remedies: Remedy[] = [{ option: "damping" }, { option: "nested", value: [8, 4] }];
  const service = {
    fail(): void {
      throw new AttuneError("bad-data", "Cannot go on", { remedies });
    },
  };
  const [near, far] = portPair();
  serve([service], far);
  using client = new Client<typeof service>(near);
  const error = await assertRejects(() => client.call("fail", []), AttuneError);
  assertEquals([error.code, error.remedies], ["bad-data", remedies]);
});

Deno.test("a user reads what to add to the command line", () =>
  inFolder(async (folder) => {
    const values = new Float32Array(64).fill(0.5);
    values[9] = NaN;
    const model = build({
      opset: 17,
      inputs: { x: [1, 8] },
      nodes: [makeNode("MatMul", "broken one", ["x", "w"], ["y"])],
      initializers: [floatTensor("w", [8, 8], values)],
      outputs: ["y"],
    });
    const path = join(folder, "model.onnx");
    writeModel(model, path);
    const { code, stderr } = await attune("inspect", path);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, "leave the node in float (--override 'broken one=skip')");
  }));
