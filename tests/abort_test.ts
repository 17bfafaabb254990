/**
 * Jobs that are stopped, and workers that crash or hang: every call ends, and nothing stays behind.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { AttuneError } from "../src/errors.ts";
import { evaluate } from "../src/evaluate/evaluate.ts";
import { readModel } from "../src/onnx/file.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { makePlan } from "../src/plan/plan.ts";
import type { OnProgress } from "../src/progress.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { workerPort } from "../src/workers/ports.ts";
import { Client } from "../src/workers/rpc.ts";
import { startPool } from "../src/workers/start.ts";
import { openSamples } from "../src/samples/open.ts";
import { sweep } from "../src/quantize/sweep.ts";
import { inFolder, root } from "./helpers/command_line.ts";

/** What workers of these tests can be asked for. */
interface Service {
  answer(): number;
  stall(): number;
  crash(): number;
}

/** A worker that answers, never ends, or crashes. */
function worker(): Worker {
  const code = `onmessage = ({ data: { id, method } }) => {
    if (method === "answer") postMessage({ id, kind: "result", result: 42 });
    if (method === "stall") for (;;);
    if (method === "crash") setTimeout(() => { throw new Error("out of bounds"); });
  };`;
  return new Worker(`data:text/javascript,${encodeURIComponent(code)}`, { type: "module" });
}

Deno.test("calls on a client that was disposed of fail at once, those under way too", async () => {
  const client = new Client<Service>(workerPort(worker()));
  assertEquals(await client.call("answer", []), 42);
  const underWay = client.call("stall", []);
  client[Symbol.dispose]();
  for (const call of [underWay, client.call("answer", [])]) {
    assertEquals((await assertRejects(() => call, AttuneError)).code, "aborted");
  }
});

Deno.test("calls on a worker that crashed fail at once, those under way too", async () => {
  const client = new Client<Service>(workerPort(worker()));
  const calls = [client.call("crash", []), client.call("crash", [])];
  for (const call of calls) await assertRejects(() => call, AttuneError, "out of bounds");
  await assertRejects(() => client.call("answer", []), AttuneError, "out of bounds");
});

Deno.test("a worker that hangs is ended, one that is slow in other work is not", async () => {
  const watched = new Set(["stall"]);
  const hung = new Client<Service>(workerPort(worker()), { patience: 0.3, watched });
  assertEquals(await hung.call("answer", []), 42);
  const calls = [hung.call("stall", []), hung.call("answer", [])];
  for (const call of calls) await assertRejects(() => call, AttuneError, 'asked for "stall"');
  await assertRejects(() => hung.call("answer", []), AttuneError, "hangs");

  const slow = new Client<Service>(workerPort(worker()), { patience: 0.05, watched: new Set() });
  const stalled = slow.call("stall", []);
  const still = Symbol(), later = new Promise((go) => setTimeout(() => go(still), 500));
  assertEquals(await Promise.race([stalled, later]), still);
  slow[Symbol.dispose]();
  await assertRejects(() => stalled, AttuneError, "Stopped");
});

const shapes = join(root, "examples/shapes");

Deno.test("an abort at any moment of any stage ends the job, and the pool can be used further", async () => {
  const model = readModel(join(shapes, "shapes.onnx"));
  const made = makePlan(model, { bits: 3 }), { inputs } = made.graph;
  const mixed = makePlan(model, {
    bits: { kind: "budget", budget: { kind: "average", bits: 3 }, strategy: "measured" },
  });
  const set = await openSamples(join(shapes, "calib"), { inputs, limit: 24 });
  using pool = await startPool({ threads: 2 });
  type Options = { signal?: AbortSignal; onProgress?: OnProgress };
  const reconstruction = { kind: "blocks", iterations: 3 } as const;
  const jobs: Record<string, (options: Options) => Promise<unknown>> = {
    blocks: async (options) =>
      serializeModel(
        (await quantize(made, set.samples(), pool, { ...options, reconstruction })).model,
      ),
    measuring: async (options) =>
      serializeModel((await quantize(mixed, set.samples(), pool, options)).model),
    sweep: async (options) =>
      (await sweep(made, set.samples(), pool, { ...options, averages: [2, 4] })).points,
    evaluate: (options) => evaluate(model, model, set.samples(), pool, options),
  };
  for (const [name, job] of Object.entries(jobs)) {
    let events = 0;
    const whole = await job({ onProgress: () => void events++ });
    assert(events > 4, name);
    for (let i = 0; i < 5; i++) {
      const controller = new AbortController();
      // At an event, or in a later turn: in the middle of calls.
      let left = Math.floor((0.1 + 0.2 * i) * events);
      const onProgress = () => {
        if (left-- !== 0) return;
        if (i % 2 === 0) controller.abort();
        else setTimeout(() => controller.abort());
      };
      const stopped = job({ signal: controller.signal, onProgress });
      assertEquals((await assertRejects(() => stopped, AttuneError, "Stopped")).code, "aborted");
    }
    assertEquals(await job({}), whole, name);
  }
  await assertRejects(() => jobs.evaluate({ signal: AbortSignal.abort() }), AttuneError, "Stopped");
});

Deno.test("a signal that fires while a pool starts, or did before, leaves none", async () => {
  await assertRejects(() => startPool({ signal: AbortSignal.abort() }), AttuneError, "Stopped");
  const controller = new AbortController();
  const pool = startPool({ threads: 2, signal: controller.signal });
  controller.abort();
  assertEquals((await assertRejects(() => pool, AttuneError)).code, "aborted");
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`${signal} stops the program in the middle of learning, and nothing stays behind`, () =>
    inFolder(async (folder) => {
      const out = join(folder, "out.onnx"), temporary = join(folder, "temporary");
      mkdirSync(temporary);
      const model = join(shapes, "shapes.onnx"), calib = join(shapes, "calib");
      const job = [model, "--data", calib, "--limit", "24", "--bits", "2", "--rounding", "nearest"];
      job.push("--blocks", "--iterations", "60");
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", join(root, "quantize.ts"), ...job, "-o", out],
        env: { TMPDIR: temporary },
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      // Once the first block is done, the others are still to be learned.
      while (!existsSync(`${out}.checkpoint`)) await new Promise((go) => setTimeout(go, 20));
      child.kill(signal);
      const { code, stderr } = await child.output(), said = new TextDecoder().decode(stderr);
      assertEquals(code, 130, said);
      assert(/Stopped/.test(said) && /go on by --resume/.test(said), said);
      assertEquals(readdirSync(folder).sort(), ["out.onnx.checkpoint", "temporary"]);
      assertEquals(readdirSync(temporary), []);
    }));
}
