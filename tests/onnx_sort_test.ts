import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { toBinary } from "@bufbuild/protobuf";
import { AttuneError } from "../src/errors.ts";
import { Graph } from "../src/graph/graph.ts";
import { ModelProtoSchema } from "../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model, parseModel } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import {
  assertSameValues,
  bodyAttribute,
  build,
  graphOf,
  noise,
  runModel,
  value,
} from "./helpers/models.ts";

/** `model` as its file is read. */
const read = (model: Model) => parseModel(toBinary(ModelProtoSchema, model.proto));

/** A chain of two layers whose nodes are in the order of `order`. */
function chain(order: number[]): Model {
  const nodes = [
    makeNode("MatMul", "first", ["x", "w"], ["a"]),
    makeNode("Relu", "relu", ["a"], ["r"]),
    makeNode("MatMul", "second", ["r", "w"], ["b"]),
    makeNode("Add", "sum", ["a", "b"], ["y"]),
  ];
  return build({
    opset: 17,
    inputs: { x: ["N", 8] },
    nodes: order.map((i) => nodes[i]),
    initializers: [floatTensor("w", [8, 8], noise(64))],
    outputs: ["y"],
  });
}

Deno.test("nodes in any order are read, and those in order keep it", async () => {
  const names = (model: Model) => model.proto.graph.node.map(({ name }) => name);
  const sorted = chain([0, 1, 2, 3]), feeds = { x: value([3, 8]) };
  assertEquals(names(read(sorted)), names(sorted));
  const expected = await runModel(sorted, feeds);
  for (const order of [[3, 2, 1, 0], [2, 0, 3, 1], [1, 0, 2, 3]]) {
    const model = read(chain(order));
    assertSameValues(await runModel(model, feeds), expected);
    assertEquals(makePlan(model).layers.map(({ target }) => target.name), ["first", "second"]);
  }
});

Deno.test("what a body reads comes before it, and the body is sorted, too", async () => {
  const branch = (name: string) =>
    bodyAttribute(
      name,
      graphOf({
        inputs: {},
        nodes: [makeNode("Neg", "", ["inner"], ["out"]), makeNode("Abs", "", ["a"], ["inner"])],
        outputs: ["out"],
      }),
    );
  const choice = makeNode("If", "choice", ["is"], ["i"]);
  choice.attribute.push(branch("then_branch"), branch("else_branch"));
  const model = read(build({
    opset: 17,
    inputs: { x: [2, 8] },
    nodes: [
      makeNode("MatMul", "last", ["i", "w"], ["y"]),
      choice,
      makeNode("MatMul", "first", ["x", "w"], ["a"]),
      makeNode("Cast", "is one", ["one"], ["is"], { to: 9n }),
      makeNode("ReduceMax", "one", ["ones"], ["one"], { keepdims: 0n }),
      makeNode("Sigmoid", "ones", ["x"], ["ones"]),
    ],
    initializers: [floatTensor("w", [8, 8], noise(64))],
    outputs: ["y"],
  }));
  new Graph(model);
  const { node } = model.proto.graph.node.find(({ opType }) => opType === "If")!.attribute[0].g!;
  assertEquals(node.map(({ opType }) => opType), ["Abs", "Neg"]);
  await runModel(model, { x: value([2, 8]) });
});

Deno.test("a cycle and a missing tensor are refused by what is wrong", () => {
  const cycle = chain([0, 1, 2, 3]);
  cycle.proto.graph.node[0].input[0] = "b";
  assertThrows(() => makePlan(read(cycle)), AttuneError, "the nodes form a cycle");
  const missing = chain([3, 2, 1, 0]);
  missing.proto.graph.node[1].input[1] = "lost";
  assertThrows(
    () => makePlan(read(missing)),
    AttuneError,
    'reads "lost", which nothing in the file',
  );
});

Deno.test("a chain of 50,000 nodes from last to first is sorted", () => {
  const count = 50_000;
  const nodes = Array.from(
    { length: count },
    (_, i) => makeNode("Relu", "", [i === 0 ? "x" : `t${i}`], [`t${i + 1}`]),
  );
  const model = read(build({
    opset: 17,
    inputs: { x: ["N", 8] },
    nodes: nodes.reverse(),
    outputs: [`t${count}`],
  }));
  assertEquals(model.proto.graph.node[0].input, ["x"]);
  new Graph(model);
});
