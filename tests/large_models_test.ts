/** Models that do not fit in one piece: only what runs is built, opened and kept. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertNotEquals } from "std/assert/not_equals.js";
import { assertThrows } from "std/assert/throws.js";
import { asItIs, Relay } from "../src/forward/relay.ts";
import { buildModel, buildPart, type Rounding, tensorAsRead } from "../src/emit/build.ts";
import { AttuneError } from "../src/errors.ts";
import { extract, frontier } from "../src/graph/extract.ts";
import { Graph } from "../src/graph/graph.ts";
import { partition, weightBytes } from "../src/graph/partition.ts";
import { modelChunks, modelDigest } from "../src/onnx/chunks.ts";
import { TensorProto_DataLocation } from "../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model, parseModel, serializeModel } from "../src/onnx/model.ts";
import { sessionParts } from "../src/onnx/session_bytes.ts";
import { DataType, externalEntries, floatTensor, rawTensor } from "../src/onnx/tensor.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import type { Runtime, Value } from "../src/runtime/session.ts";
import { everyLayer, layerFeeds, madeUpParts } from "./helpers/layers.ts";
import { assertSameValues, build, noise, runModel, value } from "./helpers/models.ts";

/** So many convolutions, one after another. */
function convs(count: number): Model {
  const channels = 8;
  return build({
    opset: 13,
    inputs: { x: ["N", channels, 8, 8] },
    nodes: Array.from(
      { length: count },
      (_, i) =>
        makeNode("Conv", `conv${i}`, [i === 0 ? "x" : `y${i - 1}`, `w${i}`], [`y${i}`], {
          pads: [1n, 1n, 1n, 1n],
        }),
    ),
    initializers: Array.from({ length: count }, (_, i) =>
      floatTensor(
        `w${i}`,
        [channels, channels, 3, 3],
        noise(channels * channels * 9, i + 1).map((value) => value / 5),
      )),
    outputs: [`y${count - 1}`],
  });
}

async function* images(count: number) {
  for (let i = 0; i < count; i++) {
    const data = noise(8 * 64, 100 + i);
    yield { source: `${i}`, inputs: { x: { type: "float32" as const, dims: [8, 8, 8], data } } };
  }
}

Deno.test("a part of the quantized model computes the same as the whole of it", async () => {
  const cases: PlanOptions[] = [{ bits: 4 }, { bits: 4, activationBits: "none" }, { bits: 3 }];
  for (const options of cases) {
    const made = makePlan(everyLayer(), options), { graph } = made;
    const parts = madeUpParts(made), whole = buildModel(made, parts, "float");
    // Everything is an output, so that all that crosses into a part is known.
    const all = whole.proto.graph.node.flatMap((node) => node.output).filter((name) => name !== "");
    const types = new Map(graph.inputs.map(({ name }) => [name, 1]));
    const feeds = layerFeeds();
    const known = {
      ...feeds,
      ...await runModel(extract(whole, { inputs: types, outputs: all }), feeds, {
        simulate: true,
        optimization: "basic",
      }),
    };
    for (let start = 0; start < graph.nodes.length; start += 3) {
      const inputs = new Map(frontier(graph, start).map((name) => [name, 1]));
      const read = made.layers.filter(({ target }) => graph.nodes.indexOf(target.node) >= start)
        .map(({ target }) => tensorAsRead(made, parts, target.input));
      const wanted = [...graph.nodes.slice(start).flatMap((node) => node.output), ...read];
      const outputs = [...new Set(wanted)].filter((name) => name !== "" && !inputs.has(name));
      const part = buildPart(made, parts, "float", { inputs, outputs });
      const found = await runModel(part, known, { simulate: true, optimization: "basic" });
      const expected = Object.fromEntries(outputs.map((name) => [name, known[name]]));
      assertSameValues(found, expected, `from node ${start}, ${JSON.stringify(options)}`);
    }
  }
});

Deno.test("only the layers of a part are dequantized", () => {
  const made = makePlan(convs(32), { bits: 4, activationBits: "none" });
  const parts = madeUpParts(made);
  let dequantized = 0;
  const counted = [...parts.roundings].map(([name, rounding]) => {
    const copy = { ...rounding } as { -readonly [K in keyof Rounding]: Rounding[K] };
    Object.defineProperty(copy, "levels", {
      get: () => (dequantized++, rounding.levels),
    });
    return [name, copy as Rounding] as const;
  });
  const known = { ...parts, roundings: new Map(counted) };
  for (let i = 1; i < 32; i++) {
    const inputs = new Map([[`y${i - 1}`, 1]]);
    buildPart(made, known, "float", { inputs, outputs: [`y${i}`] });
  }
  assertEquals(dequantized, 31);
});

Deno.test("twice the layers open twice the weights", async () => {
  const real = await loadBackend("web");
  const opened = async (count: number) => {
    let weights = 0;
    const runtime: Runtime = {
      name: real.name,
      open(bytes, options) {
        const { initializer } = parseModel(bytes).proto.graph;
        const own = initializer.filter(({ rawData }) => rawData.length === 4 * 8 * 8 * 9).length;
        // The check opens whole models, a few times for any number of layers.
        if (own < count) weights += own;
        return real.open(bytes, options);
      },
    };
    using pool = inlinePool(runtime);
    await quantize(makePlan(convs(count), { bits: 4, activationBits: "none" }), images(20), pool);
    return weights;
  };
  const few = await opened(16), many = await opened(32);
  assert(many < 2.5 * few, `16 layers: ${few} weights opened, 32: ${many}`);
});

