/** What odd inputs have found, each as the kind of fault that it was. */

import { create } from "@bufbuild/protobuf";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CheckpointStore } from "../../src/calibrate/checkpoint.ts";
import { cut } from "../../src/emit/narrow.ts";
import { AttuneError } from "../../src/errors.ts";
import { foldConstants } from "../../src/graph/fold_constants.ts";
import { freshName } from "../../src/graph/graph.ts";
import { ValueInfoProtoSchema } from "../../src/onnx/gen/onnx_pb.ts";
import {
  copyModel,
  makeNode,
  type Model,
  parseModel,
  serializeModel,
  setOpset,
} from "../../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../../src/onnx/tensor.ts";
import { makePlan } from "../../src/plan/plan.ts";
import { quantize, type QuantizeOptions } from "../../src/quantize/quantize.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { inlinePool } from "../../src/workers/pool.ts";
import { openSamples } from "../../src/samples/open.ts";
import type { Sample } from "../../src/samples/sample.ts";
import { chooseBits } from "../../src/allocate/choose.ts";
import { inFolder } from "../helpers/command_line.ts";
import { assertSameValues, build, ints, noise, runModel, value } from "../helpers/models.ts";
import { npy, npz } from "./arrays.ts";
import { samplesOf } from "./cases.ts";
import { mutateCheckpoint } from "./checkpoints.ts";
import { MODELS } from "./corpus.ts";
import { Random } from "./random.ts";

async function* samples(dims: number[], count = 6): AsyncGenerator<Sample> {
  const size = dims.reduce((a, b) => a * b, 1);
  for (let i = 0; i < count; i++) {
    yield { source: `${i}`, inputs: { x: { dims, data: noise(size, i + 1) } } };
  }
}

async function quantized(model: Model, options: QuantizeOptions = {}, dims = [8]) {
  using pool = inlinePool(await loadBackend("web"));
  return await quantize(makePlan(model), samples(dims), pool, {
    rounding: { kind: "nearest" },
    ...options,
  });
}

Deno.test("operators called like members of every object are operators like others", () => {
  for (const op of ["constructor", "toString", "hasOwnProperty", "valueOf"]) {
    const model = MODELS.products();
    const { graph } = model.proto;
    graph.node.splice(1, 1, makeNode(op, "odd", ["a"], ["b"]));
    // A constant of such an operator is none that is computed.
    graph.node.push(makeNode(op, "constant", ["c"], ["d"]));
    graph.output.push(create(ValueInfoProtoSchema, { name: "d" }));
    assertEquals(makePlan(model).layers.length, 2, op);
  }
});

Deno.test("constant expressions that lack inputs, or say what no tensor has, are left alone", () => {
  const one = floatTensor("one", [2, 3], noise(6)), none = floatTensor("none", [0, 3], noise(0));
  const far = int64Tensor("far", [1], [9]), two = int64Tensor("two", [2], [0, 0]);
  const nodes = [
    ..."Add Sub Mul Div Pow MatMul Reshape Gather Expand Concat Slice Split Unsqueeze ReduceSum"
      .split(" ").flatMap((op) => [[op, "one"], [op]]),
    ["Slice", "one", "far", "two"],
    ["Slice", "one", "two", "two", "far"],
    ["Slice", "one", "two", "far", "far"],
    ["MatMul", "wide", "none"],
    ["Unsqueeze", "one", "far"],
    ["Gather", "one", "far"],
  ];
  for (const [op, ...input] of nodes) {
    const model = build({
      opset: 13,
      inputs: { x: ["N", 2] },
      nodes: [makeNode(op, "", input, ["w"]), makeNode("MatMul", "", ["x", "w"], ["y"])],
      initializers: [one, none, far, two, floatTensor("wide", [3, 0], noise(0))],
      outputs: ["y"],
    });
    foldConstants(model);
    for (const { dims } of model.proto.graph.initializer) assert(dims.every((dim) => dim >= 0n));
  }
  // A result without a name is none that anybody reads.
  const holes = MODELS.expressions(), [cast, reshape] = holes.proto.graph.node;
  [cast.output, reshape.input] = [[""], ["", "dims"]];
  foldConstants(holes);
  assertEquals(holes.proto.graph.node[0], cast);
  // No bytes, but a product of more elements than any memory holds.
  const model = build({
    opset: 13,
    inputs: { x: ["N", 2] },
    nodes: [makeNode("MatMul", "", ["a", "b"], ["w"]), makeNode("MatMul", "", ["x", "w"], ["y"])],
    initializers: [
      floatTensor("a", [2 ** 20, 0], noise(0)),
      floatTensor("b", [0, 2 ** 20], noise(0)),
    ],
    outputs: ["y"],
  });
  assertEquals(foldConstants(model), 0);
});

