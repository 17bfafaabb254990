/** Jobs that ask for little: one pass of the float model, and results as good as those of more. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { isLittle } from "../src/calibrate/one_pass.ts";
import { gatherColumns, tapShares } from "../src/engine/columns.ts";
import { evaluate } from "../src/evaluate/evaluate.ts";
import { channelStatistics, inputAxis } from "../src/layer/channel_moments.ts";
import { makeNode, type Model, serializeModel } from "../src/onnx/model.ts";
import { floatTensor, sizeOf } from "../src/onnx/tensor.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../src/quantize/options.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Runtime } from "../src/runtime/session.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { startPool } from "../src/workers/start.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";

/** Layers of every operator, Relus between them, and two that read the same. */
function network(): Model {
  const weight = (name: string, dims: number[], seed: number) => {
    const fan = sizeOf(dims.slice(1));
    return floatTensor(name, dims, noise(sizeOf(dims), seed).map((v) => v * 2 / Math.sqrt(fan)));
  };
  const pads = { pads: [1n, 1n, 1n, 1n] };
  return build({
    opset: 13,
    inputs: { x: ["N", 3, 16, 16] },
    nodes: [
      makeNode("Conv", "stem", ["x", "w0", "b0"], ["a"], { strides: [2n, 2n], ...pads }),
      makeNode("Relu", "r0", ["a"], ["b"]),
      makeNode("Conv", "depthwise", ["b", "w1"], ["c"], { group: 12n, ...pads }),
      makeNode("Relu", "r1", ["c"], ["d"]),
      makeNode("Conv", "left", ["d", "w2"], ["e"]),
      makeNode("Conv", "right", ["d", "w3"], ["f"], pads),
      makeNode("Add", "sum", ["e", "f"], ["g"]),
      makeNode("ConvTranspose", "up", ["g", "w4", "b4"], ["h"], { strides: [2n, 2n] }),
      makeNode("Relu", "r2", ["h"], ["i"]),
      makeNode("GlobalAveragePool", "pool", ["i"], ["j"]),
      makeNode("Flatten", "flat", ["j"], ["k"]),
      makeNode("Gemm", "head", ["k", "w5", "b5"], ["y"], { transB: 1n }),
    ],
    initializers: [
      weight("w0", [12, 3, 3, 3], 1),
      floatTensor("b0", [12], noise(12, 2)),
      weight("w1", [12, 1, 3, 3], 3),
      weight("w2", [8, 12, 1, 1], 4),
      weight("w3", [8, 12, 3, 3], 5),
      weight("w4", [8, 10, 2, 2], 6),
      floatTensor("b4", [10], noise(10, 7)),
      weight("w5", [6, 10], 8),
      floatTensor("b5", [6], noise(6, 9)),
    ],
    outputs: ["y"],
  });
}

async function* samples(from: number, count: number) {
  for (let i = from; i < from + count; i++) {
    yield { source: `${i}`, inputs: { x: { dims: [3, 16, 16], data: noise(768, 1000 + i) } } };
  }
}

const EIGHT: PlanOptions = { bits: 8 };
const NEAREST: QuantizeOptions = { rounding: { kind: "nearest" } };

Deno.test("only what asks for little is done in one pass", () => {
  const asks = (
    options: PlanOptions,
    rounding: QuantizeOptions["rounding"] = { kind: "nearest" },
  ) => isLittle({ plan: makePlan(network(), options) }, { rounding });
  assert(asks(EIGHT));
  assert(asks({ bits: 8, activationBits: "none" }));
  assert(!asks({ bits: 4 }));
  assert(!asks({ bits: 8, overrides: [{ pattern: "left", bits: 7 }] }));
  assert(!asks({ bits: 8, activationBits: 4 }));
  assert(!asks({ nested: [8, 4] }));
  assert(!asks(EIGHT, { kind: "attention" }));
});

