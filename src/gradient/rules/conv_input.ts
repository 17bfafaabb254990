/**
 * Ways to compute the gradient of a convolution's input: each place gives its gradient back to what
 * its taps saw. Which is fastest depends on the shape; see `conv_choice.ts`.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import type { Convolution, Formulation } from "./conv_weight.ts";
import { flip } from "./shape.ts";

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

/** For strides of 1, a convolution of g with the kernel turned around. */
export const turnedKernel: Formulation = (convolution) => {
  const { tape, x, w, g, window, groups } = convolution;
  const { kernel, dilations, before } = window, size = tape.shape(x).slice(2);
  // All axes turned around are the flat kernel turned around.
  const flat = flip(tape, exchanged(convolution), 2);
  const weight = tape.reshape(flat, [...tape.shape(flat).slice(0, 2), ...tape.shape(w).slice(2)]);
  // Padding of a full correlation, less what the forward pass had padded; cut where that is
  // negative.
  const reach = kernel.map((taps, i) => dilations[i] * (taps - 1));
  const [n, outputs, ...places] = tape.shape(g);
  const first = reach.map((length, i) => length - before[i]);
  const last = size.map((length, i) => length + reach[i] - places[i] - first[i]);
  const cut = (lengths: readonly number[]) => lengths.map((length) => Math.max(0, -length));
  const counts = places.map((length, i) => length - cut(first)[i] - cut(last)[i]);
  const inside = tape.slice(g, [0, 0, ...cut(first)], [n, outputs, ...counts]);
  return tape.node("Conv", [inside, weight], tape.shape(x), {
    group: BigInt(groups),
    kernel_shape: big(kernel),
    dilations: big(dilations),
    pads: big([...first, ...last].map((length) => Math.max(0, length))),
  });
};
