/** That learning blocks helps, on which samples it learns, and what stays as it was rounded. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { resolveBlocks } from "../src/blocks/options.ts";
import { BlockSamples } from "../src/blocks/samples.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, serializeModel } from "../src/onnx/model.ts";
import { int64Tensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { startPool } from "../src/workers/start.ts";
import { build } from "./helpers/models.ts";
import { learning, residual, run, samples, scaled } from "./helpers/residual.ts";

Deno.test("blocks: learning makes the model better, the same for any number of workers", async () => {
  const plain = await run(residual(), { heldOut: 24 });
  const learned = await run(residual(), learning);
  assert(
    learned.report.check!.mseToFloat < plain.report.check!.mseToFloat,
    `${learned.report.check!.mseToFloat} of ${plain.report.check!.mseToFloat}`,
  );
  const { blocks } = learned.report;
  assertEquals(blocks.length, 2);
  for (const { error, iterations } of blocks) {
    assert(error!.after <= error!.before);
    assertEquals(iterations, 40);
  }
  assert(blocks.some(({ error }) => error!.after < error!.before));
  assert(learned.report.check!.mseToSimulation < 1e-6);
  for (const threads of [2, 3]) {
    using pool = await startPool({ threads });
    assertEquals(pool.clients.length, threads);
    const made = makePlan(residual(), { bits: 2, activationBits: "none" });
    const { model } = await quantize(made, samples(400), pool, learning);
    assertEquals(serializeModel(model), serializeModel(learned.model));
  }
});

Deno.test("blocks: steps of 4-bit activations are learned, too", async () => {
  const plain = await run(residual(), { heldOut: 24 }, 4);
  const learned = await run(residual(), learning, 4);
  const scales = (layers: typeof plain.report.layers) => layers.map((l) => l.activation?.scale);
  assertEquals(plain.report.layers.map((l) => l.activation?.bits), [8, 4, 4, 4, 4, 8]);
  assert(scales(plain.report.layers).join() !== scales(learned.report.layers).join());
  const gains = learned.report.blocks.map(({ error }) => error!.after / error!.before);
  assert(Math.min(...gains) < 0.97, gains.join());
  // A few samples say little: it must not be far worse.
  const [after, before] = [learned, plain].map(({ report }) => report.check!.mseToFloat);
  assert(after < 1.1 * before, `${after} of ${before}`);
  assert(learned.report.check!.mseToSimulation < 1e-3, `${learned.report.check!.mseToSimulation}`);
});

Deno.test("blocks: a fixed batch, and what stays as it was rounded", async () => {
  const fixed = await run(residual(4), learning);
  assert(fixed.report.blocks.every(({ iterations }) => iterations === 40));
  const { report } = await run(
    build({
      opset: 13,
      inputs: { x: ["N", 3, 8, 8] },
      nodes: [
        makeNode("Conv", "first", ["x", "w1"], ["a"]),
        makeNode("Conv", "second", ["a", "w2"], ["b"]),
        makeNode("CumSum", "running", ["b", "axis"], ["c"]),
        makeNode("Conv", "third", ["c", "w3"], ["y"]),
      ],
      initializers: [
        scaled("w1", [4, 3, 1, 1], 1),
        scaled("w2", [4, 4, 1, 1], 2),
        scaled("w3", [4, 4, 1, 1], 3),
        int64Tensor("axis", [], [1]),
      ],
      outputs: ["y"],
    }),
    learning,
  );
  assertEquals(report.blocks.map(({ note }) => note), [
    'node "running" (CumSum) has no gradient here',
  ]);
  const few = await quantize(
    makePlan(residual(), { bits: 2 }),
    samples(6),
    inlinePool(await loadBackend("web")),
    learning,
  );
  assert(few.report.blocks.every(({ note }) => note === "too few samples"));
});

Deno.test("blocks: options are checked", () => {
  for (
    const [options, message] of [
      [{ iterations: 0 }, "iterations"],
      [{ timeBudget: -1 }, "time budget"],
      [{ learningRate: NaN }, "learningRate"],
      [{ batch: 1.5 }, "batch"],
    ] as const
  ) {
    const error = assertThrows(
      () => resolveBlocks({ kind: "blocks", ...options }),
      AttuneError,
      message,
    );
    assertEquals(error.code, "bad-option");
  }
});

Deno.test("BlockSamples: all samples once before any twice, none that is judged by", () => {
  const layout = {
    batches: 11,
    batchSize: 6,
    samples: 63,
    sizes: [...Array(10).fill(6), 3],
  };
  const set = new BlockSamples(layout, { size: 2, fixed: false, seed: 3 });
  const key = (lane: number, { batch, row }: { batch: number; row: number }) =>
    `${lane} ${batch} ${row}`;
  const judged = new Set(
    set.judged(1000).flatMap(({ lane, samples }) => samples.map((at) => key(lane, at))),
  );
  assertEquals(judged.size, Math.floor(63 / 8));
  const seen: string[] = [];
  for (let step = 0; step < 40; step++) {
    const shards = set.shards(step, 4);
    assertEquals(shards.length, 4);
    for (const { lane, samples } of shards) {
      assertEquals(samples.length, 2);
      for (const at of samples) if (lane === 0) seen.push(key(lane, at));
    }
  }
  assert(seen.every((at) => !judged.has(at)));
  const each = new Set(seen).size;
  assertEquals(new Set(seen.slice(0, each)).size, each);
});
