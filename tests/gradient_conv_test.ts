/** Every way to compute a convolution's gradients against their definition, over random shapes. */

import { assert } from "std/assert/assert.js";
import { inputFormulation, weightFormulation } from "../src/gradient/rules/conv_choice.ts";
import { transposed, turnedKernel } from "../src/gradient/rules/conv_input.ts";
import {
  allTaps,
  byChannel,
  byRows,
  bySample,
  byTap,
  type Convolution,
  type Formulation,
  isDepthwise,
} from "../src/gradient/rules/conv_weight.ts";
import type { Window } from "../src/gradient/rules/window.ts";
import { Tape } from "../src/gradient/tape.ts";
import { sizeOf } from "../src/onnx/tensor.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";

type Shapes = Record<"x" | "w" | "g", number[]>;

/** Whole numbers from `low` to `high` that are the same at each run. */
function dice(seed: number): (low: number, high: number) => number {
  const draws = noise(256, seed);
  let next = 0;
  return (low, high) => low + Math.floor((draws[next++] + 1) / 2 * (high - low + 1));
}

/** A convolution of two axes whose windows may leave out values at the end. */
function drawn(
  seed: number,
  depthwise: boolean,
): { shapes: Shapes; window: Window; groups: number } {
  const roll = dice(seed), pair = (low: number, high: number) => [roll(low, high), roll(low, high)];
  const groups = depthwise ? roll(2, 5) : roll(1, 3);
  const inputs = depthwise ? 1 : roll(1, 3), outputs = depthwise ? 1 : roll(1, 3);
  const kernel = pair(1, 4), strides = pair(1, 3), dilations = pair(1, 2), before = pair(0, 2);
  const extent = kernel.map((taps, i) => dilations[i] * (taps - 1) + 1);
  const size = extent.map((length, i) => length + roll(0, i === 1 && seed % 3 === 0 ? 40 : 5));
  const padded = size.map((length, i) => length + before[i] + roll(0, 2));
  const places = padded.map((length, i) => Math.floor((length - extent[i]) / strides[i]) + 1);
  const after = places.map((count, i) =>
    (count - 1) * strides[i] + extent[i] - before[i] - size[i]
  );
  const n = roll(1, 3);
  return {
    shapes: {
      x: [n, groups * inputs, ...size],
      w: [groups * outputs, inputs, ...kernel],
      g: [n, groups * outputs, ...places],
    },
    window: { kernel, strides, dilations, before, after },
    groups,
  };
}

/** Both gradients by their definition, in float64: each place, channel and tap in turn. */
function defined(
  { shapes: { x: [n, c, height, width], w: [o, inputs, rows, columns], g }, window, groups }:
    ReturnType<typeof drawn>,
  values: Record<keyof Shapes, ArrayLike<number>>,
) {
  const [, , down, across] = g;
  const toX = new Float64Array(n * c * height * width);
  const toW = new Float64Array(o * inputs * rows * columns);
  const each = (count: number, f: (i: number) => void) => {
    for (let i = 0; i < count; i++) f(i);
  };
  each(
    n,
    (sample) =>
      each(
        o,
        (output) =>
          each(inputs, (input) =>
            each(down * across, (place) =>
              each(rows * columns, (tap) => {
                const at = [Math.floor(place / across), place % across].map((p, i) =>
                  p * window.strides[i] - window.before[i] +
                  window.dilations[i] * (i === 0 ? Math.floor(tap / columns) : tap % columns)
                );
                if (at[0] < 0 || at[0] >= height || at[1] < 0 || at[1] >= width) {
                  return;
                }
                const channel = Math.floor(output / (o / groups)) * inputs + input;
                const i = ((sample * c + channel) * height + at[0]) * width + at[1];
                const j = (output * inputs + input) * rows * columns + tap;
                const slope = values.g[(sample * o + output) * down * across + place];
                toX[i] += slope * values.w[j];
                toW[j] += slope * values.x[i];
              }))),
      ),
  );
  return { toX, toW };
}

const NAMED: Record<string, Formulation> = {
  byTap,
  allTaps,
  bySample,
  byRows,
  byChannel,
  transposed,
  turnedKernel,
};

function applies(name: string, { tape, w, window, groups }: Convolution): boolean {
  if (name === "byRows" || name === "byChannel") return isDepthwise(tape.shape(w), groups);
  if (name === "bySample") return sizeOf(window.kernel) === 1;
  return name !== "turnedKernel" || window.strides.every((stride) => stride === 1);
}

for (const depthwise of [false, true]) {
  Deno.test(`gradients of ${depthwise ? "depthwise" : "dense and grouped"} Conv`, async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 40; seed++) {
      const test = drawn(seed * 31, depthwise), { shapes, window, groups } = test;
      const names = Object.keys(shapes) as (keyof Shapes)[];
      const tape = new Tape(new Map(Object.entries(shapes)), new Set(names), 17);
      const convolution = { tape, x: "x", w: "w", g: "g", window, groups };
      const outputs = Object.entries(NAMED).filter(([name]) => applies(name, convolution))
        .map(([name, formulation]) => [name, formulation(convolution)] as const);
      const feeds = Object.fromEntries(
        names.map((name, i) => [name, value(shapes[name], noise(sizeOf(shapes[name]), seed + i))]),
      );
      const results = await runModel(
        build({
          opset: 17,
          inputs: shapes,
          nodes: tape.nodes,
          initializers: tape.initializers,
          outputs: outputs.map(([, output]) => output),
        }),
        feeds,
      );
      const { toX, toW } = defined(test, {
        x: feeds.x.data as Float32Array,
        w: feeds.w.data as Float32Array,
        g: feeds.g.data as Float32Array,
      });
      for (const [name, output] of outputs) {
        seen.add(name);
        const ofInput = name === "transposed" || name === "turnedKernel";
        const { data, dims } = results[output], expected = ofInput ? toX : toW;
        const what = `${name}, x ${shapes.x}, w ${shapes.w}, ${JSON.stringify(window)}`;
        assert(dims.join() === shapes[ofInput ? "x" : "w"].join(), `${what}: shape ${dims}`);
        expected.forEach((slope, i) =>
          assert(Math.abs(Number(data[i]) - slope) < 1e-4, `${what}: ${data[i]}, not ${slope}`)
        );
      }
      assert(applies(weightFormulation(convolution).name, convolution));
      assert(applies(inputFormulation(convolution).name, convolution));
    }
    const expected = Object.keys(NAMED).filter((name) => depthwise || !/Rows|Channel/.test(name));
    assert(expected.every((name) => seen.has(name)), `only ${[...seen]} were tried`);
  });
}