Deno.test("tensors beside the message give the same values, on web and node", async () => {
  const model = convs(3), feeds = { x: value([2, 8, 8, 8]) };
  const int4 = buildModel(makePlan(model, { bits: 4, activationBits: "none" }), {
    ...madeUpParts(makePlan(model, { bits: 4, activationBits: "none" })),
    grids: new Map(),
  }, "qdq");
  for (const backend of ["web", "node"] as const) {
    const runtime = await loadBackend(backend);
    for (const each of [model, int4]) {
      const run = async (big: number) => {
        const { bytes, external } = sessionParts(each, { big });
        const session = await runtime.open(bytes, { external });
        const values = await session.run(feeds);
        await session.release();
        return { values, files: external.length };
      };
      const beside = await run(100), inside = await run(Infinity);
      assert(beside.files >= 3 && inside.files === 0);
      assertSameValues(beside.values, inside.values, backend);
    }
  }
});

Deno.test("a tensor beside the message takes no other bytes of its buffer along", () => {
  const file = new Uint8Array(serializeModel(convs(2)));
  for (const { data } of sessionParts(parseModel(file), { big: 100 }).external) {
    assertEquals(data.length, data.buffer.byteLength);
  }
});

Deno.test("chunks are the bytes of the message, whatever its fields", () => {
  const model = convs(4), { proto } = model;
  const large = floatTensor("large", [2 ** 15], noise(2 ** 15));
  large.docString = "after the data";
  proto.graph.initializer.splice(1, 0, large);
  proto.graph.docString = "a graph";
  proto.docString = "a model";
  proto.$unknown = [{ no: 999, wireType: 0, data: Uint8Array.of(5) }];
  const chunks = modelChunks(model), whole = serializeModel(model);
  assert(chunks.includes(large.rawData), "the data of a large tensor is not copied");
  assertEquals(new Uint8Array(chunks.flatMap((chunk) => [...chunk])), whole);
});

Deno.test("digests tell external data apart", async () => {
  const external = (value: number): Model => {
    const model = convs(1), [tensor] = model.proto.graph.initializer;
    const length = tensor.rawData.length;
    tensor.rawData = new Uint8Array(0);
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = externalEntries({ location: "w", offset: 0, length });
    return { ...model, external: () => new Uint8Array(length).fill(value) };
  };
  assertEquals(await modelDigest(external(1)), await modelDigest(external(1)));
  assertNotEquals(await modelDigest(external(1)), await modelDigest(external(2)));
});

Deno.test("a model in parts: weights within bounds, values as in one session", async () => {
  const pieces: Model[] = [
    convs(7),
    everyLayer(),
    // Weights that nodes unpack belong to the parts that read them.
    buildModel(makePlan(convs(7), { bits: 4, activationBits: "none", format: "packed" }), {
      ...madeUpParts(makePlan(convs(7), { bits: 4, activationBits: "none", format: "packed" })),
      grids: new Map(),
    }, "packed"),
  ];
  using pool = inlinePool(await loadBackend("web"));
  for (const model of pieces) {
    const graph = new Graph(model), { outputs } = graph;
    const most = Math.max(...weightBytes(graph).values());
    const parts = partition(graph, most);
    assert(parts.length > 2, `${parts.length} parts`);
    for (const { start, end } of parts) {
      const bytes = graph.nodes.slice(start, end).map((node) => weightBytes(graph).get(node)!);
      assert(bytes.reduce((a, b) => a + b, 0) <= most);
    }
    const names = new Set(graph.inputs.map(({ name }) => name));
    const all: Record<string, Value> = { ...layerFeeds(), x: value([2, 8, 8, 8]) };
    const feeds = Object.fromEntries(Object.entries(all).filter(([name]) => names.has(name)));
    const relay = new Relay(pool, [{ ...asItIs(model), outputs }], { most });
    await relay.load(feeds);
    await relay.run();
    const [found] = await relay.outputs(0), expected = await runModel(model, feeds);
    for (const name of outputs) {
      assertEquals(found[name].dims, expected[name].dims);
      [...found[name].data].forEach((value, i) =>
        assertAlmostEquals(Number(value), Number(expected[name].data[i]), 1e-4)
      );
    }
    await relay.clear();
  }
});

/** A model of one product whose weights are said to have so many bytes in another file. */
function huge(rows: number, depth: number, count: number): Model {
  const bytes = 4 * rows * depth;
  const model = build({
    opset: 17,
    inputs: { x: ["N", depth] },
    nodes: Array.from(
      { length: count },
      (_, i) =>
        makeNode("MatMul", `product${i}`, [i === 0 ? "x" : `y${i - 1}`, `w${i}`], [`y${i}`]),
    ),
    initializers: Array.from(
      { length: count },
      (_, i) =>
        Object.assign(rawTensor(`w${i}`, DataType.FLOAT, [depth, rows], new Uint8Array(0)), {
          dataLocation: TensorProto_DataLocation.EXTERNAL,
          externalData: externalEntries({ location: "w", offset: i * bytes, length: bytes }),
        }),
    ),
    outputs: [`y${count - 1}`],
  });
  return { ...model, external: (_location, _offset, length = bytes) => new Uint8Array(length) };
}

Deno.test("what no session holds is refused by the plan, with its bytes", () => {
  assertThrows(
    () => makePlan(huge(2 ** 16, 2 ** 13, 1)),
    AttuneError,
    `node "product0" of test.onnx: its weights have ${2 ** 31} bytes`,
  );
  const stack = huge(4096, 4096, 36);
  assertThrows(
    () => makePlan(stack, { bits: { kind: "budget", budget: { kind: "average", bits: 4 } } }),
    AttuneError,
    `have ${36 * 2 ** 26} bytes`,
  );
});
