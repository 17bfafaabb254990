/**
 * Files that are not what they seem: what is read, what is written over, and what is shown of
 * names.
 */

import { create } from "@bufbuild/protobuf";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import { readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointFile } from "../src/calibrate/checkpoint_file.ts";
import { Cutter } from "../src/emit/narrow.ts";
import { AttuneError } from "../src/errors.ts";
import { checkWritable, writeFileAtomic } from "../src/files/output.ts";
import { temporaryFolder, temporaryName } from "../src/files/temporary.ts";
import { dataFiles, readModel, writeModel } from "../src/onnx/file.ts";
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from "../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model, parseModel, serializeModel } from "../src/onnx/model.ts";
import { bytesOf, DataType, floatTensor, rawTensor, readTensor } from "../src/onnx/tensor.ts";
import { matchesPattern } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { openSamples } from "../src/samples/open.ts";
import { attune, inFolder, root, run } from "./helpers/command_line.ts";
import { bodyAttribute, build, graphOf, noise } from "./helpers/models.ts";

const shapes = join(root, "examples/shapes/shapes.onnx");
const calib = join(root, "examples/shapes/calib");
const isRoot = Deno.uid() === 0, unix = Deno.build.os !== "windows";
const weights = noise(600);

/** A MatMul with the weight `w`, in a file where `location` is given. */
function product(location?: string): Model {
  const w = floatTensor("w", [20, 30], weights);
  const nodes = [makeNode("MatMul", "product", ["x", "w"], ["y"])];
  const model = build({
    opset: 13,
    inputs: { x: ["N", 20] },
    nodes,
    initializers: [w],
    outputs: ["y"],
  });
  if (location !== undefined) {
    const tensor = model.proto.graph.initializer[0] = rawTensor(
      "w",
      DataType.FLOAT,
      [20, 30],
      new Uint8Array(),
    );
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = [
      create(StringStringEntryProtoSchema, { key: "location", value: location }),
    ];
  }
  return model;
}

async function makeFifo(path: string): Promise<void> {
  assertEquals((await run("mkfifo", [path])).code, 0);
}

function refused(work: () => unknown, code: string, words: string): void {
  const error = assertThrows(work, AttuneError);
  assertEquals(error.code, code, error.message);
  assertStringIncludes(error.message, words);
}

Deno.test({
  name: "external data: regular files in the model's folder, whatever links lead there",
  ignore: !unix,
  fn: () =>
    inFolder(async (folder) => {
      const home = join(folder, "home"), path = join(home, "m.onnx");
      mkdirSync(join(home, "sub"), { recursive: true });
      const secret = join(folder, "secret"), inside = join(home, "inside");
      for (const file of [secret, inside]) writeFileSync(file, bytesOf(weights));
      symlinkSync(secret, join(home, "out"));
      symlinkSync(folder, join(home, "way"));
      symlinkSync("../inside", join(home, "sub/in"));
      symlinkSync("nowhere", join(home, "dangling"));
      linkSync(secret, join(home, "hard"));
      await makeFifo(join(home, "pipe"));
      const read = (location: string) => {
        writeFileSync(path, serializeModel(product(location)));
        const model = readModel(path);
        return readTensor(model.proto.graph.initializer[0], model.external);
      };
      assertEquals(read("inside"), weights);
      assertEquals(read("sub/in"), weights);
      for (
        const [location, words] of [
          ["out", "outside"],
          ["way/secret", "outside"],
          ["hard", "hard link"],
          ["pipe", "it is a pipe"],
          ["sub", "it is a folder"],
          ["dangling", "dangling"],
        ]
      ) refused(() => read(location), "bad-model", words);
      if (!isRoot) return;
      assertEquals((await run("mknod", [join(home, "zero"), "c", "1", "5"])).code, 0);
      refused(() => read("zero"), "bad-model", "it is a device");
    }),
});

