/**
 * Gradients of convolutions, in the operators that onnxruntime is fast at.
 *
 * @module
 */

import type { Rule, Site } from "../rule.ts";
import { inputFormulation, weightFormulation } from "./conv_choice.ts";
import type { Convolution } from "./conv_weight.ts";
import { framed, groupsOf, windowOf } from "./window.ts";

/** The gradient of a bias: all but the channels summed. */
function giveBias(site: Site): void {
  if (!site.wants(2)) return;
  const { tape, gradient: g } = site;
  const axes = tape.shape(g).flatMap((_, axis) => axis === 1 ? [] : [axis]);
  tape.add(site.input(2), tape.reshape(tape.sum(g, axes), site.shape(2)));
}

const conv: Rule = (site) => {
  const { tape, gradient: g } = site;
  const kernel = site.shape(1).slice(2);
  const convolution: Convolution = {
    tape,
    x: site.input(0),
    w: site.input(1),
    g,
    window: windowOf(site.node, kernel, site.shape(0).slice(2), tape.shape(g).slice(2)),
    groups: groupsOf(site.node),
  };
  site.give(0, () => inputFormulation(convolution)(convolution));
  site.give(1, () => weightFormulation(convolution)(convolution));
  giveBias(site);
};

/**
 * The transposed convolution is a convolution's input gradient, so its own gradients are one's,
 * too.
 */
const convTranspose: Rule = (site) => {
  const { tape, gradient: g, node } = site;
  const kernel = site.shape(1).slice(2);
  // Of the convolution that goes from the output to the input.
  const convolution: Convolution = {
    tape,
    x: g,
    w: site.input(1),
    g: site.input(0),
    window: windowOf(node, kernel, tape.shape(g).slice(2), site.shape(0).slice(2)),
    groups: groupsOf(node),
  };
  const { window } = convolution;
  site.give(0, () =>
    tape.node("Conv", [framed(tape, g, window), site.input(1)], site.shape(0), {
      group: BigInt(convolution.groups),
      kernel_shape: kernel.map(BigInt),
      strides: window.strides.map(BigInt),
      dilations: window.dilations.map(BigInt),
    }));
  site.give(1, () => weightFormulation(convolution)(convolution));
  giveBias(site);
};

/** Gradients of convolutions, by operator. */
export const convolution: Readonly<Record<string, Rule>> = {
  Conv: conv,
  ConvTranspose: convTranspose,
};