Deno.test("one pass is as good as going from layer to layer, and runs a fraction of it", async () => {
  const model = network();
  const web = await loadBackend("web");
  const measured = async (options: QuantizeOptions) => {
    let images = 0;
    const counting: Runtime = {
      ...web,
      async open(...args) {
        const session = await web.open(...args);
        return {
          ...session,
          run: (feeds) => {
            images += Object.values(feeds)[0].dims[0];
            return session.run(feeds);
          },
          release: () => session.release(),
        };
      },
    };
    using pool = inlinePool(counting);
    const { model: small } = await quantize(makePlan(model, EIGHT), samples(0, 64), pool, options);
    const runs = images;
    const { mse } = await evaluate(small, model, samples(500, 64), pool);
    return { mse, runs };
  };
  const onePass = await measured(NEAREST),
    layerwise = await measured({
      rounding: { kind: "attention" },
    });
  assert(onePass.mse < 1.5 * layerwise.mse, `${onePass.mse} beside ${layerwise.mse}`);
  assert(onePass.runs < layerwise.runs / 2, `${onePass.runs} runs beside ${layerwise.runs}`);
});

Deno.test("biases are worth it in one pass, too", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const errorOf = async (biasCorrection: boolean) => {
    const options = { ...NEAREST, biasCorrection };
    const { model } = await quantize(makePlan(network(), EIGHT), samples(0, 64), pool, options);
    return (await evaluate(model, network(), samples(500, 64), pool)).mse;
  };
  assert(await errorOf(true) < await errorOf(false));
});

Deno.test("one pass gives the same bytes for any number of workers", async () => {
  const bytesBy = async (threads: number) => {
    using pool = await startPool({ threads });
    const { model } = await quantize(makePlan(network(), EIGHT), samples(0, 70), pool, NEAREST);
    return serializeModel(model);
  };
  assertEquals(await bytesBy(1), await bytesBy(3));
});

Deno.test("moments of channels are those of columns", async () => {
  const model = network(), made = makePlan(model, EIGHT), count = 64;
  for (const layer of made.layers) {
    const { target } = layer, { geometry, groups, rows, depth } = target;
    // Values of the layer's input, whatever computes them: other than zero in the mean.
    const dims = geometry.kind === "window" ? [count, 0, 9, 9] : [count, depth];
    if (geometry.kind === "window") {
      const taps = sizeOf(geometry.kernel);
      dims[1] = geometry.transposed ? target.shape[0] : groups * depth / taps;
    }
    const x = value(dims, noise(sizeOf(dims), 5).map((v, i) => v + (i % 7) / 7));
    const layerModel = build({
      opset: 13,
      inputs: { x: dims },
      nodes: [Object.assign(makeNode(target.op, "layer", ["x", "w"], ["y"]), {
        attribute: target.node.attribute,
      })],
      initializers: [floatTensor("w", [...target.shape], noise(sizeOf(target.shape), 3))],
      outputs: ["y"],
    });
    const { y } = await runModel(layerModel, { x });
    const positions = y.data.length / (groups * rows),
      all = Array.from({ length: positions }, (_, i) => i);
    const columns = new Float32Array(groups * depth * positions);
    const outputs = new Float32Array(groups * rows * positions);
    gatherColumns({ geometry, groups, rows, depth }, x, y, all, columns, outputs);
    const mean = (i: number) =>
      columns.subarray(i * positions, (i + 1) * positions).reduce((a, b) => a + b, 0) / positions;
    const axis = inputAxis(target) < 0 ? dims.length + inputAxis(target) : inputAxis(target);
    const width = sizeOf(dims.slice(axis + 1)), channels = dims[axis];
    const sums = {
      count: x.data.length / channels,
      sum: new Float64Array(channels),
      squares: new Float64Array(channels),
    };
    x.data.forEach((v, i) => {
      sums.sum[Math.floor(i / width) % channels] += Number(v);
      sums.squares[Math.floor(i / width) % channels] += Number(v) ** 2;
    });
    const shares = tapShares(target.geometry, x.dims, y.dims);
    const { inputMean } = channelStatistics(made, layer, sums, shares, { centred: false });
    for (let i = 0; i < groups * depth; i++) {
      assertAlmostEquals(inputMean[i], mean(i), 0.05, `${target.name}, input ${i}`);
    }
  }
});
