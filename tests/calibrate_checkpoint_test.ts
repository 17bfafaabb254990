/** Interrupted jobs go on from their checkpoints, and from no other file. */

import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import {
  type CheckpointStore,
  decodeCheckpoint,
  encodeCheckpoint,
  type JobState,
} from "../src/calibrate/checkpoint.ts";
import { AttuneError } from "../src/errors.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { learning, residual, run, samples } from "./helpers/residual.ts";

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
