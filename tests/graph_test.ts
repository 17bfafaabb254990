import { assertEquals } from "std/assert/equals.js";
import { assertStringIncludes } from "std/assert/string_includes.js";
import { assertThrows } from "std/assert/throws.js";
import { AttuneError } from "../src/errors.ts";
import { liftConstants, unlistParameters } from "../src/graph/constants.ts";
import { ancestors, extract, frontier } from "../src/graph/extract.ts";
import {
  freshName,
  Graph,
  isControlFlow,
  nodeName,
  readsOf,
  removeUnused,
  tensorNames,
} from "../src/graph/graph.ts";
import type { NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, copyModel, makeAttribute, makeNode } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor, readTensor } from "../src/onnx/tensor.ts";
import type { Value } from "../src/runtime/session.ts";
import {
  assertSameValues,
  bodyAttribute,
  build,
  graphOf,
  runModel,
  value,
} from "./helpers/models.ts";

/** An If whose branches read `x` and, through one more If, `deep`. */
function nestedIf(): NodeProto {
  const branch = (nodes: NodeProto[], output: string) =>
    graphOf({ inputs: {}, nodes, outputs: [output] });
  const inner = makeNode("If", "inner", ["c"], ["i"]);
  inner.attribute.push(
    bodyAttribute("then_branch", branch([makeNode("Neg", "", ["deep"], ["t1"])], "t1")),
    bodyAttribute("else_branch", branch([makeNode("Abs", "", ["own"], ["e1"])], "e1")),
  );
  const outer = makeNode("If", "outer", ["c"], ["y"]);
  outer.attribute.push(
    bodyAttribute("then_branch", branch([makeNode("Relu", "", ["x"], ["own"]), inner], "i")),
    bodyAttribute("else_branch", branch([makeNode("Exp", "", ["x"], ["e2"])], "e2")),
  );
  return outer;
}

const conditional = () =>
  build({
    opset: 13,
    inputs: { x: [2, 3], c: [] },
    types: { c: DataType.BOOL },
    nodes: [makeNode("Sigmoid", "s", ["x"], ["deep"]), nestedIf()],
    outputs: ["y"],
  });

/** Two branches from x, joined: the piece between them needs two tensors. */
const diamond = () =>
  build({
    opset: 13,
    inputs: { x: ["n", 4] },
    nodes: [
      makeNode("MatMul", "m", ["x", "w"], ["a"]),
      makeNode("Relu", "r", ["a"], ["b"]),
      makeNode("Sigmoid", "s", ["a"], ["c"]),
      makeNode("Add", "", ["b", "c"], ["d"]),
      makeNode("Mul", "u", ["d", "b"], ["y"]),
    ],
    initializers: [floatTensor("w", [4, 3], new Float32Array(12).map((_, i) => i / 5 - 1))],
    outputs: ["y"],
  });

Deno.test("Graph: producers, consumers, constants and inputs", () => {
  const graph = new Graph(diamond());
  assertEquals(graph.producer("b")?.opType, "Relu");
  assertEquals(graph.producer("x"), undefined);
  assertEquals(graph.consumers("a").map(nodeName), ["r", "s"]);
  assertEquals(graph.consumers("b").map(nodeName), ["d", "u"]);
  assertEquals(graph.onlyConsumer("c")?.opType, "Add");
  assertEquals(graph.onlyConsumer("a"), undefined);
  assertEquals(graph.floats("w")?.dims, [4, 3]);
  assertEquals(graph.floats("x"), undefined);
  assertEquals(graph.inputs, [{ name: "x", dims: ["n", 4], type: "float32" }]);
  assertEquals([graph.outputs, graph.isOutput("y"), graph.isOutput("d")], [["y"], true, false]);
});

Deno.test("Graph: an initializer that is listed as an input is a constant", () => {
  const model = diamond();
  model.proto.graph.input.push({ ...model.proto.graph.input[0], name: "w" });
  assertEquals(new Graph(model).inputs.map((input) => input.name), ["x"]);
});

Deno.test("Graph: an output that a node reads, too, has no only consumer", () => {
  const model = diamond();
  model.proto.graph.output.push({ ...model.proto.graph.output[0], name: "c" });
  assertEquals(new Graph(model).onlyConsumer("c"), undefined);
});

Deno.test("Graph: refuses tensors that are read before they are written, or written twice", () => {
  const disorder = diamond();
  disorder.proto.graph.node.reverse();
  const twice = diamond();
  twice.proto.graph.node[2].output[0] = "b";
  const cases = [[disorder, '"d"'], [twice, '"b" is written twice']] as const;
  for (const [model, words] of cases) {
    const error = assertThrows(() => new Graph(model), AttuneError);
    assertEquals(error.code, "bad-model");
    assertStringIncludes(error.message, words);
  }
});

