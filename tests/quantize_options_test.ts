/** Options of the jobs that calibrate, and what a result tells of them. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertNotEquals } from "std/assert/not_equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import type { CheckpointStore, JobState } from "../src/calibrate/checkpoint.ts";
import { encodeCheckpoint } from "../src/calibrate/checkpoint.ts";
import { AttuneError } from "../src/errors.ts";
import { serializeModel } from "../src/onnx/model.ts";
import { readModel } from "../src/onnx/file.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { openCheckpoint, sparingly } from "../src/quantize/checkpointing.ts";
import { describeOptions, identityOf, withMetadata } from "../src/quantize/metadata.ts";
import { type QuantizeOptions, resolveOptions } from "../src/quantize/options.ts";
import { resolveSweep, type SweepOptions } from "../src/quantize/sweep_options.ts";
import { join } from "node:path";
import { root } from "./helpers/command_line.ts";

const model = readModel(join(root, "examples/shapes/shapes.onnx"));
const planned = (options: PlanOptions = {}) => makePlan(model, options);
const settings = (options: QuantizeOptions = {}, of: PlanOptions = {}) =>
  resolveOptions(planned(of), options);

Deno.test("defaults: those that jobs share, and those in which they differ", () => {
  const shared = { range: { kind: "minmax" }, damping: 0.01, seed: 0 };
  const job = settings(), sweep = resolveSweep(planned(), {});
  for (const { range, damping, seed } of [job, sweep]) {
    assertEquals({ range, damping, seed }, shared);
  }
  assertEquals([job.rounding, job.heldOut], [{ kind: "attention" }, 32]);
  assertEquals([sweep.rounding, sweep.heldOut], [{ kind: "attention", candidates: 1 }, 128]);
  assertEquals([job.floatTargetShift, job.biasCorrection, job.scaleRefit], [true, true, true]);
  assertEquals([job.blocks, sweep.uniform, sweep.averages.length], [undefined, true, 8]);
  // With 4 bits of an activation, in both.
  const coarse = { activationBits: 4 } as const;
  assertEquals(settings({}, coarse).range, { kind: "mse" });
  assertEquals(resolveSweep(planned(coarse), {}).range, { kind: "mse" });
  assertEquals(settings({ range: { kind: "minmax" } }, coarse).range, { kind: "minmax" });
});

Deno.test("what is given wins over defaults, in both jobs", () => {
  const given = { damping: 0.5, seed: 3, heldOut: 7, rounding: { kind: "nearest" }, batch: 2 };
  const { signal } = new AbortController();
  const options = { ...given, signal } as QuantizeOptions & SweepOptions;
  for (const result of [settings(options), resolveSweep(planned(), options)]) {
    const { damping, seed, heldOut, rounding, batch } = result;
    assertEquals({ damping, seed, heldOut, rounding, batch }, given);
    assert(result.signal === signal);
  }
  const validation = (async function* () {})();
  assertEquals(resolveSweep(planned(), { validation, heldOut: 7 }).heldOut, 0);
});

Deno.test("options that make no sense are refused by their value, in both jobs", () => {
  const cases: [QuantizeOptions, string][] = [
    [{ damping: 0 }, "damping 0"],
    [{ damping: 11 }, "damping 11"],
    [{ damping: NaN }, "damping NaN"],
    [{ seed: 0.5 }, "0.5 as seed"],
    [{ heldOut: -1 }, "-1 as held-out samples"],
    [{ rounding: { kind: "attention", candidates: 0 } }, "0 as candidates"],
    [{ rounding: { kind: "adaround", iterations: 1.5 } }, "1.5 as iterations"],
  ];
  for (const [options, said] of cases) {
    for (const resolve of [settings, (each: SweepOptions) => resolveSweep(planned(), each)]) {
      const error = assertThrows(() => resolve(options), AttuneError);
      assert(error.code === "bad-option" && error.message.includes(said), error.message);
    }
  }
  const sweeps: [SweepOptions, string][] = [
    [{ averages: [1.5] }, "1.5 bits"],
    [{ strategies: ["magic" as "nuclear"] }, "magic"],
    [{ heldOut: 0 }, "0 as held-out samples"],
  ];
  for (const [options, said] of sweeps) {
    const error = assertThrows(() => resolveSweep(planned(), options), AttuneError);
    assert(error.message.includes(said), error.message);
  }
});

Deno.test("nested and piecewise grids go with sequential rounding alone", () => {
  const nested: PlanOptions = { nested: [8, 4] }, piecewise: PlanOptions = { grid: "piecewise" };
  const blocks: QuantizeOptions = { reconstruction: { kind: "blocks" } };
  const cases: [QuantizeOptions, PlanOptions, string?][] = [
    [{}, nested],
    [{ rounding: { kind: "nearest" } }, nested, "rounding nearest with nested widths"],
    [{ rounding: { kind: "nearest" } }, piecewise],
    [{ rounding: { kind: "adaround" } }, piecewise, "rounding adaround with a piecewise grid"],
    [blocks, nested, "learned blocks with nested widths"],
    [blocks, {}],
  ];
  for (const [options, grid, said] of cases) {
    if (said === undefined) settings(options, grid);
    else {
      const error = assertThrows(() => settings(options, grid), AttuneError);
      assert(error.message.includes(said), error.message);
    }
  }
});

const SAMPLES = { count: 64, digest: "abc" };

Deno.test("metadata tells how a model came to be, and leaves the given one alone", () => {
  const before = serializeModel(model), made = planned({ bits: 3 });
  const result = withMetadata(model, made, settings({ seed: 5 }), SAMPLES);
  assertEquals(serializeModel(model), before);
  const entries = Object.fromEntries(
    result.proto.metadataProps.map(({ key, value }) => [key, value]),
  );
  assertEquals(entries["attune.seed"], "5");
  assertEquals(entries["attune.calibration.samples"], "64");
  assertEquals(entries["attune.calibration.digest"], "abc");
  const { bits, damping, nested, blocks } = JSON.parse(entries["attune.options"]);
  assertEquals([bits, damping, nested, blocks], [3, 0.01, null, null]);
  // Widths are told where they were chosen, not where one was given.
  assert(!("attune.widths" in entries));
});

Deno.test("described options can be told as JSON, whatever they hold", () => {
  const blocks = { kind: "blocks", onGraph: () => {} } as const;
  const described = describeOptions(planned(), settings({ reconstruction: blocks }));
  assertEquals(JSON.parse(JSON.stringify(described)).blocks.rule, "straight-through");
  assert(!("onGraph" in (described.blocks as object)));
});

Deno.test("the identity of a job changes with all that changes its bytes", async () => {
  const of = (options: QuantizeOptions = {}, made = planned(), samples = SAMPLES, on = "web") =>
    identityOf(made, settings(options), samples, on);
  const identity = await of();
  assertEquals(await of({ onProgress: () => {}, started: 4 }), identity);
  for (
    const other of [
      of({ seed: 1 }),
      of({ heldOut: 8 }),
      of({ damping: 0.02 }),
      of({ reconstruction: { kind: "blocks" } }),
      of({}, planned({ bits: 3 })),
      of({}, planned(), { count: 64, digest: "abd" }),
      of({}, planned(), SAMPLES, "node"),
    ]
  ) assertNotEquals(await other, identity);
});

Deno.test("a job goes on from its own checkpoint, where that is asked for", async () => {
  const made = planned(), identity = await identityOf(made, settings(), SAMPLES, "web");
  const state: JobState = {
    segments: 0,
    layers: new Map(),
    grids: new Map(),
    warnings: ["a"],
    blocks: [],
  };
  let file: Uint8Array | undefined;
  const store: CheckpointStore = {
    name: "checkpoint",
    load: () => file,
    save: (bytes: Uint8Array) => void (file = bytes),
    clear: () => {},
  };
  const open = (resume: boolean, of = identity) => openCheckpoint(made, store, of, { resume });
  const first = await open(true);
  assertEquals(first.state, undefined);
  await first.onState(state);
  assertEquals(file, await encodeCheckpoint(identity, state));
  assertEquals((await open(true)).state?.warnings, ["a"]);
  assertEquals((await open(false)).state, undefined);
  const error = await assertRejects(() => open(true, { ...identity, seed: 9 }), AttuneError);
  assert(/another job/.test(error.message), error.message);
  assertEquals(error.remedies, [{ option: "resume", value: false }]);
});

Deno.test("states are saved less often where saving takes long", async () => {
  let time = 0, cost = 1;
  const saved: number[] = [];
  const save = sparingly((state: number) => {
    saved.push(state);
    time += cost;
    return Promise.resolve();
  }, () => time);
  await save(1);
  await save(2);
  cost = 1000;
  await save(3);
  await save(4);
  time += 19_000;
  await save(5);
  time += 1001;
  await save(6);
  assertEquals(saved, [1, 2, 3, 6]);
});
