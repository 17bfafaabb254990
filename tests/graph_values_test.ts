import { create } from "@bufbuild/protobuf";
import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { join } from "node:path";
import { plan, quantize, readModel } from "../mod.ts";
import { nonTensors } from "../src/graph/values.ts";
import { writeModel } from "../src/onnx/file.ts";
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type NodeProto,
} from "../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor, int64Tensor, isExternal } from "../src/onnx/tensor.ts";
import { tensorsOf } from "../src/onnx/tensors.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Sample } from "../src/samples/sample.ts";
import {
  assertSameValues,
  bodyAttribute,
  build,
  graphOf,
  noise,
  runModel,
  value,
} from "./helpers/models.ts";

async function* samples(...dims: number[]): AsyncGenerator<Sample> {
  for (let i = 0; i < 24; i++) {
    const data = noise(dims.reduce((a, b) => a * b), i + 1);
    yield { inputs: { x: { dims, data } }, source: `${i}` };
  }
}

const weights = () => [
  floatTensor("w1", [16, 32], noise(512)),
  floatTensor("w2", [16, 16], noise(256, 2)),
  floatTensor("w3", [16, 8], noise(128, 3)),
  int64Tensor("width", [], [16]),
  int64Tensor("at0", [], [0]),
  int64Tensor("at1", [], [1]),
];

/** Sequences, and an optional value, cross from layer to layer. */
function sequences(): Model {
  return build({
    opset: 17,
    inputs: { x: ["N", 16] },
    nodes: [
      makeNode("MatMul", "first", ["x", "w1"], ["a"]),
      makeNode("SplitToSequence", "", ["a", "width"], ["halves"], { axis: 1n }),
      makeNode("Identity", "", ["halves"], ["same"]),
      makeNode("SequenceAt", "", ["same", "at0"], ["p"]),
      makeNode("MatMul", "second", ["p", "w2"], ["b"]),
      makeNode("Relu", "", ["b"], ["c"]),
      makeNode("Optional", "", ["c"], ["maybe"]),
      makeNode("MatMul", "third", ["c", "w2"], ["d"]),
      makeNode("OptionalGetElement", "", ["maybe"], ["surely"]),
      makeNode("SequenceAt", "", ["halves", "at1"], ["q"]),
      makeNode("Sum", "", ["d", "q", "surely"], ["e"]),
      makeNode("MatMul", "last", ["e", "w3"], ["y"]),
    ],
    initializers: weights(),
    outputs: ["y"],
  });
}

Deno.test("sequences and optional values are told from tensors, in bodies, too", () => {
  assertEquals([...nonTensors(sequences().proto.graph)], ["halves", "same", "maybe"]);
  const list = (): GraphProto =>
    graphOf({
      inputs: {},
      nodes: [
        makeNode("SequenceConstruct", "", ["x", "x"], ["s"]),
        makeNode("Neg", "", ["x"], ["t"]),
      ],
      outputs: ["s", "t"],
    });
  const choice = makeNode("If", "", ["is"], ["pair", "one"]);
  choice.attribute.push(bodyAttribute("then_branch", list()), bodyAttribute("else_branch", list()));
  assertEquals([...nonTensors(graphOf({ inputs: {}, nodes: [choice], outputs: [] }))], ["pair"]);
  // A loop that carries a sequence, and one that does not.
  const body = graphOf({
    inputs: { i: [], go: [], carried: [], sum: [] },
    nodes: [
      makeNode("SequenceInsert", "", ["carried", "sum"], ["longer"]),
      makeNode("Add", "", ["sum", "sum"], ["twice"]),
    ],
    outputs: ["go", "longer", "twice"],
  });
  const loop = makeNode("Loop", "", ["n", "", "none", "x"], ["all", "total"]);
  loop.attribute.push(bodyAttribute("body", body));
  const empty = makeNode("SequenceEmpty", "", [], ["none"]);
  assertEquals(
    [...nonTensors(graphOf({ inputs: {}, nodes: [empty, loop], outputs: [] }))],
    ["none", "all"],
  );
});

Deno.test("models with sequences are quantized, with blocks as well", async () => {
  const made = plan(sequences(), { bits: 8 });
  assertEquals(made.layers.map(({ target }) => target.name), ["first", "second", "third", "last"]);
  for (const reconstruction of [undefined, { kind: "blocks", iterations: 4 }] as const) {
    using pool = inlinePool(await loadBackend("web"));
    const { report } = await quantize(made, samples(16), pool, { reconstruction });
    assert(report.check!.mseToFloat < 1e-3, `error ${report.check!.mseToFloat}`);
  }
});

