/** Blocks: where models are cut, that learning them helps, and that interrupted jobs go on. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { TimeBudget } from "../src/blocks/time_budget.ts";
import { batchesThatFit, cutBlocks, type CutOptions } from "../src/blocks/partition.ts";
import { resolveBlocks } from "../src/blocks/options.ts";
import { BlockSamples } from "../src/blocks/samples.ts";
import {
  type CheckpointStore,
  decodeCheckpoint,
  encodeCheckpoint,
  type JobState,
} from "../src/calibrate/checkpoint.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, type Model, serializeModel } from "../src/onnx/model.ts";
import { floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import type { QuantizeOptions } from "../src/quantize/options.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { startPool } from "../src/workers/start.ts";
import type { Sample } from "../src/samples/sample.ts";
import { build, noise } from "./helpers/models.ts";

const pads = { pads: [1n, 1n, 1n, 1n] };
const scaled = (name: string, shape: number[], seed: number) => {
  const size = shape.reduce((a, b) => a * b), depth = size / shape[0];
  return floatTensor(name, shape, noise(size, seed).map((value) => value * 2 / Math.sqrt(depth)));
};

/** stem → two residual blocks → pool → head. */
function residual(batch: number | string = "N"): Model {
  const block = (i: number, from: string, to: string) => [
    makeNode("Conv", `block${i}/one`, [from, `w${i}1`, `b${i}1`], [`a${i}`], pads),
    makeNode("Relu", `block${i}/relu1`, [`a${i}`], [`r${i}`]),
    makeNode("Conv", `block${i}/two`, [`r${i}`, `w${i}2`, `b${i}2`], [`c${i}`], pads),
    makeNode("Add", `block${i}/add`, [from, `c${i}`], [`s${i}`]),
    makeNode("Relu", `block${i}/relu2`, [`s${i}`], [to]),
  ];
  return build({
    opset: 13,
    inputs: { x: [batch, 3, 8, 8] },
    nodes: [
      makeNode("Conv", "stem", ["x", "w", "b"], ["p"], pads),
      makeNode("Relu", "relu", ["p"], ["h0"]),
      ...block(1, "h0", "h1"),
      ...block(2, "h1", "h2"),
      makeNode("GlobalAveragePool", "pool", ["h2"], ["g"]),
      makeNode("Flatten", "flatten", ["g"], ["f"]),
      makeNode("Gemm", "head", ["f", "wh", "bh"], ["y"], { transB: 1n }),
    ],
    initializers: [
      scaled("w", [8, 3, 3, 3], 1),
      floatTensor("b", [8], noise(8, 2)),
      ...[1, 2].flatMap((i) =>
        [1, 2].flatMap((j) => [
          scaled(`w${i}${j}`, [8, 8, 3, 3], 10 * i + j),
          floatTensor(`b${i}${j}`, [8], noise(8, 20 * i + j)),
        ])
      ),
      scaled("wh", [5, 8], 90),
      floatTensor("bh", [5], noise(5, 91)),
    ],
    outputs: ["y"],
  });
}

async function* samples(count: number): AsyncGenerator<Sample> {
  for (let i = 0; i < count; i++) {
    yield { inputs: { x: { dims: [3, 8, 8], data: noise(192, i + 1) } }, source: `noise ${i}` };
  }
}

const learning: QuantizeOptions = {
  reconstruction: { kind: "blocks", iterations: 40 },
  heldOut: 24,
};

async function run(
  model: Model,
  options: QuantizeOptions,
  activationBits: 4 | 8 | "none" = "none",
) {
  using pool = inlinePool(await loadBackend("web"));
  return await quantize(makePlan(model, { bits: 2, activationBits }), samples(400), pool, options);
}

const namesOf = (model: Model) =>
  cutBlocks(makePlan(model)).map(({ steps }) => steps.flat().map((layer) => layer.target.name));

Deno.test("cutBlocks: residual blocks stay whole, runs of layers are joined, all nodes are in one", () => {
  assertEquals(namesOf(residual()), [
    ["stem", "block1/one", "block1/two"],
    ["block2/one", "block2/two", "head"],
  ]);
  const { graph } = makePlan(residual());
  const blocks = cutBlocks(makePlan(residual()));
  assertEquals(blocks.map(({ start }) => start), [0, ...blocks.slice(0, -1).map(({ end }) => end)]);
  assertEquals(blocks.at(-1)!.end, graph.nodes.length);
  assertEquals(blocks.map(({ inputs, outputs }) => [inputs, outputs]), [
    [["x"], ["h1"]],
    [["h1"], ["y"]],
  ]);
});

