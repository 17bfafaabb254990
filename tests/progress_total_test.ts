/**
 * Progress that is told in every mode: each stage counts up to the total that it named at first.
 */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import type { CheckpointStore } from "../src/calibrate/checkpoint.ts";
import { evaluate } from "../src/evaluate/evaluate.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import type { OnProgress, ProgressEvent } from "../src/progress.ts";
import { quantize, type QuantizeOptions } from "../src/quantize/quantize.ts";
import { sweep } from "../src/quantize/sweep.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Sample } from "../src/samples/sample.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";

/** Convolutions in a row, two of them side by side, and a head. */
function network(): Model {
  const pads = { pads: [1n, 1n, 1n, 1n] };
  const names = ["a", "b", "c", "d", "e"];
  return build({
    opset: 13,
    inputs: { x: ["N", 12, 8, 8] },
    nodes: [
      makeNode("Conv", "one", ["x", "a"], ["t1"], pads),
      makeNode("Relu", "relu1", ["t1"], ["r1"]),
      makeNode("Conv", "two", ["r1", "b"], ["t2"], pads),
      makeNode("Conv", "beside", ["r1", "c"], ["t3"], pads),
      makeNode("Add", "add", ["t2", "t3"], ["t4"]),
      makeNode("Relu", "relu2", ["t4"], ["r2"]),
      makeNode("Conv", "three", ["r2", "d"], ["t5"], pads),
      makeNode("Relu", "relu3", ["t5"], ["r3"]),
      makeNode("Conv", "four", ["r3", "e"], ["t6"], pads),
      makeNode("GlobalAveragePool", "pool", ["t6"], ["p"]),
      makeNode("Flatten", "flat", ["p"], ["f"]),
      makeNode("Gemm", "head", ["f", "h"], ["y"]),
    ],
    initializers: [
      ...names.map((name, i) =>
        floatTensor(name, [12, 12, 3, 3], noise(1296, i + 1).map((v) => v / 4))
      ),
      floatTensor("h", [12, 3], noise(36, 9)),
    ],
    outputs: ["y"],
  });
}

async function* samples(count = 320): AsyncGenerator<Sample> {
  for (let i = 0; i < count; i++) {
    yield { inputs: { x: { dims: [12, 8, 8], data: noise(768, i + 1) } }, source: `noise ${i}` };
  }
}

/** The events that `work` tells, by their stage. */
async function eventsOf(
  work: (onProgress: OnProgress) => Promise<unknown>,
): Promise<Map<string, ProgressEvent[]>> {
  const stages = new Map<string, ProgressEvent[]>();
  await work((event) => {
    if (!stages.has(event.stage)) stages.set(event.stage, []);
    stages.get(event.stage)!.push(event);
  });
  return stages;
}

/** Asserts that `work` has just these stages, and that each of them comes to its end. */
async function assertComplete(
  expected: readonly string[],
  work: (onProgress: OnProgress) => Promise<unknown>,
): Promise<Map<string, ProgressEvent[]>> {
  const stages = await eventsOf(work);
  assertEquals([...stages.keys()], expected);
  for (const [stage, events] of stages) {
    const { total } = events[0];
    let before = 0;
    for (const { done, total: now } of events) {
      assertEquals(now, total, `${stage}: its total changes`);
      assert(done >= before, `${stage}: ${done} after ${before}`);
      // Parts of a unit are added up.
      assert(total === 0 || done <= total + 1e-6, `${stage}: ${done} of ${total}`);
      before = done;
    }
    if (total > 0) {
      assertAlmostEquals(before, total, 1e-6, `${stage} ends at ${before} of ${total}`);
    }
  }
  return stages;
}

async function job(planned: PlanOptions, options: QuantizeOptions) {
  using pool = inlinePool(await loadBackend("web"));
  return await quantize(makePlan(network(), planned), samples(), pool, { heldOut: 16, ...options });
}

const QUANTIZE = ["read samples", "quantize", "check"];
const budget = { kind: "budget", budget: { kind: "average", bits: 3.5 } } as const;
const blocks = { kind: "blocks", steps: 6 } as const;

const MIXED = ["read samples", "measure", "quantize", "check"];

/** Names of modes, with the stages, the plan and the options of each. */
const modes: readonly [string, readonly string[], PlanOptions, QuantizeOptions][] = [
  ["plain", QUANTIZE, { bits: 4 }, {}],
  ["float activations", QUANTIZE, { bits: 4, activationBits: "none" }, {}],
  ["nearest rounding", QUANTIZE, { bits: 8 }, { rounding: { kind: "nearest" } }],
  ["blocks", QUANTIZE, { bits: 3 }, { reconstruction: blocks }],
  ["blocks without time", QUANTIZE, { bits: 3 }, {
    reconstruction: { kind: "blocks", timeBudget: 1 },
    started: performance.now() - 1e7,
  }],
  ["nested", QUANTIZE, { nested: [8, 6, 4] }, {}],
  ["mixed bits", MIXED, { bits: budget }, {}],
  ["mixed bits by gradients", MIXED, { bits: { ...budget, strategy: "gradient" } }, {}],
];

for (const [name, expected, planned, options] of modes) {
  Deno.test(`progress reaches its total: ${name}`, async () => {
    const stages = await assertComplete(
      expected,
      (onProgress) => job(planned, { ...options, onProgress }),
    );
    const advances = stages.get("quantize")!.filter(({ detail }) => detail === "next segment");
    const onePass = name === "nearest rounding";
    assert(advances.length > 0 !== onePass, "there are several segments, but in one pass");
  });
}

/** A checkpoint in memory that stops the job after the first segment. */
function stoppingStore(controller: AbortController): CheckpointStore {
  let saved: Uint8Array | undefined;
  return {
    name: "memory",
    load: () => saved,
    save(bytes) {
      if (saved === undefined) controller.abort();
      saved = bytes;
    },
    clear: () => void (saved = undefined),
  };
}

for (
  const [name, options] of Object.entries<QuantizeOptions>({
    plain: {},
    blocks: { reconstruction: blocks },
  })
) {
  Deno.test(`progress reaches its total: what was stopped and goes on, ${name}`, async () => {
    const controller = new AbortController(), checkpoint = stoppingStore(controller);
    const stopped = { ...options, checkpoint, signal: controller.signal };
    await assertRejects(() => job({ bits: 4 }, stopped), AttuneError, "Stopped");
    const stages = await assertComplete(
      QUANTIZE,
      (onProgress) => job({ bits: 4 }, { ...options, checkpoint, resume: true, onProgress }),
    );
    assert(stages.get("quantize")!.some(({ detail }) => detail === "done before"));
  });
}

Deno.test("progress reaches its total: sweep", async () => {
  using pool = inlinePool(await loadBackend("web"));
  await assertComplete(
    ["read samples", "measure", "compare"],
    (onProgress) =>
      sweep(makePlan(network()), samples(), pool, {
        averages: [3, 4],
        strategies: ["coding-length", "measured", "gradient"],
        onProgress,
      }),
  );
});

Deno.test("progress counts up where the total is not known: evaluate", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const stages = await assertComplete(
    ["evaluate"],
    (onProgress) => evaluate(network(), network(), samples(100), pool, { onProgress }),
  );
  assertEquals(stages.get("evaluate")!.at(-1)!.done, 100);
});
