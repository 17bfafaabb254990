/** Files that are not what they seem: what is read. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointFile } from "../src/calibrate/checkpoint_file.ts";
import { AttuneError } from "../src/errors.ts";
import { dataFiles, readModel } from "../src/onnx/file.ts";
import { makeNode, serializeModel } from "../src/onnx/model.ts";
import { bytesOf, readTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { openSamples } from "../src/samples/open.ts";
import { attune, inFolder, run } from "./helpers/command_line.ts";
import { bodyAttribute, graphOf } from "./helpers/models.ts";
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