Deno.test("control flow: what bodies capture counts as read, at any depth", () => {
  const model = conditional();
  assertEquals(readsOf(model.proto.graph.node[1]).sort(), ["c", "c", "deep", "x", "x"]);
  assertEquals(model.proto.graph.node.map(isControlFlow), [false, true]);
  const graph = new Graph(model);
  assertEquals(graph.onlyConsumer("deep")?.name, "outer");
  assertEquals(graph.consumers("x").map(nodeName), ["s", "outer"]);
  for (const name of ["t1", "own", "i", "outer", "deep", "x"]) {
    assertEquals(tensorNames(model).has(name), true, name);
  }
});

Deno.test("freshName: counts until a name is free, and takes it", () => {
  const taken = new Set(["a", "a_1"]);
  assertEquals([freshName("a", taken), freshName("a", taken), freshName("b", taken)], [
    "a_2",
    "a_3",
    "b",
  ]);
});

Deno.test("sweep: removes what nothing reads, captures count", () => {
  const model = conditional();
  const { graph } = model.proto;
  graph.initializer.push(floatTensor("unread", [1], Float32Array.of(1)));
  graph.initializer.push(floatTensor("deep2", [1], Float32Array.of(1)));
  graph.input.push({ ...graph.input[0], name: "fed" });
  graph.node[0].input[0] = "deep2";
  removeUnused(model);
  assertEquals(graph.initializer.map((tensor) => tensor.name), ["deep2"]);
  // An input that callers feed stays, read or not.
  assertEquals(graph.input.map((input) => input.name), ["x", "c", "fed"]);
});

/** A Constant node with one attribute. */
function constant(output: string, attribute: string, content: AttributeValue): NodeProto {
  return makeNode("Constant", "", [], [output], { [attribute]: content });
}

Deno.test("liftConstants: every kind of numeric constant", () => {
  const far = 2n ** 63n - 1n;
  const tensor = constant("t", "value", 0);
  tensor.attribute[0] = {
    ...makeAttribute("value", 0),
    type: 4,
    t: floatTensor("", [1], Float32Array.of(5)),
  };
  const model = build({
    opset: 13,
    inputs: { x: [1] },
    nodes: [
      tensor,
      constant("f", "value_float", 1.5),
      constant("fs", "value_floats", [1, 2]),
      constant("i", "value_int", far),
      constant("is", "value_ints", [far, -1n]),
      constant("text", "value_string", "left alone"),
      makeNode("Identity", "", ["x"], ["y"]),
    ],
    outputs: ["y"],
  });
  assertEquals(liftConstants(model), 5);
  assertEquals(model.proto.graph.node.map((node) => node.opType), ["Constant", "Identity"]);
  const values = model.proto.graph.initializer.map((
    t,
  ) => [t.name, t.dims.map(Number), [...readTensor(t)]]);
  assertEquals(values, [
    ["t", [1], [5]],
    ["f", [], [1.5]],
    ["fs", [2], [1, 2]],
    ["i", [], [far]],
    ["is", [2], [far, -1n]],
  ]);
});

Deno.test("unlistParameters: no initializer of a model of IR version 3 is an input", async () => {
  const model = diamond();
  const feeds = { x: value([2, 4]) };
  const expected = await runModel(model, feeds);
  model.proto.irVersion = 3n;
  model.proto.graph.input.push({ ...model.proto.graph.input[0], name: "w" });
  assertEquals(unlistParameters(model), []);
  assertEquals(model.proto.graph.input.map((input) => input.name), ["x"]);
  assertEquals(model.proto.irVersion, 4n);
  assertSameValues(await runModel(model, feeds), expected);
});

Deno.test("inputs with a default stay inputs and are no constants, unless they are weights", () => {
  const model = diamond();
  const { graph } = model.proto;
  const list = (name: string) => graph.input.push({ ...graph.input[0], name });
  graph.initializer.push(floatTensor("gain", [1], new Float32Array([2])));
  graph.node.push(makeNode("Mul", "", ["x", "gain"], ["gained"]));
  for (const name of ["w", "gain"]) list(name);
  model.proto.irVersion = 8n;
  assertEquals(unlistParameters(model), ["w"]);
  const index = new Graph(model);
  assertEquals(graph.input.map(({ name }) => name), ["x", "gain"]);
  assertEquals(index.inputs.map(({ name }) => name), ["x"]);
  assertEquals([index.constant("gain"), index.constant("w")?.name], [undefined, "w"]);
  // A default that nothing reads is still one that a caller may feed.
  graph.node.pop();
  removeUnused(model);
  assertEquals(graph.initializer.some(({ name }) => name === "gain"), true);
});