Deno.test("cutBlocks: a chain is cut into threes where its tensors are small", () => {
  const widths = [3, 4, 16, 16, 4, 16, 16, 4];
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 4, 4] },
    nodes: widths.slice(1).map((_, i) =>
      makeNode("Conv", `c${i + 1}`, [i === 0 ? "x" : `t${i}`, `w${i + 1}`], [`t${i + 1}`])
    ),
    initializers: widths.slice(1).map((width, i) =>
      scaled(`w${i + 1}`, [width, widths[i], 1, 1], i)
    ),
    outputs: ["t7"],
  });
  const made = makePlan(model);
  const shapes = new Map(
    ["x", "t1", "t2", "t3", "t4", "t5", "t6", "t7"].map((name, i) => [
      name,
      { dims: [1, widths[i], 4, 4], type: 1, bytes: 64 * widths[i] },
    ]),
  );
  const lengths = (options: CutOptions) =>
    cutBlocks(made, { shapes, ...options }).map(({ steps }) => steps.length);
  assertEquals(lengths({}), [1, 3, 3]);
  // The second block holds 64 · (16 + 16 + 4) bytes, four times over, per sample.
  const bytes = 4 * 64 * 36;
  assertEquals(lengths({ samples: 8, memory: 8 * bytes }), [1, 3, 3]);
  // A byte less, and it is split.
  const split = lengths({ samples: 8, memory: 8 * bytes - 1 });
  assert(split.length > 3 && split.every((length) => length < 3), `${split}`);
  assertEquals(lengths({ memory: 0 }), [1, 1, 1, 1, 1, 1, 1]);
  assertEquals(batchesThatFit(made, shapes, 4 * 64 * 16 * 5), 5);
  assertEquals(batchesThatFit(made, shapes, 1), 1);
});

Deno.test("cutBlocks: long skips make one block of what cannot be cut cleanly, up to a limit", () => {
  // Every layer is added to the first one's output in the end: nothing but the ends is clean.
  const n = 20;
  const model = build({
    opset: 13,
    inputs: { x: ["N", 4, 4, 4] },
    nodes: [
      ...Array.from(
        { length: n },
        (_, i) => makeNode("Conv", `c${i}`, [i === 0 ? "x" : `t${i - 1}`, `w${i}`], [`t${i}`]),
      ),
      makeNode("Add", "add", ["t0", `t${n - 1}`], ["y"]),
    ],
    initializers: Array.from({ length: n }, (_, i) => scaled(`w${i}`, [4, 4, 1, 1], i)),
    outputs: ["y"],
  });
  const blocks = cutBlocks(makePlan(model));
  assertEquals(blocks.reduce((sum, { steps }) => sum + steps.length, 0), n);
  assert(blocks.every(({ steps }) => steps.length <= 12));
  // What only passes a block is not its output.
  const middle = blocks.find(({ inputs }) => inputs.includes("t0"))!;
  assert(!middle.outputs.includes("t0"));
});

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

/** A checkpoint in memory that stops the job after `segments`. */
function memoryStore(stopAfter: number, controller: AbortController) {
  let kept: Uint8Array | undefined, saves = 0;
  const store: CheckpointStore = {
    name: "memory",
    load: () => kept,
    save(bytes) {
      kept = bytes;
      if (++saves === stopAfter) controller.abort();
    },
    clear: () => void (kept = undefined),
  };
  return store;
}

Deno.test("checkpoint: an interrupted job goes on to the same bytes, blocks or not", async () => {
  for (const options of [learning, { heldOut: 24 }]) {
    const whole = serializeModel((await run(residual(), options)).model);
    const controller = new AbortController(), checkpoint = memoryStore(1, controller);
    const stopped = { ...options, checkpoint, signal: controller.signal };
    await assertRejects(() => run(residual(), stopped), AttuneError, "Stopped");
    const again = { ...options, checkpoint, resume: true };
    const resumed = await run(residual(), again);
    assertEquals(serializeModel(resumed.model), whole);
    const other = { ...options, checkpoint, resume: true, seed: 7 };
    const error = await assertRejects(
      () => run(residual(), other),
      AttuneError,
      "seed was 0, is 7",
    );
    assertEquals(error.code, "bad-option");
    // What another runtime goes on with would not be the bytes of an undisturbed run.
    using inline = inlinePool(await loadBackend("web"));
    using pool = inlinePool({ ...await loadBackend("web"), name: "other" });
    await assertRejects(
      () =>
        quantize(
          makePlan(residual(), { bits: 2, activationBits: "none" }),
          samples(400),
          pool,
          again,
        ),
      AttuneError,
      'backend was "web", is "other"',
    );
    // Other weights, other samples.
    const changed = residual(), [weight] = changed.proto.graph.initializer;
    weight.rawData = weight.rawData.map((byte, i) => i === 0 ? byte ^ 1 : byte);
    await assertRejects(() => run(changed, again), AttuneError, "model was");
    await assertRejects(
      () =>
        quantize(
          makePlan(residual(), { bits: 2, activationBits: "none" }),
          samples(392),
          inline,
          again,
        ),
      AttuneError,
      "samples was",
    );
  }
});

