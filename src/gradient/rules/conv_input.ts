/**
 * Ways to compute the gradient of a convolution's input: each place gives its gradient back to what its
 * taps saw. Which is fastest depends on the shape; see `conv_choice.ts`.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import type { Convolution, Formulation } from "./conv_weight.ts";
import { flip, spreadOut } from "./shape.ts";

const big = (values: readonly number[]) => values.map(BigInt);

/** ConvTranspose, which is defined as this gradient. */
export const transposed: Formulation = ({ tape, x, w, g, window, groups }) =>
  tape.node("ConvTranspose", [g, w], tape.shape(x), {
    group: BigInt(groups),
    kernel_shape: big(window.kernel),
    strides: big(window.strides),
    dilations: big(window.dilations),
    pads: big([...window.before, ...window.after.map((length) => Math.max(0, length))]),
    output_padding: big(window.after.map((length) => Math.max(0, -length))),
  });

/** The weight with each group's inputs and outputs exchanged: C × O/groups × kernel. */
function exchanged({ tape, w, groups }: Convolution): string {
  const [outputs, inputs, ...kernel] = tape.shape(w), area = sizeOf(kernel);
  const apart = tape.reshape(w, [groups, outputs / groups, inputs, area]);
  const turned = tape.transpose(apart, [0, 2, 1, 3]);
  return tape.reshape(turned, [groups * inputs, outputs / groups, area]);
}

/** A convolution of g, with zeros between its values where strides are above 1, and the turned kernel. */
export const turnedKernel: Formulation = (convolution) => {
  const { tape, x, w, g, window, groups } = convolution;
  const { kernel, strides, dilations, before } = window, size = tape.shape(x).slice(2);
  // All axes turned around are the flat kernel turned around.
  const flat = flip(tape, exchanged(convolution), 2);
  const weight = tape.reshape(flat, [...tape.shape(flat).slice(0, 2), ...tape.shape(w).slice(2)]);
  const spread = strides.reduce((y, stride, i) => spreadOut(tape, y, i + 2, stride), g);
  // Padding of a full correlation, less what the forward pass had padded; cut where that is negative.
  const reach = kernel.map((taps, i) => dilations[i] * (taps - 1));
  const own = tape.shape(spread).slice(2);
  const first = reach.map((length, i) => length - before[i]);
  const last = size.map((length, i) => length + reach[i] - own[i] - first[i]);
  const cut = (lengths: readonly number[]) => lengths.map((length) => Math.max(0, -length));
  const counts = own.map((length, i) => length - cut(first)[i] - cut(last)[i]);
  const inside = tape.slice(
    spread,
    [0, 0, ...cut(first)],
    [...tape.shape(spread).slice(0, 2), ...counts],
  );
  return tape.node("Conv", [inside, weight], tape.shape(x), {
    group: BigInt(groups),
    kernel_shape: big(kernel),
    dilations: big(dilations),
    pads: big([...first, ...last].map((length) => Math.max(0, length))),
  });
};

/** The steps on g between which the taps of a pixel lie, per axis, for pixels of all phases. */
function steps({ window: { kernel, strides, before } }: Convolution) {
  const from = kernel.map((taps, i) => Math.ceil((before[i] - taps + 1) / strides[i]));
  const to = kernel.map((_, i) => Math.floor((strides[i] - 1 + before[i]) / strides[i]));
  return { from, to };
}

/** The padding of g at its end for {@linkcode byPhase}, per axis. */
function rest(convolution: Convolution): number[] {
  const { tape, x, g, window } = convolution, places = tape.shape(g).slice(2);
  const { to } = steps(convolution);
  return tape.shape(x).slice(2).map((length, i) =>
    Math.ceil(length / window.strides[i]) - places[i] + to[i]
  );
}

/** Whether {@linkcode byPhase} applies. */
export function hasPhases(convolution: Convolution): boolean {
  const { window: { strides, dilations } } = convolution;
  return strides.length === 2 && strides[0] > 1 && strides[0] === strides[1] &&
    dilations.every((dilation) => dilation === 1) &&
    steps(convolution).from.every((step) => step <= 0) &&
    rest(convolution).every((length) => length >= 0);
}

/**
 * For depthwise kernels of two axes, with a stride s in both. Pixel s·j + r sees g at j + k through tap
 * r + before − s·k: a convolution of stride 1 per phase r, with every s-th tap. One convolution computes
 * all s² phases as channels, which DepthToSpace puts into their places.
 */
export const byPhase: Formulation = (convolution) => {
  const { tape, x, w, g, window: { kernel, strides: [s], before } } = convolution;
  const { from, to } = steps(convolution), [channels] = tape.shape(w);
  const [n, , ...size] = tape.shape(x), own = size.map((length) => Math.ceil(length / s));
  const taps = from.map((step, i) => to[i] - step + 1);
  // Tap s·(to − k) + r of the padded kernel is tap r + before − s·k of the kernel.
  const lead = to.map((step, i) => s * step - before[i]);
  const tail = kernel.map((length, i) => s * taps[i] - lead[i] - length);
  const padded = tape.pad(w, [0, 0, ...lead], [0, 0, ...tail]);
  const apart = tape.reshape(padded, [channels, taps[0], s, taps[1], s]);
  const turned = flip(tape, flip(tape, apart, 1), 3);
  const weight = tape.reshape(
    tape.transpose(turned, [0, 2, 4, 1, 3]),
    [channels * s * s, 1, ...taps],
  );
  const phases = tape.node("Conv", [g, weight], [n, channels * s * s, ...own], {
    group: BigInt(channels),
    kernel_shape: big(taps),
    pads: big([...from.map((step) => -step), ...rest(convolution)]),
  });
  const image = tape.node("DepthToSpace", [phases], [n, channels, own[0] * s, own[1] * s], {
    blocksize: BigInt(s),
    mode: "CRD",
  });
  return tape.slice(image, [0, 0, 0, 0], tape.shape(x));
};