Deno.test("liftConstants: Identity of a constant vanishes where nothing else needs its name", async () => {
  const inBody = makeNode("If", "if", ["c"], ["z"]);
  for (const branch of ["then_branch", "else_branch"]) {
    const nodes = [makeNode("Add", "", ["x", "held"], [branch])];
    inBody.attribute.push(bodyAttribute(branch, graphOf({ inputs: {}, nodes, outputs: [branch] })));
  }
  const model = build({
    opset: 13,
    inputs: { x: [1], c: [] },
    types: { c: DataType.BOOL },
    nodes: [
      constant("k", "value_floats", [3]),
      makeNode("Identity", "", ["k"], ["k2"]),
      makeNode("Identity", "", ["k2"], ["k3"]),
      makeNode("Identity", "", ["k"], ["held"]),
      makeNode("Identity", "", ["k"], ["out"]),
      makeNode("Mul", "", ["x", "k3"], ["y"]),
      inBody,
    ],
    outputs: ["y", "z", "out"],
  });
  const feeds = { x: value([1], [2]), c: { type: "bool", dims: [], data: Uint8Array.of(1) } };
  const expected = await runModel(model, feeds);
  assertEquals(liftConstants(model), 3);
  assertEquals(model.proto.graph.node.map((n) => [n.opType, ...n.input]), [
    ["Identity", "k"],
    ["Identity", "k"],
    ["Mul", "x", "k"],
    ["If", "c"],
  ]);
  assertSameValues(await runModel(model, feeds), expected);
});

Deno.test("ancestors: only what is needed, stopping where told", () => {
  const { node } = diamond().proto.graph;
  const names = (nodes: NodeProto[]) => nodes.map(nodeName);
  assertEquals(names(ancestors(node, ["c"])), ["m", "s"]);
  assertEquals(names(ancestors(node, ["y"], new Set(["b", "c"]))), ["d", "u"]);
  assertEquals(names(ancestors(node, ["x"])), []);
});

Deno.test("extract: pieces, each fed with what the one before gave, give the whole model", async () => {
  const { graph } = diamond().proto;
  for (const cuts of [[1], [2], [3], [4], [1, 3], [2, 4], [1, 2, 3, 4]]) {
    const model = diamond();
    const index = new Graph(model);
    const whole = await runModel(model, { x: value([2, 4]) });
    let known: Record<string, Value> = { x: value([2, 4]) };
    for (const position of [...cuts, graph.node.length]) {
      const outputs = position === graph.node.length ? ["y"] : frontier(index, position);
      const inputs = new Map(Object.keys(known).map((name) => [name, DataType.FLOAT] as const));
      // A tensor that crosses the whole piece is not computed in it.
      const computed = outputs.filter((name) => !(name in known));
      const results = await runModel(extract(model, { inputs, outputs: computed }), known);
      known = Object.fromEntries(outputs.map((name) => [name, results[name] ?? known[name]]));
    }
    assertSameValues(known, whole, `cut at ${cuts}`);
  }
});

Deno.test("extract: brings along what bodies capture, and only the constants that are read", async () => {
  const model = conditional();
  model.proto.graph.initializer.push(floatTensor("unread", [1], Float32Array.of(1)));
  const inputs = new Map([["deep", DataType.FLOAT], ["x", DataType.FLOAT], ["c", DataType.BOOL]]);
  const piece = extract(model, { inputs, outputs: ["y"] });
  assertEquals(piece.proto.graph.node.map(nodeName), ["outer"]);
  assertEquals(piece.proto.graph.initializer, []);
  for (const c of [0, 1]) {
    const feeds = { x: value([2, 3]), c: { type: "bool", dims: [], data: Uint8Array.of(c) } };
    const whole = await runModel(model, feeds);
    const deep = (await runModel(
      extract(model, { inputs: new Map([["x", DataType.FLOAT]]), outputs: ["deep"] }),
      feeds,
    )).deep;
    assertSameValues(await runModel(piece, { ...feeds, deep }), whole);
  }
});

Deno.test("extract: a constant may be fed instead, and the model stays as it was", async () => {
  const model = diamond();
  const before = copyModel(model);
  const inputs = new Map([["x", DataType.FLOAT], ["w", DataType.FLOAT], [
    "unread",
    DataType.INT64,
  ]]);
  const piece = extract(model, { inputs, outputs: ["a"] });
  assertEquals(piece.proto.graph.initializer, []);
  assertEquals(piece.proto.graph.input.map((input) => input.name), ["x", "w"]);
  const { a } = await runModel(piece, {
    x: value([1, 4], [1, 0, 0, 0]),
    w: value([4, 1], [7, 8, 9, 10]),
  });
  assertEquals([...a.data], [7]);
  assertEquals(model.proto.graph.node, before.proto.graph.node);
  assertEquals(model.proto.graph.initializer, before.proto.graph.initializer);
});

Deno.test("int64Tensor keeps all 64 bits", () => {
  const values = [2n ** 63n - 1n, -(2n ** 63n), 5];
  assertEquals([...readTensor(int64Tensor("t", [3], values))], [2n ** 63n - 1n, -(2n ** 63n), 5n]);
});