Deno.test("checkpoint: every cut, every changed byte and every other file is refused", async () => {
  const state: JobState = {
    segments: 2,
    layers: new Map([["a", {
      rounding: {
        levels: Int8Array.of(1, -2, 3),
        scales: Float32Array.of(0.5),
        lows: Int8Array.of(-3),
        bias: Float32Array.of(7),
      },
      error: { nearest: 2, final: 1 },
    }]]),
    grids: new Map([["t", { bits: 4, scale: 0.1, zeroPoint: 3, lo: -0.3, hi: 1.2 }]]),
    warnings: ["careful"],
    blocks: [],
  };
  const identity = { version: "1", bits: 4 };
  const bytes = await encodeCheckpoint(identity, state);
  assertEquals(await decodeCheckpoint("f", bytes, identity), state);
  const refused = (other: Uint8Array) =>
    assertRejects(() => decodeCheckpoint("f", other, identity), AttuneError, "from f: it is");
  for (let at = 0; at < bytes.length; at++) {
    await refused(bytes.slice(0, at));
    await refused(bytes.with(at, bytes[at] ^ (1 << at % 8)));
  }
  await refused(new Uint8Array([...bytes, 0]));
  await assertRejects(
    () => decodeCheckpoint("f", bytes, { ...identity, bits: 3 }),
    AttuneError,
    "bits was 4, is 3",
  );
});

Deno.test("TimeBudget: blocks share what is left, by cost and by how far off they are", () => {
  const costs = [1, 1, 2].map((cost) => ({ running: cost, rounding: cost, learning: cost }));
  const budget = new TimeBudget(100, 0, costs);
  // A second for the first block's layers, so three more for the others'; 97 seconds are there.
  const first = budget.deadline(0, 0.1, 1000, { running: 600, rounding: 400 });
  assertEquals(Math.round(first), 1000 + Math.round((97000 - 1000 - 3000) / 4));
  const now = first + 1000;
  // Far more off than the mean: but at most twice the share.
  const second = budget.deadline(1, 100, now, { running: 1200, rounding: 800 });
  const left = 97000 - now - 2000;
  assert(second - now <= left * 2 / 4 + 1 && second - now > left / 3);
  const last = budget.deadline(2, 0.1, second + 2000, { running: 2400, rounding: 1600 });
  assert(Math.abs(last - 97000) < 1, "the last block gets all that is left");
  const endless = new TimeBudget(Infinity, 0, costs);
  assertEquals(endless.deadline(0, 1, 5, { running: 0, rounding: 0 }), Infinity);
});

Deno.test("TimeBudget: layers that are dear to round, and the check, leave less to learn in", () => {
  // A tenth of the first block's time went into rounding, which costs `last` times as much in the
  // other.
  const deadline = (last: number, check = 0) => {
    const costs = [1, last].map((rounding) => ({ running: 1, rounding, learning: 1 }));
    const budget = new TimeBudget(100, 0, costs, check);
    return Math.round(budget.deadline(0, 1, 1000, { running: 900, rounding: 100 }));
  };
  assertEquals(deadline(1), 1000 + (97000 - 1000 - 1000) / 2);
  assertEquals(deadline(91), 1000 + (97000 - 1000 - 10000) / 2);
  assertEquals(deadline(91, 10), 1000 + (97000 - 1000 - 19000) / 2);
  assertEquals(deadline(1000), 1000, "no time to learn");
});

Deno.test("a time budget that is spent leaves layers as they were rounded; one that is not, does not", async () => {
  // Nothing depends on the clock: one budget was over before the job began, the other is endless.
  for (const [timeBudget, ago] of [[100, 1e9], [1e6, 0]]) {
    const { report } = await run(residual(), {
      reconstruction: { kind: "blocks", timeBudget, iterations: 3 },
      heldOut: 8,
      started: performance.now() - ago,
    });
    for (const { iterations, outcome } of report.blocks) {
      assertEquals(iterations, ago > 0 ? 0 : 3);
      assertEquals(outcome === "no time", ago > 0);
    }
    assertEquals(report.warnings.some((text) => /not learned/.test(text)), ago > 0);
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
