import { create } from "@bufbuild/protobuf";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { join } from "node:path";
import { AttuneError } from "../src/errors.ts";
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from "../src/onnx/gen/onnx_pb.ts";
import { checkWritable, writeFileAtomic } from "../src/files/output.ts";
import { readModel, writeModel } from "../src/onnx/file.ts";
import { makeNode, type Model, serializeModel } from "../src/onnx/model.ts";
import {
  bytesOf,
  DataType,
  floatTensor,
  isExternal,
  rawTensor,
  readTensor,
} from "../src/onnx/tensor.ts";
import { assertSameValues, build, noise, runModel, value } from "./helpers/models.ts";

/** Runs `body` with a folder that is removed afterwards. */
async function inFolder(body: (folder: string) => unknown): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const weights = noise(600);

function model(): Model {
  return build({
    opset: 13,
    inputs: { x: [1, 20] },
    nodes: [
      makeNode("MatMul", "", ["x", "w"], ["m"]),
      makeNode("Add", "", ["m", "b"], ["y"]),
    ],
    initializers: [floatTensor("w", [20, 30], weights), floatTensor("b", [30], noise(30, 2))],
    outputs: ["y"],
  });
}

/** The model with `w` in a file, at `offset`, of a given length. */
function external(entries: Record<string, string>): Model {
  const result = model();
  const tensor = rawTensor("w", DataType.FLOAT, [20, 30], new Uint8Array(0));
  tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
  tensor.externalData = Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value })
  );
  result.proto.graph.initializer[0] = tensor;
  return result;
}

Deno.test("writeModel and readModel: one file, and one with a data file", () =>
  inFolder(async (folder) => {
    const feeds = { x: value([1, 20]) };
    const expected = await runModel(model(), feeds);
    const [whole, split] = [join(folder, "a.onnx"), join(folder, "b.onnx")];
    writeModel(model(), whole);
    writeModel(model(), split, { externalFile: true });
    const [first, second, data, ...others] = [...Deno.readDirSync(folder)].map((e) => e.name)
      .sort().sort((a, b) => a.length - b.length);
    assertEquals([first, second, others], ["a.onnx", "b.onnx", []]);
    assert(/^b\.onnx\.[0-9a-f]{16}\.data$/.test(data), data);
    assertEquals(Deno.statSync(join(folder, data)).size, 4 * weights.length);
    for (const path of [whole, split]) {
      assertSameValues(await runModel(readModel(path), feeds), expected);
    }
    // Small tensors stay in the model.
    assertEquals(readModel(split).proto.graph.initializer.map(isExternal), [true, false]);
  }));

Deno.test("writeModel: external data comes along to another folder", () =>
  inFolder((folder) => {
    const path = join(folder, "from", "m.onnx"), moved = join(folder, "to", "m.onnx");
    Deno.mkdirSync(join(folder, "from", "weights"), { recursive: true });
    Deno.mkdirSync(join(folder, "to"));
    const data = new Uint8Array([...new Uint8Array(12), ...bytesOf(weights)]);
    const entries = { location: "weights/w.bin", offset: "12" };
    // With more data behind the tensor's, and as all the rest of the file.
    for (const [length, tail] of [[{ length: "2400" }, [1, 2, 3]], [{}, []]] as const) {
      Deno.writeFileSync(
        join(folder, "from", entries.location),
        new Uint8Array([...data, ...tail]),
      );
      Deno.writeFileSync(path, serializeModel(external({ ...entries, ...length })));
      writeModel(readModel(path), moved);
      Deno.removeSync(join(folder, "from", entries.location));
      const read = readModel(moved);
      assertEquals(readTensor(read.proto.graph.initializer[0], read.external), weights);
    }
  }));

Deno.test("writeModel: refuses external data that it cannot read", () =>
  inFolder((folder) => {
    const path = join(folder, "m.onnx");
    for (const key of ["location", "offset"]) {
      const lost = external({ [key]: "0", length: "2400" });
      const error = assertThrows(() => writeModel(lost, path), AttuneError);
      assertStringIncludes(error.message, '"w"');
    }
    assertEquals([...Deno.readDirSync(folder)], []);
  }));

Deno.test("readModel: external data that is missing, short or elsewhere is refused", () =>
  inFolder((folder) => {
    const path = join(folder, "inside", "m.onnx");
    Deno.mkdirSync(join(folder, "inside"));
    Deno.writeFileSync(join(folder, "secret"), bytesOf(weights));
    Deno.writeFileSync(join(folder, "inside", "short"), new Uint8Array(100));
    const refused: [Record<string, string>, string][] = [
      [{ location: "../secret" }, "outside"],
      [{ location: "a/../../secret" }, "outside"],
      [{ location: join(folder, "secret") }, "outside"],
      [{ location: "missing" }, "missing"],
      [{ location: "short", length: "2400" }, "bytes 0 to 2400"],
      [{ location: "short", offset: "101" }, "it has 100"],
      [{ location: "short", offset: "-4", length: "4" }, "it has 100"],
      [{ location: "short", offset: "many" }, "NaN"],
      [{ location: "short", length: "1e400" }, "Infinity"],
      [{ location: "short" }, "bytes 0 to 2400"],
      [{}, '"?"'],
    ];
    for (const [entries, words] of refused) {
      Deno.writeFileSync(path, serializeModel(external(entries)));
      const read = readModel(path);
      const error = assertThrows(
        () => readTensor(read.proto.graph.initializer[0], read.external),
        AttuneError,
      );
      assertEquals(error.code, "bad-model");
      assertStringIncludes(error.message, words);
    }
  }));

Deno.test("readTensor: external data of a model that was given as bytes is refused", () => {
  const error = assertThrows(
    () => readTensor(external({ location: "w.bin" }).proto.graph.initializer[0]),
    AttuneError,
  );
  assertStringIncludes(error.message, '"w.bin"');
});

Deno.test("readModel: says what is wrong with the path", () =>
  inFolder((folder) => {
    Deno.writeTextFileSync(join(folder, "text.onnx"), "hello");
    for (const path of [folder, join(folder, "none.onnx"), join(folder, "text.onnx")]) {
      const error = assertThrows(() => readModel(path), AttuneError);
      assertEquals(error.code, "bad-model");
      assertStringIncludes(error.message, path.slice(path.lastIndexOf("/") + 1));
    }
  }));

Deno.test("writeFileAtomic: leaves the old file where writing fails, and nothing else", () =>
  inFolder((folder) => {
    const path = join(folder, "out");
    writeFileAtomic(path, [Uint8Array.of(1), Uint8Array.of(2, 3)]);
    assertEquals(Deno.readFileSync(path), Uint8Array.of(1, 2, 3));
    const failing = function* () {
      yield Uint8Array.of(9);
      throw new Error("no more");
    };
    const error = assertThrows(() => writeFileAtomic(path, failing()), AttuneError);
    assertEquals(error.code, "bad-output");
    assertStringIncludes(error.message, "no more");
    assertEquals(Deno.readFileSync(path), Uint8Array.of(1, 2, 3));
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  }));

Deno.test("checkWritable: refuses folders and places that do not exist", () =>
  inFolder((folder) => {
    checkWritable(join(folder, "new.onnx"));
    for (const path of [folder, join(folder, "none", "new.onnx")]) {
      const error = assertThrows(() => checkWritable(path), AttuneError);
      assertEquals(error.code, "bad-output");
    }
    assert([...Deno.readDirSync(folder)].length === 0);
  }));
