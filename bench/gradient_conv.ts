/** Every formulation of a convolution's gradients, relative to its forward pass. */

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
} from "../src/gradient/rules/conv_weight.ts";
import { windowOf } from "../src/gradient/rules/window.ts";
import { Tape } from "../src/gradient/tape.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import type { Runtime } from "../src/runtime/session.ts";
import { modelOf, noise, OPSET, race, type Shapes } from "./gradient_race.ts";

/** A convolution to measure: N × C × size × size to O channels. */
export interface Case {
  readonly n: number;
  readonly c: number;
  readonly o: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly depthwise?: boolean;
}

/** The convolutions of typical networks. */
export const CASES: readonly Case[] = [
  { n: 32, c: 16, o: 16, size: 32, kernel: 3 },
  { n: 32, c: 32, o: 32, size: 16, kernel: 3 },
  { n: 32, c: 64, o: 64, size: 8, kernel: 3 },
  { n: 32, c: 16, o: 32, size: 32, kernel: 3, stride: 2 },
  { n: 4, c: 64, o: 64, size: 56, kernel: 3 },
  { n: 8, c: 256, o: 256, size: 14, kernel: 3 },
  { n: 8, c: 512, o: 512, size: 7, kernel: 3 },
  { n: 4, c: 3, o: 32, size: 224, kernel: 3, stride: 2 },
  { n: 2, c: 16, o: 96, size: 112, kernel: 1 },
  { n: 4, c: 24, o: 144, size: 56, kernel: 1 },
  { n: 4, c: 144, o: 24, size: 56, kernel: 1 },
  { n: 16, c: 64, o: 384, size: 14, kernel: 1 },
  { n: 16, c: 384, o: 64, size: 14, kernel: 1 },
  { n: 32, c: 160, o: 960, size: 7, kernel: 1 },
  { n: 4, c: 64, o: 128, size: 56, kernel: 1, stride: 2 },
  { n: 2, c: 32, o: 32, size: 112, kernel: 3, depthwise: true },
  { n: 2, c: 96, o: 96, size: 112, kernel: 3, stride: 2, depthwise: true },
  { n: 4, c: 144, o: 144, size: 56, kernel: 3, depthwise: true },
  { n: 4, c: 144, o: 144, size: 56, kernel: 3, stride: 2, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 3, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 3, stride: 2, depthwise: true },
  { n: 16, c: 384, o: 384, size: 14, kernel: 3, depthwise: true },
  { n: 16, c: 576, o: 576, size: 14, kernel: 3, stride: 2, depthwise: true },
  { n: 32, c: 960, o: 960, size: 7, kernel: 3, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 5, depthwise: true },
  { n: 8, c: 192, o: 192, size: 28, kernel: 5, stride: 2, depthwise: true },
];

/**
 * The weight's gradient as a convolution with N and C exchanged: what all others are faster than.
 */
const exchanged: Formulation = ({ tape, x, w, g, window }) => {
  const reach = window.kernel.map((taps, i) => taps - Math.min(0, window.after[i]));
  const [inputs, outputs] = [tape.shape(x)[1], tape.shape(g)[1]];
  const swapped = [x, g].map((name) => tape.transpose(name, [1, 0, 2, 3]));
  const product = tape.node("Conv", swapped, [inputs, outputs, ...reach], {
    dilations: window.strides.map(BigInt),
    pads: [...window.before, ...window.after].map((length) => BigInt(Math.max(0, length))),
  });
  const taps = tape.slice(product, [0, 0, 0, 0], [inputs, outputs, ...window.kernel]);
  return tape.reshape(tape.transpose(taps, [1, 0, 2, 3]), tape.shape(w));
};

const FORMULATIONS = {
  byTap,
  allTaps,
  bySample,
  byRows,
  byChannel,
  exchanged,
  turnedKernel,
  transposed,
};

/** The forward pass of `test`, and every formulation of its gradients that applies. */
export async function convolutions(runtime: Runtime, test: Case): Promise<void> {
  const { n, c, o, size, kernel, stride = 1, depthwise = false } = test;
  const pad = (kernel - 1) / 2, places = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const groups = depthwise ? c : 1;
  const shapes: Shapes = {
    x: [n, c, size, size],
    w: [o, c / groups, kernel, kernel],
    g: [n, o, places, places],
  };
  const attributes: Record<string, AttributeValue> = {
    strides: [BigInt(stride), BigInt(stride)],
    pads: [pad, pad, pad, pad].map(BigInt),
    group: BigInt(groups),
  };
  const node = makeNode("Conv", "y", ["x", "w"], ["y"], attributes);
  const window = windowOf(node, [kernel, kernel], [size, size], [places, places]);
  const convolution = (): Convolution => {
    const tape = new Tape(new Map(Object.entries(shapes)), new Set(Object.keys(shapes)), OPSET);
    return { tape, x: "x", w: "w", g: "g", window, groups };
  };
  const applies = (formulation: Formulation) =>
    formulation === byRows || formulation === byChannel
      ? depthwise
      : formulation === bySample
      ? kernel === 1
      : formulation === exchanged
      ? kernel > 1 && !depthwise
      : formulation !== turnedKernel || stride === 1;
  const entrants = Object.entries(FORMULATIONS).filter(([, f]) => applies(f));
  const chosen = [weightFormulation(convolution()), inputFormulation(convolution())];
  const feeds = Object.fromEntries(Object.entries(shapes).map(([k, dims]) => [k, noise(dims)]));
  const models = entrants.map(([, formulation]) => {
    const own = convolution(), output = formulation(own);
    const model = modelOf(Object.keys(shapes), own.tape.nodes, [output]);
    model.proto.graph.initializer.push(...own.tape.initializers);
    return { model, feeds };
  });
  const forward = { model: modelOf(["x", "w"], [node], ["y"]), feeds };
  const [time, ...others] = await race(runtime, [forward, ...models], 250 * (models.length + 1));
  const cells = entrants.map(([name, formulation], i) =>
    `${name}${chosen.includes(formulation) ? "*" : ""} ${(others[i] / time).toFixed(2)}`
  );
  const what = `${n}×${c}×${size}² → ${o}, ${kernel}×${kernel}/${stride}${depthwise ? " dw" : ""}`;
  console.log(`${what.padEnd(34)} ${time.toFixed(1).padStart(6)} ms  ${cells.join("  ")}`);
}