/** Three layers, a Scan between them whose body says no shapes. */
function scan(): Model {
  const body = graphOf({
    inputs: {},
    nodes: [
      makeNode("MatMul", "", ["state", "w2"], ["m"]),
      makeNode("Add", "", ["m", "row"], ["s"]),
      makeNode("Tanh", "", ["s"], ["next"]),
      makeNode("Identity", "", ["next"], ["out"]),
    ],
    outputs: ["next", "out"],
  });
  body.input = graphOf({ inputs: {}, nodes: [], outputs: ["state", "row"] }).output;
  const node = makeNode("Scan", "scan", ["start", "rows"], ["end", "all"], { num_scan_inputs: 1n });
  node.attribute.push(bodyAttribute("body", body));
  return build({
    opset: 17,
    inputs: { x: [1, 6, 16] },
    nodes: [
      makeNode("MatMul", "first", ["x", "w2"], ["a"]),
      makeNode("MatMul", "second", ["a", "w2"], ["b"]),
      makeNode("Transpose", "", ["b"], ["rows"], { perm: [1n, 0n, 2n] }),
      node,
      makeNode("MatMul", "last", ["end", "w3"], ["y"]),
    ],
    initializers: [...weights(), floatTensor("start", [1, 16], noise(16, 4))],
    outputs: ["y"],
  });
}

Deno.test("a Scan whose body says no shapes is quantized around", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const made = plan(scan(), { bits: 8 });
  const { report } = await quantize(made, samples(6, 16), pool);
  assert(report.check!.mseToFloat < 1e-3, `error ${report.check!.mseToFloat}`);
});

/** A weight in a branch, one in an attribute of it, and one in the graph. */
function branches(): Model {
  const constant = makeNode("Constant", "", [], ["k"]);
  constant.attribute.push(create(AttributeProtoSchema, {
    name: "value",
    type: AttributeType.TENSOR,
    t: floatTensor("", [20, 20], noise(400, 7)),
  }));
  const branch = (op: string, nodes: NodeProto[], weight: string) =>
    graphOf({
      inputs: {},
      nodes: [
        ...nodes,
        makeNode("MatMul", "", ["h", weight], ["m"]),
        makeNode(op, "", ["m"], ["out"]),
      ],
      initializers: weight === "v" ? [floatTensor("v", [20, 20], noise(400, 8))] : [],
      outputs: ["out"],
    });
  const choice = makeNode("If", "choice", ["is"], ["c"]);
  choice.attribute.push(bodyAttribute("then_branch", branch("Neg", [], "v")));
  choice.attribute.push(bodyAttribute("else_branch", branch("Abs", [constant], "k")));
  return build({
    opset: 17,
    inputs: { x: [1, 20] },
    nodes: [
      makeNode("MatMul", "first", ["x", "w"], ["h"]),
      makeNode("ReduceSum", "", ["x"], ["sum"], { keepdims: 0n }),
      makeNode("Greater", "", ["sum", "zero"], ["is"]),
      choice,
      makeNode("MatMul", "last", ["c", "w"], ["y"]),
    ],
    initializers: [
      floatTensor("w", [20, 20], noise(400)),
      floatTensor("zero", [], new Float32Array(1)),
    ],
    outputs: ["y"],
  });
}

Deno.test("external data of bodies and attributes is read, quantized around, and travels along", async () => {
  const folder = Deno.makeTempDirSync(), moved = Deno.makeTempDirSync();
  try {
    const feeds = [1, -1].map((sign) => ({ x: value([1, 20], noise(20, 3).map((v) => v + sign)) }));
    const expected = [await runModel(branches(), feeds[0]), await runModel(branches(), feeds[1])];
    writeModel(branches(), join(folder, "m.onnx"), { externalFile: true });
    const split = readModel(join(folder, "m.onnx"));
    assertEquals(tensorsOf(split).filter(isExternal).length, 3);
    writeModel(split, join(moved, "m.onnx"));
    Deno.removeSync(folder, { recursive: true });
    const again = readModel(join(moved, "m.onnx"));
    for (const [i, feed] of feeds.entries()) {
      assertSameValues(await runModel(again, feed), expected[i]);
    }
    const made = plan(again, { bits: 8 });
    assertEquals(made.skipped.map(({ weight, bytes }) => [weight, bytes]), [["v", 1600], [
      "k",
      1600,
    ]]);
    // What lies in files counts.
    assertEquals(made.size.before, 3 * 1600 + 4);
    using pool = inlinePool(await loadBackend("web"));
    const { report } = await quantize(made, samples(20), pool);
    assert(report.check !== null);
  } finally {
    Deno.removeSync(moved, { recursive: true });
  }
});
