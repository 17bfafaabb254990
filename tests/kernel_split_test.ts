import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import type { Kernel } from "../src/kernel/kernel.ts";
import { GRADIENT_STATE } from "../src/kernel/arguments.ts";
import { onKernel, random, spd, variedWindows } from "./helpers/kernel_twins.ts";

// Engines share a layer's work by rows, or by groups; what they find must not depend on how.

const BLOCK = 20;

/** Everything that any of the methods below takes, for random rows. */
function problem(groups: number, rows: number, d: number) {
  const all = groups * rows, perRow = Math.ceil(d / BLOCK), { h, u } = spd(groups, d, 3);
  const args = {
    target: random(all * d, 1),
    scale: random(all * perRow, 2).map((value) => 0.4 + 0.1 * Math.abs(value)),
    groupSize: BLOCK,
    ...variedWindows(all),
    lows: Float32Array.of(-4, -5, -3),
    h,
    u,
    b: random(all * d, 6),
    n: d,
    spread: random(groups * d, 4).map(Math.abs),
    taus: Float32Array.from({ length: 12 }, (_, k) => k / 9),
    importance: random(groups * d, 5).map(Math.abs),
    candidates: 20,
    shrinkFrom: 0.3,
    oneScale: false,
    sweeps: 10,
    tau: 0.5,
    learningRate: 0.05,
    regularisation: 0.01,
    steps: 12,
    startStep: 0,
    totalSteps: 12,
    state: new Float32Array(GRADIENT_STATE * all * d),
    seed: 11,
    stream: 100,
    rows,
    groups,
    d,
    q: new Float32Array(all * d),
    loss: new Float32Array(all),
  };
  // Levels that every method can better, and their losses.
  const { q } = onKernel("stochastic", { ...args, seed: 1 }).args;
  return onKernel("loss", { ...args, q }).args;
}

type Args = ReturnType<typeof problem>;

/** What has as many elements per row, and what per group; `state` is working memory. */
const PER_ROW = ["target", "scale", "lo", "q", "loss", "b"] as const;
const PER_GROUP = ["h", "u", "spread", "importance"] as const;

/** Rows from … to − 1 of the only group, or of all groups, groups from … to − 1. */
function part(args: Args, from: number, to: number): Args {
  const byGroup = args.groups > 1, perGroup = byGroup ? args.rows : 1;
  const all = args.groups * args.rows, first = from * perGroup, last = to * perGroup;
  const share: Args = {
    ...args,
    rows: byGroup ? args.rows : to - from,
    groups: byGroup ? to - from : 1,
    stream: args.stream + first,
    state: new Float32Array(GRADIENT_STATE * (last - first) * args.d),
  };
  for (const name of PER_ROW) {
    const width = args[name].length / all;
    share[name] = args[name].slice(first * width, last * width);
  }
  if (byGroup) {
    for (const name of PER_GROUP) {
      const width = args[name].length / args.groups;
      share[name] = args[name].slice(from * width, to * width);
    }
  }
  return share;
}

const METHODS: readonly Exclude<keyof Kernel, symbol>[] = [
  "nearest",
  "stochastic",
  "sequential",
  "polish",
  "gridSearch",
  "attentionLoop",
  "adaroundLoop",
  "solve",
];

for (const method of METHODS) {
  Deno.test(`${method}: to the last bit the same, however rows and groups are split`, () => {
    // More rows than a block of any product holds; more groups than lanes.
    for (const [groups, rows, d] of [[1, 137, 45], [19, 2, 9]]) {
      const args = problem(groups, rows, d), parts = groups > 1 ? groups : rows;
      const whole = onKernel(method, args).args;
      assert(PER_ROW.some((name) => whole[name].some((value, i) => value !== args[name][i])));
      for (const [from, to] of [[0, 1], [1, 8], [parts - 6, parts]]) {
        const share = onKernel(method, part(args, from, to)).args, expected = part(whole, from, to);
        for (const name of PER_ROW) assertEquals(share[name], expected[name], name);
      }
    }
  });
}

Deno.test("refit: to the last bit the same, however rows and groups are split", () => {
  for (const [groups, rows, d] of [[1, 137, 45], [19, 2, 9]]) {
    const blocked = problem(groups, rows, d), parts = groups > 1 ? groups : rows;
    const args = { ...blocked, groupSize: d, scale: new Float32Array(groups * rows).fill(1) };
    const whole = onKernel("refit", args).args;
    assert(whole.scale.every((value) => value !== 1));
    for (const [from, to] of [[0, 1], [1, 8], [parts - 6, parts]]) {
      const { scale } = onKernel("refit", part(args, from, to)).args;
      assertEquals(scale, part(whole, from, to).scale);
    }
  }
});