Deno.test({
  name: "external data: a cache whose models are links into a folder of blobs",
  ignore: !unix,
  fn: () =>
    inFolder((folder) => {
      const blobs = join(folder, "blobs"), snapshot = join(folder, "snapshots/1");
      mkdirSync(blobs);
      mkdirSync(snapshot, { recursive: true });
      writeFileSync(join(blobs, "aa"), serializeModel(product("m.onnx_data")));
      writeFileSync(join(blobs, "bb"), bytesOf(weights));
      writeFileSync(join(folder, "secret"), bytesOf(weights));
      symlinkSync("../../blobs/aa", join(snapshot, "m.onnx"));
      symlinkSync("../../blobs/bb", join(snapshot, "m.onnx_data"));
      const read = () => {
        const model = readModel(join(snapshot, "m.onnx"));
        return readTensor(model.proto.graph.initializer[0], model.external);
      };
      assertEquals(read(), weights);
      rmSync(join(snapshot, "m.onnx_data"));
      symlinkSync("../../secret", join(snapshot, "m.onnx_data"));
      refused(read, "bad-model", "outside");
      return Promise.resolve();
    }),
});

Deno.test("dataFiles: those of bodies and attributes, too", () => {
  const model = product("a.bin");
  const constant = makeNode("Constant", "", [], ["c"]);
  constant.attribute.push({
    ...bodyAttribute("value", graphOf({ inputs: {}, nodes: [], outputs: [] })),
  });
  constant.attribute[0].g = undefined;
  constant.attribute[0].t = product("b.bin").proto.graph.initializer[0];
  const body = graphOf({
    inputs: {},
    nodes: [constant],
    initializers: [product("c.bin").proto.graph.initializer[0]],
    outputs: ["c"],
  });
  const branch = makeNode("If", "", ["x"], ["z"]);
  branch.attribute.push(bodyAttribute("then_branch", body));
  model.proto.graph.node.push(branch);
  const found = dataFiles(model, join("folder", "m.onnx")).sort();
  assertEquals(found, ["a.bin", "b.bin", "c.bin"].map((name) => join("folder", name)));
});

Deno.test({
  name: "nothing waits for a pipe: model, reference, samples, labels, images, checkpoint",
  ignore: !unix,
  fn: () =>
    inFolder(async (folder) => {
      const at = (name: string) => join(folder, name);
      for (const name of ["m.onnx", "x.npy", "x.npz", "l.csv", "o.onnx.checkpoint"]) {
        await makeFifo(at(name));
      }
      const images = at("images");
      mkdirSync(images);
      await makeFifo(join(images, "pipe.png"));
      const out = ["-o", at("new.onnx")];
      const cases: [string[], RegExp][] = [
        [[at("m.onnx"), "--dry-run"], /m\.onnx: it is a pipe/],
        [["evaluate", shapes, "--reference", at("m.onnx"), "--data", calib], /it is a pipe/],
        [[shapes, "--data", at("x.npy"), ...out], /x\.npy.*it is a pipe/],
        [[shapes, "--data", at("x.npz"), ...out], /x\.npz.*it is a pipe/],
        [["evaluate", shapes, "--data", calib, "--labels", at("l.csv")], /l\.csv.*it is a pipe/],
        [[shapes, "--data", images, ...out], /it is a pipe/],
        [[shapes, "--data", calib, "-o", at("m.onnx")], /m\.onnx: it is a pipe/],
        [[shapes, "--data", calib, "-o", at("o.onnx"), "--resume"], /checkpoint: it is a pipe/],
        [[shapes, "--data", calib, ...out, "--report", at("l.csv")], /l\.csv: it is a pipe/],
      ];
      for (const [args, wanted] of cases) {
        const { code, stderr } = await attune(...args);
        assertEquals(code, 2, stderr);
        assert(wanted.test(stderr), stderr);
      }
      refused(() => checkpointFile(at("o.onnx")).load(), "bad-option", "it is a pipe");
      // Among good images, it is one that is left out.
      const set = await openSamples(images, { inputs: makePlan(readModel(shapes)).graph.inputs });
      await assertRejects(() => Array.fromAsync(set.samples()), AttuneError, "it is a pipe");
    }),
});

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

