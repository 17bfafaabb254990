/** What is learned in a block, on a loss that is known: (ŵ − w) H (ŵ − w)ᵀ. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { SoftRoundingParameter } from "../src/blocks/adaround.ts";
import { BiasParameter, StepParameter, WeightParameter } from "../src/blocks/parameters.ts";
import { Kernel } from "../src/kernel/kernel.ts";
import { levelWindows } from "../src/weights/levels.ts";
import type { LayerPlan } from "../src/weights/layer.ts";
import { random, spd } from "./helpers/kernel_twins.ts";

const rows = 6, depth = 24, bits = 3;
/** A Gemm whose tensor is the transposed matrix, so that orders matter. */
const layer = {
  bits,
  windows: levelWindows(bits, false),
  groupsPerRow: 1,
  groupSize: depth,
  target: { op: "Gemm", axis: 1, shape: [depth, rows], groups: 1, rows, depth },
} as unknown as LayerPlan;
const home = random(rows * depth, 3), { h } = spd(1, depth, 5);
const scales = new Float32Array(rows).fill(0.5);
const levels = Int8Array.from(home, (w) => Math.min(3, Math.max(-4, Math.round(w / 0.5))));
const nearest = { levels, scales, lows: new Int8Array(rows).fill(-4) };

/** The loss of a weight tensor, and its gradient. */
function lossOf(tensor: Float32Array): { loss: number; gradient: Float32Array } {
  const gradient = new Float32Array(tensor.length);
  let loss = 0;
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < depth; j++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) {
        sum += (tensor[k * rows + r] - home[r * depth + k]) * h[k * depth + j];
      }
      gradient[j * rows + r] = 2 * sum;
      loss += sum * (tensor[j * rows + r] - home[r * depth + j]);
    }
  }
  return { loss, gradient };
}

for (const rule of ["straight-through", "erf", "adaround"] as const) {
  Deno.test(`${rule}: ends on the grid, better than rounding to nearest`, () => {
    using kernel = Kernel.create();
    const tuning = { rule, tau: 0.5, learningRate: 0.02 };
    const parameter = rule === "adaround"
      ? new SoftRoundingParameter(kernel, layer, nearest, home)
      : new WeightParameter(kernel, layer, nearest, home, tuning);
    const value = (final: boolean) => parameter.value(final).data as Float32Array;
    const start = lossOf(value(true)).loss;
    let best = start, restore = parameter.save();
    const steps = 400;
    for (let step = 0; step < steps; step++) {
      parameter.step(lossOf(value(false)).gradient, step, {
        remaining: 1 - step / steps,
        speed: 1,
      });
      const { loss } = lossOf(value(true));
      if (loss < best) [best, restore] = [loss, parameter.save()];
    }
    restore();
    assert(best < 0.8 * start, `${best} of ${start}`);
    const { levels, scales } = parameter.rounding();
    const written = value(true);
    assert(
      Math.abs(lossOf(written).loss - best) < 1e-6 * best,
      "what was saved does not come back",
    );
    levels.forEach((level, i) => {
      assert(level >= -4 && level <= 3);
      const at = (i % depth) * rows + Math.floor(i / depth);
      assert(Math.abs(level * scales[Math.floor(i / depth)] - written[at]) < 1e-6);
      if (rule !== "adaround") return;
      const below = Math.floor(home[i] / 0.5);
      assert(level === Math.max(-4, Math.min(3, below)) || level === Math.min(3, below + 1));
    });
  });
}

Deno.test("biases stay on their grid, and go where the gradient says", () => {
  using kernel = Kernel.create();
  const steps = Float32Array.of(0.25, 0.5),
    parameter = new BiasParameter(
      kernel,
      Float32Array.of(1, -1),
      steps,
    );
  const values = () => [...parameter.value().data as Float32Array];
  assertEquals(values(), [1, -1]);
  for (let step = 0; step < 400; step++) {
    parameter.step(Float32Array.of(1, -1), step, { remaining: 1, speed: 1 });
  }
  const [a, b] = values();
  assert(a < 0.6 && b > -0.6, `${a}, ${b}`);
  assertEquals([a / 0.25 % 1, b / 0.5 % 1].map(Math.abs), [0, 0]);
});

Deno.test("steps of activations stay positive, however steep", () => {
  using kernel = Kernel.create();
  const grid = { bits: 4, scale: 0.1, zeroPoint: 0 } as const;
  const parameter = new StepParameter(kernel, grid);
  for (let step = 0; step < 500; step++) {
    parameter.step(Float32Array.of(1e6), step, { remaining: 1, speed: 1 });
  }
  assert(parameter.scale > 0 && parameter.scale < 0.01, `${parameter.scale}`);
});
