/** Models that do not fit in one piece: only what runs is built, opened and kept. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { buildModel, buildPart, type Rounding, tensorAsRead } from "../src/emit/build.ts";
import { extract, frontier } from "../src/graph/extract.ts";
import { makeNode, type Model, parseModel } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { plan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/runtime/pool.ts";
import type { Runtime } from "../src/runtime/session.ts";
import { everyLayer, layerFeeds, madeUpParts } from "./helpers/layers.ts";
import { assertSameValues, build, noise, runModel } from "./helpers/models.ts";

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
    const made = plan(everyLayer(), options), { graph } = made;
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
  const made = plan(convs(32), { bits: 4, activationBits: "none" });
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
        weights +=
          parseModel(bytes).proto.graph.initializer.filter((tensor) =>
            tensor.rawData.length === 4 * 8 * 8 * 9
          ).length;
        return real.open(bytes, options);
      },
    };
    using pool = inlinePool(runtime);
    await quantize(plan(convs(count), { bits: 4, activationBits: "none" }), images(20), pool);
    return weights;
  };
  const few = await opened(16), many = await opened(32);
  assert(many < 2.5 * few, `16 layers: ${few} weights opened, 32: ${many}`);
});