Deno.test("names that steer a terminal are shown escaped, in plans, errors and JSON", () =>
  inFolder(async (folder) => {
    const evil = "a\x1b[2J\u202egnp.\nerror: b\x9b", path = join(folder, "m.onnx");
    const model = product();
    model.proto.graph.node[0].name = evil;
    model.proto.graph.node.push(makeNode("Sin", evil, ["y"], [evil]));
    model.proto.graph.output[0].name = evil;
    writeFileSync(path, serializeModel(model));
    // deno-lint-ignore no-control-regex -- control characters are what is looked for
    const steers = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^error: b/m;
    const runs = [
      ["inspect", path],
      ["inspect", path, "--json"],
      [path, "--dry-run", "--override", "a*=8"],
      [path, "--dry-run", "--override", `none${evil}=3`],
    ];
    for (const args of runs) {
      const { stdout, stderr } = await attune(...args);
      assert(!steers.test(stdout + stderr), JSON.stringify(stdout + stderr));
      assertStringIncludes(stdout + stderr, "\\u001b[2J\\u202egnp.");
    }
    const { layers } = JSON.parse((await attune("inspect", path, "--json")).stdout);
    assertEquals(layers[0].name, evil);
    const error = new AttuneError("bad-data", `Cannot read ${evil}`);
    assert(!steers.test(error.message), error.message);
  }));

Deno.test("matchesPattern: as the expression that it stands for, also where that takes for ever", () => {
  let seed = 1;
  const random = (n: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  const text = (of: string, most: number) =>
    Array.from({ length: random(most) }, () => of[random(of.length)]).join("");
  for (let i = 0; i < 20_000; i++) {
    const pattern = text("ab*?", 7), name = text("ab\n", 9);
    const source = pattern.replaceAll("*", ".*").replaceAll("?", ".");
    assertEquals(
      matchesPattern(pattern, name),
      new RegExp(`^${source}$`, "s").test(name),
      JSON.stringify([pattern, name]),
    );
  }
  assert(!matchesPattern(`${"*a".repeat(40)}*b`, "a".repeat(50_000)));
  assert(matchesPattern("a.(b)[c]", "a.(b)[c]") && !matchesPattern("a.c", "abc"));
});

Deno.test("cut: weights that come from themselves are refused", () => {
  const model = build({
    opset: 21,
    inputs: { x: ["N", 4] },
    nodes: [
      makeNode("Reshape", "one", ["b", "shape"], ["a"]),
      makeNode("Reshape", "two", ["a", "shape"], ["b"]),
      makeNode("MatMul", "", ["x", "a"], ["y"]),
    ],
    outputs: ["y"],
  });
  refused(() => new Cutter(model, "qdq").cutWeight("a", 8, 4), "bad-model", "are not where");
});

Deno.test("tensors called like members of every object work, __proto__ is refused", async () => {
  const named = (name: string) =>
    build({
      opset: 13,
      inputs: { constructor: ["N", 20] },
      nodes: [
        makeNode("MatMul", "one", ["constructor", "w"], ["toString"]),
        makeNode("MatMul", "two", ["toString", "v"], [name]),
      ],
      initializers: [
        floatTensor("w", [20, 30], weights),
        floatTensor("v", [30, 5], noise(150, 2)),
      ],
      outputs: [name],
    });
  refused(() => parseModel(serializeModel(named("__proto__"))), "bad-model", '"__proto__"');
  using pool = inlinePool(await loadBackend("web"));
  async function* samples() {
    for (let i = 0; i < 32; i++) {
      yield { source: `${i}`, inputs: { constructor: { dims: [20], data: noise(20, i + 1) } } };
    }
  }
  const made = async (name: string) =>
    (await quantize(makePlan(named(name)), samples(), pool)).report.check!;
  const [{ name, ...figures }] = (await made("hasOwnProperty")).outputs;
  assertEquals(name, "hasOwnProperty");
  assertEquals({ name: "y", ...figures }, (await made("y")).outputs[0]);
  assert((await made("valueOf")).mseToFloat < 0.01);
});

const cases = join(root, "../shared/cases");
Deno.test({
  name: "models that broke attune once: a cycle, control characters in names, __proto__",
  ignore: !existsSync(join(cases, "cut_cycle.onnx")),
  fn: () =>
    inFolder(async (folder) => {
      const at = (name: string) => join(cases, `${name}.onnx`), out = join(folder, "o.onnx");
      const cut = await attune("cut", at("cut_cycle"), "--bits", "4", "-o", out);
      assertEquals([cut.code, readdirSync(folder)], [2, []], cut.stderr);
      const proto = await attune("inspect", at("proto_output"));
      assertEquals(proto.code, 2);
      assertStringIncludes(proto.stderr, '"__proto__"');
      const shown = await attune("inspect", at("escape_name"));
      // deno-lint-ignore no-control-regex -- control characters are what is looked for
      assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(shown.stdout + shown.stderr), shown.stdout);
      assertEquals(shown.code, 0, shown.stderr);
    }),
});
