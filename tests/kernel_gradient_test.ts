import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { GRADIENT_STATE } from "../src/kernel/arguments.ts";
import { adaroundLoop, attentionLoop } from "./twins/gradient.ts";
import { assertClose, both, onKernel, random, spd, variedWindows } from "./helpers/kernel_twins.ts";

/** Nearest levels of random weights, and what a gradient loop needs to better them. */
function start(
  { groups, rows, d, groupSize }: Record<"groups" | "rows" | "d" | "groupSize", number>,
) {
  const all = groups * rows, perRow = Math.ceil(d / groupSize), { h } = spd(groups, d, 8);
  const problem = {
    target: random(all * d, 1),
    scale: random(all * perRow, 2).map((value) => 0.4 + 0.1 * Math.abs(value)),
    groupSize,
    ...variedWindows(all),
    h,
    rows,
    groups,
    d,
    q: new Float32Array(all * d),
    loss: new Float32Array(all),
    state: new Float32Array(GRADIENT_STATE * all * d),
    startStep: 0,
  };
  const { q } = onKernel("nearest", problem).args;
  return onKernel("loss", { ...problem, q }).args;
}

const SHAPES = [
  { groups: 1, rows: 3, d: 17, groupSize: 17 },
  { groups: 5, rows: 1, d: 9, groupSize: 9 },
  { groups: 2, rows: 4, d: 24, groupSize: 10 },
];

const ATTENTION = { learningRate: 0.05, tau: 0.5, seed: 4, stream: 9 };
const ADAROUND = { learningRate: 0.05, regularisation: 0.01 };

Deno.test("attentionLoop: agrees with the twin, and improves on nearest", () => {
  for (const shape of SHAPES) {
    const args = { ...start(shape), ...ATTENTION, steps: 40 };
    const { kernel, twin } = both("attentionLoop", attentionLoop, args);
    assertClose(kernel.loss, twin.loss, 1e-4);
    assertEquals(kernel.q.map((q) => q + 0), twin.q.map((q) => q + 0));
    kernel.loss.forEach((loss, row) => assert(loss <= args.loss[row]));
    assert(kernel.loss.some((loss, row) => loss < 0.9 * args.loss[row]));
    assertClose(onKernel("loss", kernel).args.loss, kernel.loss, 1e-4);
  }
});

Deno.test("adaroundLoop: agrees with the twin, and improves on nearest", () => {
  for (const shape of SHAPES) {
    const args = { ...start(shape), ...ADAROUND, steps: 60, totalSteps: 60 };
    const { kernel, twin } = both("adaroundLoop", adaroundLoop, args);
    assertClose(kernel.loss, twin.loss, 1e-4);
    assertEquals(kernel.q.map((q) => q + 0), twin.q.map((q) => q + 0));
    assert(kernel.loss.some((loss, row) => loss < 0.9 * args.loss[row]));
    assertClose(onKernel("loss", kernel).args.loss, kernel.loss, 1e-4);
  }
});

Deno.test("gradient loops: steps in several calls are the steps of one call", () => {
  const first = start(SHAPES[2]), total = { totalSteps: 30, ...ADAROUND, ...ATTENTION };
  for (const method of ["attentionLoop", "adaroundLoop"] as const) {
    const whole = onKernel(method, { ...first, ...total, steps: 30 }).args;
    let parts = { ...first, ...total, steps: 12 };
    for (const [startStep, steps] of [[0, 12], [12, 1], [13, 17]]) {
      parts = onKernel(method, { ...parts, startStep, steps }).args;
    }
    assertEquals(parts.q, whole.q);
    assertEquals(parts.loss, whole.loss);
  }
});

Deno.test("gradient loops: the learning rate means the same at any scale of weights and inputs", () => {
  const first = { ...start(SHAPES[0]), ...ATTENTION, ...ADAROUND, steps: 30, totalSteps: 30 };
  // Powers of two, so that no rounding error differs.
  const scaled = {
    ...first,
    target: first.target.map((w) => w / 64),
    scale: first.scale.map((s) => s / 64),
    h: first.h.map((value) => value * 1024),
    loss: first.loss.map((value) => value / 4),
  };
  for (const method of ["attentionLoop", "adaroundLoop"] as const) {
    assertEquals(onKernel(method, scaled).args.q, onKernel(method, first).args.q);
  }
});

Deno.test("gradient loops: an H of zeros changes nothing", () => {
  const first = { ...start(SHAPES[0]), ...ATTENTION, ...ADAROUND, steps: 5, totalSteps: 5 };
  first.h.fill(0);
  first.loss.fill(0);
  for (const method of ["attentionLoop", "adaroundLoop"] as const) {
    const { q, loss } = onKernel(method, first).args;
    assertEquals(q, first.q);
    assertEquals(loss, first.loss);
  }
});
