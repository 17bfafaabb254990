/** Runtimes: an accelerator that is not there, workers that do not start. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import * as ort from "onnxruntime-web/wasm";
import { AttuneError } from "../src/errors.ts";
import { makeNode, serializeModel } from "../src/onnx/model.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { startPool } from "../src/workers/start.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { onnxruntime, type OnnxRuntimeModule } from "../src/runtime/session.ts";
import { build, noise } from "./helpers/models.ts";

Deno.test("a failing accelerator: one note, and the processor from then on", async () => {
  await loadBackend("web"); // Sets the module up.
  const notes: string[] = [];
  const runtime = onnxruntime(ort as unknown as OnnxRuntimeModule, {
    accelerator: "webgpu",
    onFallback: (reason) => notes.push(reason),
  });
  const model = build({
    opset: 13,
    inputs: { x: [2] },
    nodes: [makeNode("Neg", "neg", ["x"], ["y"])],
    outputs: ["y"],
  });
  for (let i = 0; i < 2; i++) {
    const session = await runtime.open(sessionBytes(model));
    const feed = { x: { type: "float32", dims: [2], data: Float32Array.of(1, -2) } };
    assertEquals([...(await session.run(feed)).y.data], [-1, 2]);
    await session.release();
  }
  assertEquals(notes.length, 1);
  assert(notes[0].startsWith("webgpu does not work here"), notes[0]);
  await assertRejects(() => runtime.open(new Uint8Array([1, 2, 3])), AttuneError, "Cannot open");
});

Deno.test("an accelerator that opens models and fails at running them: the same answer, one note", async () => {
  await loadBackend("web");
  const notes: string[] = [], asked: boolean[] = [];
  const real = ort as unknown as OnnxRuntimeModule;
  const runtime = onnxruntime({
    Tensor: real.Tensor,
    InferenceSession: {
      async create(bytes, { executionProviders, ...options } = {}) {
        asked.push(executionProviders !== undefined);
        const session = await real.InferenceSession.create(bytes, options);
        return executionProviders === undefined ? session : {
          inputNames: session.inputNames,
          run: () => Promise.reject(new Error("the device was lost")),
          release: () => session.release(),
        };
      },
    },
  }, { accelerator: "webgpu", onFallback: (reason) => notes.push(reason) });
  const model = sessionBytes(build({
    opset: 13,
    inputs: { x: [2] },
    nodes: [makeNode("Neg", "neg", ["x"], ["y"])],
    outputs: ["y"],
  }));
  const feed = { x: { type: "float32", dims: [2], data: Float32Array.of(1, -2) } };
  const [first, second] = [await runtime.open(model), await runtime.open(model)];
  for (const session of [first, second, first, await runtime.open(model)]) {
    assertEquals([...(await session.run(feed)).y.data], [-1, 2]);
  }
  assertEquals(notes, ["webgpu does not work here: the device was lost"]);
  assertEquals(asked, [true, true, true, false, false, false]);
  await first.release();
  await second.release();
});

/** Runs `work` with another Worker. */
async function withWorker(Other: typeof Worker, work: () => Promise<void>): Promise<void> {
  const own = globalThis.Worker;
  globalThis.Worker = Other;
  try {
    await work();
  } finally {
    globalThis.Worker = own;
  }
}

Deno.test("where no worker starts, or none loads, all work is done in this thread", async () => {
  const none = class {
    constructor() {
      throw new Error("no workers here");
    }
  };
  const broken = class extends Worker {
    constructor() {
      super("data:text/javascript,throw new Error('blocked')", { type: "module" });
    }
  };
  const model = build({
    opset: 13,
    inputs: { x: ["N", 2] },
    nodes: [makeNode("MatMul", "product", ["x", "w"], ["y"])],
    initializers: [floatTensor("w", [2, 3], noise(6))],
    outputs: ["y"],
  });
  async function* samples() {
    for (let i = 0; i < 20; i++) {
      yield { source: `${i}`, inputs: { x: { dims: [2], data: noise(2, i + 1) } } };
    }
  }
  const run = async (threads: number) => {
    using pool = await startPool({ threads });
    const { model: made } = await quantize(
      makePlan(model, { edgeBits: 3, bits: 3 }),
      samples(),
      pool,
    );
    return { workers: pool.clients.length, bytes: serializeModel(made) };
  };
  const two = await run(2);
  assertEquals(two.workers, 2);
  for (const Other of [none, broken]) {
    await withWorker(Other as unknown as typeof Worker, async () => {
      assertEquals(await run(2), { workers: 1, bytes: two.bytes });
    });
  }
});
