import { create } from "@bufbuild/protobuf";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { inlineFunctions } from "../src/graph/inline.ts";
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  type FunctionProto,
  FunctionProtoSchema,
  type NodeProto,
  OperatorSetIdProtoSchema,
} from "../src/onnx/gen/onnx_pb.ts";
import { copyModel, makeAttribute, makeNode, type Model } from "../src/onnx/model.ts";
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

const opset = (domain: string, version: number) =>
  create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) });

/** A call of a local function. */
function call(opType: string, name: string, input: string[], output: string[], alpha?: number) {
  const node = makeNode(opType, name, input, output);
  node.domain = "local";
  if (alpha !== undefined) node.attribute.push(makeAttribute("alpha", alpha));
  return node;
}

function local(name: string, parts: Partial<FunctionProto>, version = 17): FunctionProto {
  return create(FunctionProtoSchema, {
    domain: "local",
    name,
    opsetImport: [opset("", version), opset("local", 1)],
    ...parts,
  } as never);
}

/** LeakyRelu whose slope is the attribute `alpha` of the call, 0.25 where it has none. */
function leaky(): NodeProto {
  const node = makeNode("LeakyRelu", "leak", ["s"], ["out"]);
  node.attribute.push(create(AttributeProtoSchema, {
    name: "alpha",
    type: AttributeType.FLOAT,
    refAttrName: "alpha",
  }));
  return node;
}

const linear = (version?: number) =>
  local("Linear", {
    input: ["in", "weight", "bias"],
    output: ["out"],
    attributeProto: [makeAttribute("alpha", 0.25)],
    node: [
      makeNode("MatMul", "mm", ["in", "weight"], ["t"]),
      makeNode("Add", "", ["t", "bias"], ["s"]),
      leaky(),
    ],
  }, version);

/** A function of a function, with a body that reads around it. */
function outer(): FunctionProto {
  const choice = makeNode("If", "choice", ["is"], ["c"]);
  const branch = (op: string) =>
    graphOf({ inputs: {}, nodes: [makeNode(op, "", ["t"], ["own"])], outputs: ["own"] });
  choice.attribute.push(bodyAttribute("then_branch", branch("Neg")));
  choice.attribute.push(bodyAttribute("else_branch", branch("Abs")));
  return local("Outer", {
    input: ["x", "w", "b", "is"],
    output: ["c", "t"],
    node: [call("Linear", "", ["x", "w", "b"], ["t"]), choice],
  });
}

function model(functions: FunctionProto[]): Model {
  const made = build({
    opset: 17,
    inputs: { x: [2, 8] },
    nodes: [
      call("Linear", "one", ["x", "w", "b"], ["t"], 0.5),
      call("Outer", "two", ["t", "w", "b", "is"], ["s", "same"]),
      call("Linear", "three", ["s", "w", "b"], ["r"]),
      makeNode("Add", "", ["r", "same"], ["y"]),
    ],
    initializers: [
      floatTensor("w", [8, 8], noise(64)),
      floatTensor("b", [8], noise(8, 3)),
      rawTensor("is", DataType.BOOL, [], new Uint8Array([1])),
    ],
    outputs: ["y"],
  });
  made.proto.opsetImport.push(opset("local", 1));
  made.proto.functions = functions;
  return made;
}

Deno.test("local functions are written out, of functions, too", async () => {
  const original = model([outer(), linear()]), written = copyModel(original);
  assertEquals(inlineFunctions(written), 4);
  assertEquals(written.proto.functions, []);
  const feeds = { x: value([2, 8]) };
  assertSameValues(await runModel(written, feeds), await runModel(original, feeds));
  assertEquals(makePlan(original).layers.map(({ target }) => target.name), [
    "one/mm",
    "same/mm",
    "three/mm",
  ]);
});

Deno.test("a function of another opset stays, and its weights are listed", () => {
  const constant = makeNode("Constant", "", [], ["k"]);
  constant.attribute.push(create(AttributeProtoSchema, {
    name: "value",
    type: AttributeType.TENSOR,
    t: floatTensor("", [20, 20], noise(400)),
  }));
  const old = local("Old", {
    input: ["x"],
    output: ["z"],
    node: [constant, makeNode("Mul", "", ["x", "k"], ["z"])],
  }, 16);
  const made = build({
    opset: 17,
    inputs: { x: [20, 20] },
    nodes: [
      makeNode("MatMul", "layer", ["x", "w"], ["a"]),
      call("Old", "call", ["a"], ["y"]),
    ],
    initializers: [floatTensor("w", [20, 20], noise(400))],
    outputs: ["y"],
  });
  made.proto.opsetImport.push(opset("local", 1));
  made.proto.functions = [old];
  const { skipped, model: prepared } = makePlan(made);
  assertEquals(prepared.proto.functions.length, 1);
  assertEquals(skipped, [
    { name: "Old", op: "Old", reason: "local function", weight: "k", bytes: 1600 },
  ]);
});

Deno.test("functions that call themselves, or grow without end, are refused", () => {
  const loop = local("Linear", {
    input: ["a", "b", "c"],
    output: ["d"],
    node: [call("Linear", "again", ["a", "b", "c"], ["d"])],
  });
  assertThrows(() => makePlan(model([outer(), loop])), AttuneError, "calls itself");
  const levels = Array.from({ length: 40 }, (_, i) =>
    local(`F${i}`, {
      input: ["a"],
      output: ["c"],
      node: i === 0 ? [makeNode("Neg", "", ["a"], ["c"])] : [
        call(`F${i - 1}`, "", ["a"], ["b"]),
        call(`F${i - 1}`, "", ["b"], ["c"]),
      ],
    }));
  const grown = model([outer(), linear(), ...levels]);
  grown.proto.graph.node.push(call("F39", "bomb", ["r"], ["boom"]));
  assertThrows(() => makePlan(grown), AttuneError, "nodes");
});
