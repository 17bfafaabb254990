import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { forInference } from "../src/graph/inference.ts";
import type { NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { copyModel, makeNode, type Model } from "../src/onnx/model.ts";
import { DataType, floatTensor, rawTensor } from "../src/onnx/tensor.ts";
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

const dropout = (input: string, ...output: string[]) =>
  makeNode("Dropout", "", [input, "ratio", "training"], output);

/** Dropouts at the input, in a row, and before the output, in training mode or not. */
function model(training: boolean, nodes: NodeProto[], outputs = ["y"]): Model {
  return build({
    opset: 17,
    inputs: { x: [4, 8] },
    nodes,
    initializers: [
      floatTensor("w", [8, 8], noise(64)),
      floatTensor("ratio", [], new Float32Array([0.5])),
      rawTensor("training", DataType.BOOL, [], new Uint8Array([training ? 1 : 0])),
      rawTensor("yes", DataType.BOOL, [], new Uint8Array([1])),
    ],
    outputs,
  });
}

function inBody(): NodeProto[] {
  const branch = (name: string, last: NodeProto) =>
    bodyAttribute(
      name,
      graphOf({
        inputs: {},
        nodes: [makeNode("Relu", "", ["a"], ["b"]), dropout("b", "c"), dropout("c", "d"), last],
        outputs: ["e"],
      }),
    );
  const choice = makeNode("If", "choice", ["yes"], ["f"]);
  choice.attribute.push(
    branch("then_branch", dropout("d", "e")),
    branch("else_branch", makeNode("Neg", "", ["d"], ["e"])),
  );
  return [
    makeNode("MatMul", "", ["x", "w"], ["raw"]),
    dropout("raw", "a"),
    choice,
    makeNode("Add", "", ["a", "f"], ["y"]),
  ];
}

const CASES: Record<string, [nodes: NodeProto[], outputs: string[]]> = {
  "between layers": [[
    makeNode("MatMul", "", ["x", "w"], ["a"]),
    dropout("a", "b", "unread"),
    makeNode("MatMul", "", ["b", "w"], ["y"]),
  ], ["y"]],
  "of the input": [[dropout("x", "a"), makeNode("MatMul", "", ["a", "w"], ["y"])], ["y"]],
  "two in a row before the output, with another reader": [[
    makeNode("MatMul", "", ["x", "w"], ["a"]),
    dropout("a", "b"),
    dropout("b", "y"),
    makeNode("Relu", "", ["a"], ["z"]),
  ], ["y", "z"]],
  "from an output to an output, twice": [[
    makeNode("MatMul", "", ["x", "w"], ["y"]),
    dropout("y", "z"),
    dropout("y", "v"),
  ], ["y", "z", "v"]],
  "from an input to an output": [[
    dropout("x", "y"),
    makeNode("MatMul", "", ["x", "w"], ["z"]),
  ], ["y", "z"]],
  "whose mask is read": [[
    makeNode("MatMul", "", ["x", "w"], ["a"]),
    dropout("a", "b", "mask"),
    makeNode("Where", "", ["mask", "b", "x"], ["y"]),
  ], ["y"]],
  "in a body, and what it reads": [inBody(), ["y"]],
};

for (const [where, [nodes, outputs]] of Object.entries(CASES)) {
  Deno.test(`Dropout ${where} is taken out of training`, async () => {
    const feeds = { x: value([4, 8]) };
    const expected = await runModel(model(false, nodes, outputs), feeds);
    const prepared = copyModel(model(true, nodes, outputs));
    const count = forInference(prepared);
    assertEquals(count, JSON.stringify(nodes, text).split('"Dropout"').length - 1);
    assertSameValues(await runModel(prepared, feeds), expected);
    const rest = prepared.proto.graph.node.filter(({ opType }) => opType === "Dropout");
    assertEquals(rest.length, where === "whose mask is read" ? 1 : 0);
  });
}

/** JSON knows no bigint. */
const text = (_: string, found: unknown) => typeof found === "bigint" ? String(found) : found;

Deno.test("nodes whose results are not their own are refused by name", () => {
  const after = (node: NodeProto) =>
    model(false, [makeNode("MatMul", "", ["x", "w"], ["a"]), node], ["y"]);
  const random = ["RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"];
  for (const op of random) {
    const found = after(makeNode(op, "drawn", ["a"], ["y"]));
    assertThrows(() => makePlan(found), AttuneError, `node "drawn" (${op}) draws`);
  }
  const norm = makeNode("BatchNormalization", "norm", ["a", "w", "w", "w", "w"], ["y"], {
    training_mode: 1n,
  });
  assertThrows(
    () => makePlan(after(norm)),
    AttuneError,
    'node "norm" (BatchNormalization) is in train',
  );
  // In bodies, too.
  const choice = makeNode("If", "choice", ["yes"], ["y"]);
  const body = graphOf({
    inputs: {},
    nodes: [makeNode("RandomNormalLike", "inside", ["a"], ["out"])],
    outputs: ["out"],
  });
  choice.attribute.push(bodyAttribute("then_branch", body), bodyAttribute("else_branch", body));
  assertThrows(() => makePlan(after(choice)), AttuneError, 'node "inside" (RandomNormalLike)');
});