Deno.test("inputs of types that no array holds are refused by name", () =>
  inFolder(async (folder) => {
    for (const type of [DataType.BFLOAT16, DataType.COMPLEX64, DataType.STRING, DataType.INT4]) {
      const model = build({
        opset: 13,
        inputs: { x: ["N", 8] },
        types: { x: type },
        nodes: [
          makeNode("Cast", "", ["x"], ["f"], { to: 1n }),
          makeNode("MatMul", "", ["f", "w"], ["y"]),
        ],
        initializers: [floatTensor("w", [8, 4], noise(32))],
        outputs: ["y"],
      });
      const path = join(folder, "x.npy"), { inputs } = makePlan(model).graph;
      for (const descr of ["|u1", "<f2", "|b1"]) {
        writeFileSync(path, npy({ dims: [2, 8], descr, bytes: new Uint8Array(32) }));
        const error = await assertRejects(() => openSamples(path, { inputs }), AttuneError);
        assertEquals(error.code, "bad-data");
        assertStringIncludes(error.message, `input "x"`);
      }
      await assertRejects(() => quantized(model), AttuneError, "no array holds");
    }
  }));

Deno.test("checkpoints are checked against the job, whatever their digest says", async () => {
  const model = MODELS.products();
  let saved: Uint8Array | undefined, given: Uint8Array | undefined;
  const checkpoint: CheckpointStore = {
    name: "job",
    load: () => given,
    save: (bytes) => void (saved ??= Uint8Array.from(bytes)),
    clear: () => {},
  };
  const sound = serializeModel((await quantized(model, { checkpoint })).model);
  const outcomes = { same: 0, other: 0, refused: 0 };
  for (let seed = 0; seed < 60; seed++) {
    given = await mutateCheckpoint(new Random(seed), saved!);
    try {
      const { model: made } = await quantized(model, { checkpoint, resume: true });
      const same = serializeModel(made).every((byte, i) => byte === sound[i]);
      outcomes[same ? "same" : "other"]++;
    } catch (error) {
      assert(error instanceof AttuneError && error.code === "bad-option", `${seed}: ${error}`);
      outcomes.refused++;
    }
  }
  assert(outcomes.refused > 30, JSON.stringify(outcomes));
});

Deno.test("freshName counts on from the last number, and passes over what is taken", () => {
  const taken = new Set(["a", "a_2", "b"]);
  const names = ["a", "a", "a", "b", "c", "c", "a"].map((base) => freshName(base, taken));
  assertEquals(names, ["a_1", "a_3", "a_4", "b_1", "c", "c_1", "a_5"]);
  assertEquals(freshName("a", new Set(["a"])), "a_1");
});

Deno.test("a graph without outputs is refused on reading", () => {
  const model = MODELS.products();
  model.proto.graph.output = [];
  const error = assertThrows(() => parseModel(serializeModel(model)), AttuneError, "no output");
  assertEquals(error.code, "bad-model");
});

Deno.test("what is there twice is refused: initializers, inputs, outputs of nodes", () => {
  for (const list of ["initializer", "input", "node"] as const) {
    const model = MODELS.products(), { graph } = model.proto;
    (graph[list] as unknown[]).push(graph[list][0]);
    const error = assertThrows(() => makePlan(model), AttuneError, "is written twice");
    assertEquals(error.code, "bad-model");
  }
});

