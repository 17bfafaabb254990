import { create } from "@bufbuild/protobuf";
import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { raiseOpset } from "../src/graph/raise_opset.ts";
import {
  AttributeProto_AttributeType as AttributeType,
  FunctionProtoSchema,
  type NodeProto,
  OperatorSetIdProtoSchema,
} from "../src/onnx/gen/onnx_pb.ts";
import { copyModel, makeAttribute, makeNode, type Model, opsetOf } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import {
  assertSameValues,
  bodyAttribute,
  build,
  graphOf,
  noise,
  runModel,
  value,
} from "./helpers/models.ts";

Deno.test("raiseOpset: bodies of If, nested, and initializers of their own", async () => {
  const inner = (min: number) => {
    const node = makeNode("If", "inner", ["c"], ["r"]);
    node.attribute.push(
      bodyAttribute(
        "then_branch",
        graphOf({
          inputs: {},
          nodes: [makeNode("Clip", "k", ["x"], ["t"], { min })],
          outputs: ["t"],
        }),
      ),
      bodyAttribute(
        "else_branch",
        graphOf({ inputs: {}, nodes: [makeNode("Softmax", "m", ["x"], ["e"])], outputs: ["e"] }),
      ),
    );
    return node;
  };
  const outer = makeNode("If", "outer", ["c"], ["y"]);
  outer.attribute.push(
    bodyAttribute("then_branch", graphOf({ inputs: {}, nodes: [inner(0.25)], outputs: ["r"] })),
    bodyAttribute("else_branch", graphOf({ inputs: {}, nodes: [inner(0.5)], outputs: ["r"] })),
  );
  const model = build({
    opset: 10,
    inputs: { x: [2, 3, 2], c: [] },
    types: { c: DataType.BOOL },
    nodes: [outer],
    outputs: ["y"],
  });
  const raised = copyModel(model);
  assertEquals(raiseOpset(raised, 21), [
    "Clip: min and max became inputs (2 nodes)",
    "Softmax: made to work on one axis (2 nodes)",
  ]);
  for (const c of [0, 1]) {
    const feeds = { x: value([2, 3, 2]), c: { type: "bool", dims: [], data: Uint8Array.of(c) } };
    assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
  }
});

Deno.test("raiseOpset: the body of a Loop", async () => {
  const body = graphOf({
    inputs: { i: [], go: [], a: ["n", 1] },
    types: { i: DataType.INT64, go: DataType.BOOL },
    nodes: [
      makeNode("Squeeze", "", ["a"], ["flat"], { axes: [1n] }),
      makeNode("Add", "", ["flat", "step"], ["more"]),
      makeNode("Unsqueeze", "", ["more"], ["b"], { axes: [1n] }),
      makeNode("Identity", "", ["go"], ["go_on"]),
    ],
    outputs: ["go_on", "b"],
  });
  const loop = makeNode("Loop", "loop", ["trips", "", "x"], ["y"]);
  loop.attribute.push(bodyAttribute("body", body));
  const model = build({
    opset: 11,
    inputs: { x: [3, 1] },
    nodes: [loop],
    initializers: [
      int64Tensor("trips", [], [4]),
      floatTensor("step", [3], Float32Array.of(1, 2, 3)),
    ],
    outputs: ["y"],
  });
  const raised = copyModel(model);
  assertEquals(raiseOpset(raised, 13).length, 2);
  const feeds = { x: value([3, 1]) };
  assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
});

Deno.test("raiseOpset: a copy of a model shares no body with it", () => {
  const node = makeNode("If", "if", ["c"], ["y"]);
  const body = graphOf({
    inputs: {},
    nodes: [makeNode("Squeeze", "", ["x"], ["t"], { axes: [0n] })],
    outputs: ["t"],
  });
  node.attribute.push(bodyAttribute("then_branch", body));
  const model = build({ opset: 11, inputs: { x: [1], c: [] }, nodes: [node], outputs: ["y"] });
  raiseOpset(copyModel(model), 13);
  assertEquals(body.node[0].attribute.map((a) => a.name), ["axes"]);
  assertEquals(body.initializer, []);
});

/** A model of opset 11 that calls the local function `f` with the nodes given, from a to b. */
function withFunction(nodes: NodeProto[]): Model {
  const call = makeNode("f", "call", ["x"], ["y"]);
  call.domain = "local";
  const model = build({ opset: 11, inputs: { x: [2, 3, 4] }, nodes: [call], outputs: ["y"] });
  const opset = (domain: string, version: bigint) =>
    create(OperatorSetIdProtoSchema, { domain, version });
  model.proto.irVersion = 8n;
  model.proto.opsetImport.push(opset("local", 1n));
  model.proto.functions.push(create(FunctionProtoSchema, {
    name: "f",
    domain: "local",
    input: ["a"],
    output: ["b"],
    node: nodes,
    opsetImport: [opset("", 11n)],
  }));
  return model;
}

Deno.test("raiseOpset: local functions", async () => {
  const model = withFunction([
    makeNode("Softmax", "", ["a"], ["s"]),
    makeNode("Unsqueeze", "", ["s"], ["b"], { axes: [0n] }),
  ]);
  const raised = copyModel(model);
  assertEquals(raiseOpset(raised, 21), [
    "Unsqueeze: axes became an input (1 node)",
    "Softmax: made to work on one axis (1 node)",
  ]);
  assertEquals(raised.proto.functions[0].opsetImport[0].version, 21n);
  assertEquals(model.proto.functions[0].node.length, 2);
  const feeds = { x: value([2, 3, 4]) };
  assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
});

