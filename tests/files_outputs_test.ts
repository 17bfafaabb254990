/** Files that are not what they seem: what is written over, and what is left behind. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import { readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { AttuneError } from "../src/errors.ts";
import { checkWritable, writeFileAtomic } from "../src/files/output.ts";
import { temporaryFolder, temporaryName } from "../src/files/temporary.ts";
import { readModel, writeModel } from "../src/onnx/file.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { bytesOf, floatTensor, readTensor } from "../src/onnx/tensor.ts";
import { attune, inFolder, root, run } from "./helpers/command_line.ts";
import { noise } from "./helpers/models.ts";
import {
  calib,
  isRoot,
  makeFifo,
  product,
  refused,
  shapes,
  unix,
  weights,
} from "./helpers/hostile_files.ts";

Deno.test({
  name: "an output is never what is read, by any name, and never another output",
  ignore: !unix,
  fn: () =>
    inFolder(async (folder) => {
      const at = (name: string) => join(folder, name);
      const model = at("m.onnx"), data = at("w.bin"), samples = at("x.npy");
      writeFileSync(model, serializeModel(product("w.bin")));
      writeFileSync(data, bytesOf(weights));
      const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (64, 20), }".padEnd(117) +
        "\n";
      const npy = Uint8Array.from("\x93NUMPY\x01\0\x76\0" + header, (c) => c.charCodeAt(0));
      writeFileSync(samples, new Uint8Array([...npy, ...bytesOf(noise(64 * 20, 3))]));
      linkSync(model, at("hard.onnx"));
      symlinkSync("m.onnx", at("soft.onnx"));
      symlinkSync("nowhere", at("dangling.onnx"));
      mkdirSync(at("images"));
      const before = [model, data, samples].map((path) => readFileSync(path));
      const job = [model, "--data", samples];
      const cases: [string[], RegExp][] = [
        [[...job, "-o", model], /same file as/],
        [[...job, "-o", at("hard.onnx")], /same file as/],
        [[...job, "-o", at("soft.onnx")], /same file as/],
        [[...job, "-o", at("dangling.onnx")], /dangling/],
        [[...job, "-o", data], /same file as .*w\.bin/],
        [[...job, "-o", samples], /same file as .*x\.npy/],
        [[...job, "-o", at("o"), "--report", model], /same file as/],
        [[...job, "-o", at("o"), "--report", at("images/../o")], /same file as/],
        [[...job, "-o", at("o"), "--report", at("o.checkpoint")], /same file as/],
        [["cut", model, "--bits", "4", "-o", at("hard.onnx")], /same file as/],
        [[...job, "-o", ""], /the path is empty/],
        [[...job, "-o", at("o/")], /names a folder/],
        [[...job, "-o", at("o".repeat(256))], /too long|ENAMETOOLONG/],
        [[shapes, "--data", calib, "-o", join(calib, "x.png")], /among the samples/],
      ];
      for (const [args, wanted] of cases) {
        const { code, stderr } = await attune(...args);
        assertEquals(code, 2, `${args}\n${stderr}`);
        assert(wanted.test(stderr), `${args}\n${stderr}`);
      }
      assertEquals([model, data, samples].map((path) => readFileSync(path)), before);
      // What a sweep would write is known before it begins.
      symlinkSync("m.onnx", at("s.3.onnx"));
      const swept = await attune(...job, "--sweep", "2..3", "-o", at("s.*.onnx"));
      assertEquals(swept.code, 2, swept.stderr);
      assertStringIncludes(swept.stderr, "same file as");
      // Names that are long, but not too long, work, with data files, too.
      const long = at("o".repeat(255));
      refused(() => checkWritable(at("o".repeat(256))), "bad-output", "Cannot write");
      writeModel(readModel(model), long);
      const read = readModel(long);
      assertEquals(readTensor(read.proto.graph.initializer[0], read.external), weights);
    }),
});

Deno.test({
  name: "only regular files are replaced; links and modes stay",
  ignore: !unix,
  fn: () =>
    inFolder(async (folder) => {
      const at = (name: string) => join(folder, name), one = [Uint8Array.of(1)];
      await makeFifo(at("pipe"));
      symlinkSync("pipe", at("to-pipe"));
      for (const name of ["pipe", "to-pipe"]) {
        refused(() => writeFileAtomic(at(name), one), "bad-output", "it is a pipe");
      }
      if (isRoot) {
        assertEquals((await run("mknod", [at("null"), "c", "1", "3"])).code, 0);
        refused(() => writeFileAtomic(at("null"), one), "bad-output", "it is a device");
        assert(lstatSync(at("null")).isCharacterDevice());
      }
      writeFileSync(at("file"), "old");
      chmodSync(at("file"), 0o640);
      symlinkSync("file", at("link"));
      writeFileAtomic(at("link"), one);
      assertEquals(readlinkSync(at("link")), "file");
      assertEquals([...readFileSync(at("file"))], [1]);
      assertEquals(statSync(at("file")).mode & 0o7777, 0o640);
      assertEquals(readdirSync(folder).filter((name) => name.includes("attune")), []);
      if (isRoot) return;
      mkdirSync(at("locked"));
      chmodSync(at("locked"), 0o555);
      chmodSync(at("file"), 0o440);
      for (const name of ["locked/new", "file"]) {
        refused(() => checkWritable(at(name)), "bad-output", "denied");
      }
    }),
});

Deno.test("a model and its data are never of two writes", () =>
  inFolder((folder) => {
    const path = join(folder, "m.onnx");
    const files = () => readdirSync(folder).sort();
    const changed = (by: number) => {
      const model = product();
      model.proto.graph.initializer[0] = floatTensor("w", [20, 30], weights.map((w) => w + by));
      return model;
    };
    const read = () => {
      const model = readModel(path);
      return readTensor(model.proto.graph.initializer[0], model.external);
    };
    writeModel(product(), path, { externalFile: true });
    const [first, data] = [readFileSync(path), files()[1]];
    // The same again gives the same names and bytes.
    writeModel(product(), path, { externalFile: true });
    assertEquals([files(), readFileSync(path)], [["m.onnx", data], first]);
    // Where the model cannot be replaced, the old one and its data stay whole.
    rmSync(path);
    mkdirSync(path);
    assertThrows(() => writeModel(changed(1), path, { externalFile: true }), AttuneError);
    rmSync(path, { recursive: true });
    writeFileSync(path, first);
    assertEquals(read(), weights);
    // Others' files stay, the old data goes.
    writeFileSync(join(folder, "m.onnx.data"), "mine");
    writeModel(changed(2), path, { externalFile: true });
    assertEquals(read(), weights.map((w) => w + 2));
    assert(!existsSync(join(folder, data)) && existsSync(join(folder, "m.onnx.data")));
    writeModel(changed(3), path);
    assertEquals(files(), ["m.onnx", "m.onnx.data"]);
    return Promise.resolve();
  }));

Deno.test("temporary files of processes that are gone are removed, those of others stay", () =>
  inFolder(async (folder) => {
    const before = Deno.env.get("TMPDIR");
    const gone = await new Deno.Command(Deno.execPath(), { args: ["eval", ""] }).spawn();
    await gone.status;
    Deno.env.set("TMPDIR", folder);
    try {
      using mine = temporaryFolder();
      const own = mine.path.slice(folder.length + 1);
      const left = own.replace(`-${Deno.pid}-`, `-${gone.pid}-`);
      assert(left !== own);
      for (const name of [left, "attune-other", "other"]) mkdirSync(join(folder, name));
      writeFileSync(join(folder, left, "x.spool"), "x");
      const half = `.${temporaryName()}`.replace(`-${Deno.pid}-`, `-${gone.pid}-`);
      writeFileSync(join(folder, half), "x");
      temporaryFolder()[Symbol.dispose]();
      writeFileAtomic(join(folder, "file"), []);
      assertEquals(readdirSync(folder).sort(), [own, "attune-other", "file", "other"].sort());
    } finally {
      if (before === undefined) Deno.env.delete("TMPDIR");
      else Deno.env.set("TMPDIR", before);
    }
    const env = { TMPDIR: join(folder, "none"), NO_COLOR: "1" };
    const args = ["run", "-A", join(root, "quantize.ts"), shapes, "--data", calib];
    args.push("-o", join(folder, "o.onnx"));
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, env }).output();
    assertEquals(code, 2, new TextDecoder().decode(stderr));
    assertStringIncludes(new TextDecoder().decode(stderr), "set TMPDIR");
  }));
