/**
 * Gradients of convolutions, in the operators that onnxruntime is fast at.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import type { Rule, Site } from "../rule.ts";
import type { Shape } from "../tape.ts";
import { flip, spreadOut } from "./shape.ts";
import { framed, groupsOf, seen, tapsOf, type Window, windowOf } from "./window.ts";

/**
 * The gradient of a convolution's weight, O × C/g × taps: one product, per group, of what every tap
 * saw, (taps·C/g) × (N·places), and the output's gradients, (N·places) × O/g.
 *
 * onnxruntime's Conv with N and C exchanged takes twice the time of slices and a product.
 */
function weightGradient(
  site: Site,
  x: string,
  g: string,
  window: Window,
  groups: number,
  shape: Shape,
): string {
  const { tape } = site;
  const [n, o, ...places] = tape.shape(g), c = tape.shape(x)[1];
  const columns = n * sizeOf(places), inputs = c / groups, outputs = o / groups;
  // Channels first, so that all samples are one dimension of the product.
  const order = [1, 0, ...window.kernel.map((_, i) => i + 2)];
  const image = framed(site, tape.transpose(x, order), window);
  const taps = tapsOf(window).map((tap) =>
    tape.reshape(seen(site, image, window, tap, places), [groups, inputs, columns])
  );
  const right = tape.reshape(
    tape.transpose(tape.reshape(g, [n, groups, outputs, sizeOf(places)]), [1, 0, 3, 2]),
    [groups, columns, outputs],
  );
  const product = tape.matmul(tape.concat(taps, 1), right);
  const apart = tape.reshape(product, [groups, taps.length, inputs, outputs]);
  return tape.reshape(tape.transpose(apart, [0, 3, 2, 1]), shape);
}

/**
 * The gradient of a convolution's input. Where each group has one channel, a convolution with the
 * kernel turned around; ConvTranspose, which is better for dense ones, takes many times as long there.
 */
function inputGradient(site: Site, window: Window, groups: number): string {
  const { tape, gradient: g } = site, shape = site.shape(0), size = shape.slice(2);
  const { kernel, strides, dilations, before, after } = window;
  const depthwise = groups > 1 && groups === shape[1] && site.shape(1)[0] === groups;
  if (!depthwise) {
    const left = after.map((length) => Math.max(0, -length));
    const y = tape.node("ConvTranspose", [g, site.input(1)], shape, {
      group: BigInt(groups),
      kernel_shape: kernel.map(BigInt),
      strides: strides.map(BigInt),
      dilations: dilations.map(BigInt),
      pads: [...before, ...after.map((length) => Math.max(0, length))].map(BigInt),
      output_padding: left.map(BigInt),
    });
    return y;
  }
  const turned = kernel.reduce((w, _, i) => flip(site, w, i + 2), site.input(1));
  const spread = strides.reduce((x, stride, i) => spreadOut(site, x, i + 2, stride), g);
  // Padding of a full correlation, less what the forward pass had padded; cut where that is negative.
  const reach = kernel.map((taps, i) => dilations[i] * (taps - 1));
  const own = tape.shape(spread).slice(2);
  const first = reach.map((length, i) => length - before[i]);
  const last = size.map((length, i) => length + reach[i] - own[i] - first[i]);
  const cut = (list: Shape) => list.map((length) => Math.max(0, -length));
  const starts = [0, 0, ...cut(first)];
  const counts = tape.shape(spread).map((length, axis) =>
    axis < 2 ? length : length - cut(first)[axis - 2] - cut(last)[axis - 2]
  );
  const inside = tape.slice(spread, starts, counts);
  const pads = [...first, ...last].map((length) => BigInt(Math.max(0, length)));
  return tape.node("Conv", [inside, turned], shape, {
    group: BigInt(groups),
    kernel_shape: kernel.map(BigInt),
    dilations: dilations.map(BigInt),
    pads,
  });
}

/** The gradient of a bias: all but the channels summed. */
function giveBias(site: Site): void {
  if (site.node.input.length < 3) return;
  const { tape, gradient: g } = site;
  const axes = tape.shape(g).flatMap((_, axis) => axis === 1 ? [] : [axis]);
  if (site.wants(2)) tape.add(site.input(2), tape.reshape(tape.sum(g, axes), site.shape(2)));
}

const conv: Rule = (site) => {
  const { tape, gradient: g } = site;
  const kernel = site.shape(1).slice(2), groups = groupsOf(site.node);
  const window = windowOf(site.node, kernel, site.shape(0).slice(2), tape.shape(g).slice(2));
  site.give(0, () => inputGradient(site, window, groups));
  site.give(1, () => weightGradient(site, site.input(0), g, window, groups, site.shape(1)));
  giveBias(site);
};

/** The transposed convolution is a convolution's input gradient, so its own gradients are one's, too. */
const convTranspose: Rule = (site) => {
  const { tape, gradient: g, node } = site;
  const kernel = site.shape(1).slice(2), groups = groupsOf(node);
  // Of the convolution that goes from the output to the input.
  const window = windowOf(node, kernel, tape.shape(g).slice(2), site.shape(0).slice(2));
  site.give(0, () =>
    tape.node("Conv", [framed(site, g, window), site.input(1)], site.shape(0), {
      group: BigInt(groups),
      kernel_shape: kernel.map(BigInt),
      strides: window.strides.map(BigInt),
      dilations: window.dilations.map(BigInt),
    }));
  site.give(1, () => weightGradient(site, g, site.input(0), window, groups, site.shape(1)));
  giveBias(site);
};

/** Gradients of convolutions, by operator. */
export const convolution: Readonly<Record<string, Rule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
};