Deno.test("raiseOpset: refuses to look into an attribute that a function's caller gives", () => {
  const squeeze = makeNode("Squeeze", "inside", ["a"], ["b"], { axes: [] });
  squeeze.attribute[0].refAttrName = "where";
  const error = assertThrows(() => raiseOpset(withFunction([squeeze]), 13), AttuneError);
  assertStringIncludes(error.message, '"inside"');
  assertStringIncludes(error.message, "local function");
});

Deno.test("raiseOpset: nodes of other domains and newer models stay as they are", () => {
  const foreign = makeNode("Clip", "n", ["x"], ["y"], { min: 0 });
  foreign.domain = "com.example";
  const model = build({ opset: 9, inputs: { x: [1] }, nodes: [foreign], outputs: ["y"] });
  assertEquals(raiseOpset(model, 13), []);
  assertEquals(foreign.attribute.length, 1);
  assertEquals([opsetOf(model), model.proto.irVersion], [13, 7n]);
  model.proto.irVersion = 9n;
  assertEquals(raiseOpset(model, 13), []);
  assertEquals([opsetOf(model), model.proto.irVersion], [13, 9n]);
});

Deno.test("raiseOpset: the IR version follows the opset", () => {
  for (const [opset, ir] of [[13, 7n], [17, 8n], [20, 9n], [21, 10n], [23, 11n], [25, 13n]]) {
    const model = build({ opset: 9, inputs: {}, nodes: [], outputs: [] });
    raiseOpset(model, Number(opset));
    assertEquals(model.proto.irVersion, ir);
  }
});

Deno.test("raiseOpset: names of new tensors are free, in bodies, too", () => {
  const squeeze = makeNode("Squeeze", "n", ["x"], ["n_axes"], { axes: [0n] });
  const model = build({ opset: 11, inputs: { x: [1] }, nodes: [squeeze], outputs: ["n_axes"] });
  raiseOpset(model, 13);
  assertEquals(squeeze.input, ["x", "n_axes_1"]);
});

Deno.test("raiseOpset: refuses what it cannot rewrite", () => {
  const refused: [number, NodeProto, string[], string][] = [
    [9, makeNode("Dropout", "drop", ["x"], ["y", "mask"]), ["y", "mask"], '"mask"'],
    [9, makeNode("BatchNormalization", "norm", ["x"], ["y", "mean"]), ["y"], '"mean"'],
    [
      11,
      makeNode("Resize", "size", ["x", "", "s"], ["y"], {
        coordinate_transformation_mode: "tf_half_pixel_for_nn",
      }),
      ["y"],
      "nearest_mode",
    ],
  ];
  for (const [opset, node, outputs, words] of refused) {
    const model = build({ opset, inputs: { x: [1], s: [1] }, nodes: [node], outputs });
    const error = assertThrows(() => raiseOpset(model, 21), AttuneError);
    assertEquals(error.code, "bad-model");
    for (const part of [words, node.name, node.opType, "export"]) {
      assertStringIncludes(error.message, part);
    }
  }
  const model = build({ opset: 9, inputs: {}, nodes: [], outputs: [] });
  for (const target of [12, 26, NaN]) {
    assertEquals(assertThrows(() => raiseOpset(model, target), AttuneError).code, "bad-option");
  }
});

Deno.test("raiseOpset: a model with constants as nodes", async () => {
  const constant = makeNode("Constant", "", [], ["s"]);
  constant.attribute.push({
    ...makeAttribute("value", 0),
    type: AttributeType.TENSOR,
    t: floatTensor("", [4], Float32Array.of(1, 1, 2, 2)),
  });
  const model = build({
    opset: 10,
    inputs: { x: [1, 2, 5, 7] },
    nodes: [constant, makeNode("Resize", "n", ["x", "s"], ["y"])],
    outputs: ["y"],
  });
  const raised = copyModel(model);
  raiseOpset(raised, 13);
  assertEquals(raised.proto.graph.node.map((n) => n.opType), ["Constant", "Resize"]);
  const feeds = { x: value([1, 2, 5, 7]) };
  assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
});

Deno.test("raiseOpset: Softmax of a last axis that only the nodes before it tell stays one node", async () => {
  const model = build({
    opset: 9,
    inputs: { x: [2, 3, 4, 4] },
    nodes: [
      makeNode("GlobalAveragePool", "", ["x"], ["p"]),
      makeNode("Flatten", "", ["p"], ["f"]),
      makeNode("Gemm", "", ["f", "w", "b"], ["g"]),
      makeNode("Relu", "", ["g"], ["r"]),
      makeNode("Softmax", "", ["r"], ["s"]),
      makeNode("Reshape", "", ["x", "shape"], ["t"]),
      makeNode("Softmax", "", ["t"], ["u"], { axis: 2n }),
    ],
    initializers: [
      floatTensor("w", [3, 5], noise(15)),
      floatTensor("b", [5], noise(5)),
      int64Tensor("shape", [3], [2, 6, 8]),
    ],
    outputs: ["s", "u"],
  });
  const raised = copyModel(model);
  raiseOpset(raised, 13);
  assertEquals(raised.proto.graph.node.length, model.proto.graph.node.length);
  const feeds = { x: value([2, 3, 4, 4]) };
  assertSameValues(await runModel(raised, feeds), await runModel(model, feeds));
});
