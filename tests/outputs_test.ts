/** What models compute of samples, side by side. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { AttuneError } from "../src/errors.ts";
import { openModels, rowsOfRun, type RunOutputs } from "../src/evaluate/outputs.ts";
import type { Batching } from "../src/forward/batching.ts";
import { asItIs, type Runner } from "../src/forward/relay.ts";
import { Graph } from "../src/graph/graph.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Sample } from "../src/samples/sample.ts";
import { type EnginePool, inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";

const backend = await loadBackend("web");

/** y = factor · x, on batches of `size`. */
function scaled(factor: number, size: number | string): Model {
  return build({
    opset: 17,
    inputs: { x: [size, 3] },
    nodes: [makeNode("Mul", "mul", ["x", "f"], ["y"])],
    initializers: [floatTensor("f", [1], Float32Array.of(factor))],
    outputs: ["y"],
  });
}

const samples: readonly Sample[] = Array.from({ length: 5 }, (_, i) => ({
  source: `s${i}`,
  label: i,
  inputs: { x: { dims: [1, 3], data: noise(3, i + 1) } },
}));

function batchingOf(model: Model, size: number | undefined): Batching {
  const axes = new Map([["x", 0]]), outputs = new Map([["y", 0]]);
  return { inputs: new Graph(model).inputs, axes, outputs, size };
}

async function runsOf(pool: EnginePool, runners: readonly Runner[], options: {
  readonly batching: Batching;
  readonly runSize?: number;
  readonly ahead?: number;
}): Promise<RunOutputs[]> {
  const runs: RunOutputs[] = [];
  const models = await openModels(pool, runners);
  for await (const run of models.outputsOf(samples, options)) runs.push(run);
  return runs;
}

const runner = (model: Model): Runner => ({ ...asItIs(model), outputs: ["y"] });

/** Rows of `factor` times each sample. */
const expected = (factor: number) =>
  samples.map(({ inputs }) => (inputs.x.data as Float32Array).map((value) => factor * value));

Deno.test("every sample has a row in every model, whatever the runs", async () => {
  using pool = inlinePool(backend);
  for (
    const [size, runSize, lengths] of [
      // A fixed batch is filled up, and what came of that cut off.
      [2, 1, [2, 2, 1]],
      [8, 1, [5]],
      [1, 4, [1, 1, 1, 1, 1]],
      // An open one is as long as it is.
      [undefined, 3, [3, 2]],
      [undefined, undefined, [1, 1, 1, 1, 1]],
    ] as const
  ) {
    const models = [2, -4].map((factor) => scaled(factor, size ?? "N"));
    const batching = batchingOf(models[0], size);
    for (const ahead of [0, 2]) {
      const runs = await runsOf(pool, models.map(runner), { batching, runSize, ahead });
      assertEquals(runs.map((run) => run.samples.length), lengths);
      assertEquals(runs.flatMap((run) => run.samples), samples);
      for (const [i, factor] of [2, -4].entries()) {
        const rows = runs.flatMap((run) => rowsOfRun(batching, run, "y", run.outputs[i].y));
        assertEquals(rows, expected(factor));
      }
    }
  }
});

Deno.test("a model is fed by the names of its inputs, and no session stays open", async () => {
  using pool = inlinePool(backend);
  const model = scaled(2, "N"),
    other = build({
      opset: 17,
      inputs: { z: ["N", 3] },
      nodes: [makeNode("Neg", "neg", ["z"], ["y"])],
      outputs: ["y"],
    });
  const batching = batchingOf(model, undefined);
  const fed: Runner = { ...runner(other), feeds: ({ x }) => ({ z: x }) };
  const { x: first } = samples[0].inputs,
    batch = {
      x: { type: "float32" as const, dims: first.dims, data: first.data as Float32Array },
    };
  const { y } = await (await openModels(pool, [runner(model)])).once(batch);
  assertEquals(y.data, expected(2)[0]);
  const runs = await runsOf(pool, [runner(model), fed], { batching, runSize: 2 });
  assertEquals(
    runs.flatMap((run) => rowsOfRun(batching, run, "y", run.outputs[1].y)),
    expected(-1),
  );
  await assertRejects(() => pool.clients[0].call("run", ["outputs 0", batch]));
});

Deno.test("a signal stops between two runs", async () => {
  using pool = inlinePool(backend);
  const model = scaled(2, 1), controller = new AbortController();
  const options = { batching: batchingOf(model, 1), signal: controller.signal };
  let runs = 0;
  const error = await assertRejects(async () => {
    const models = await openModels(pool, [runner(model)]);
    for await (const _ of models.outputsOf(samples, options)) {
      if (++runs === 2) controller.abort();
    }
  }, AttuneError);
  assert(error.code === "aborted" && runs === 2, `${error.code} after ${runs}`);
});