Deno.test("a tied table that is turned without saying how gives a file that opens", async () => {
  const model = MODELS.embedding();
  model.proto.graph.node.find(({ name }) => name === "tied")!.attribute = [];
  async function* ids(): AsyncGenerator<Sample> {
    for (let i = 0; i < 6; i++) {
      const data = BigInt64Array.of(0n, 1n, 2n, BigInt(i));
      yield { source: `${i}`, inputs: { ids: { dims: [4], data } } };
    }
  }
  using pool = inlinePool(await loadBackend("web"));
  const { model: made, report } = await quantize(makePlan(model), ids(), pool);
  // Without samples that are held out, it is opened all the same.
  assertEquals([report.check, report.warnings], [null, []]);
  await runModel(made, { ids: ints([1, 4], [1, 2, 3, 4]) });
});

Deno.test("a Constant that reads something is no constant", () => {
  const model = MODELS.products();
  model.proto.graph.node[1].opType = "Constant";
  assertEquals(makePlan(model).layers.length, 2);
});

Deno.test("a model that gives back what it is fed, and nothing else, has layers that do not matter", async () => {
  const model = MODELS.products();
  model.proto.graph.output = [create(ValueInfoProtoSchema, { name: "x" })];
  using pool = inlinePool(await loadBackend("web"));
  const made = makePlan(model, {
    bits: {
      kind: "budget",
      budget: { kind: "average", bits: 3 },
      strategy: "hessian-trace",
    },
  });
  const { report } = await quantize(made, samples([8]), pool, { rounding: { kind: "nearest" } });
  assertEquals(report.layers.length, 2);
});

Deno.test("a batch of billions of samples is refused before it is made", async () => {
  for (const [batch, width] of [[2 ** 32, 8], [2 ** 26, 8], [2 ** 40, 0]]) {
    const model = build({
      opset: 13,
      inputs: { x: [batch, 3, width || "open"] },
      nodes: [
        makeNode("ReduceMean", "", ["x"], ["m"], { axes: [-1n] }),
        makeNode("MatMul", "", ["m", "w"], ["y"]),
      ],
      initializers: [floatTensor("w", [3, 4], noise(12))],
      outputs: ["y"],
    });
    const error = await assertRejects(
      () => quantized(model, {}, [3, width]),
      AttuneError,
      `${batch} samples`,
    );
    assertEquals(error.code, "too-large");
  }
});

Deno.test("a weight that the model gives back stays as it is", async () => {
  const model = MODELS.products();
  for (const name of ["w", "c"]) {
    model.proto.graph.output.push(create(ValueInfoProtoSchema, { name }));
  }
  const { model: made, report } = await quantized(model);
  assertEquals(report.layers.map(({ name }) => name), ["two"]);
  const x = value([1, 8]),
    after = await runModel(made, { x }),
    before = await runModel(model, { x });
  delete after.y;
  delete before.y;
  assertSameValues(after, before);
});

Deno.test("the size of a packed file with ternary layers is known before there are levels", async () => {
  const made = makePlan(MODELS.products(), {
    format: "packed",
    bits: { kind: "budget", budget: { kind: "average", bits: 4 } },
    overrides: [{ pattern: "one", bits: "ternary" }],
  });
  assertEquals((await chooseBits(made)).layers[0].grid.kind, "ternary");
});

Deno.test("cut: a file of an older opset gets bytes, and biases must have their length", () =>
  inFolder(async (folder) => {
    const model = MODELS.products(), path = join(folder, "d.npz");
    writeFileSync(path, npz(samplesOf(model)));
    const made = makePlan(model, { nested: [8, 4], edgeBits: 4 });
    using pool = inlinePool(await loadBackend("web"));
    const set = await openSamples(path, { inputs: made.graph.inputs });
    const { model: nested } = await quantize(made, set.samples(), pool);
    const old = copyModel(nested);
    setOpset(old, 19);
    await runModel(cut(old, 4), { x: value([1, 8]) });
    setOpset(old, 15);
    assertThrows(() => cut(old, 4, { format: "packed" }), AttuneError, "its opset is 15");
    const entry = nested.proto.metadataProps.find(({ value }) => value.includes(`"biases"`))!;
    const said = JSON.parse(entry.value);
    for (const { biases } of said.layers) for (const key in biases) biases[key] += "AAAAAAAA";
    entry.value = JSON.stringify(said);
    assertThrows(() => cut(nested, 4), AttuneError);
  }));
