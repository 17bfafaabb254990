/**
 * Attention Round's layer form, as published: all weights of a layer are learned together, each
 * drawn around a mean α whose gradient the erf rule scales.
 *
 * @module
 */

import type { Method } from "../method.ts";
import { ITERATIONS, learn } from "./iterations.ts";

/** Attention Round, layer form: α learned by the erf rule, on the Gram matrix. */
export interface AttentionGradientRounding {
  /** The method. */
  readonly kind: "attention:gradient";
  /** Gradient steps. Default: 1,000. */
  readonly iterations?: number;
  /** Spread of the first draw and radius of the decay, in steps of the grid. Default: 0.5. */
  readonly tau?: number;
}

/** Adam's step size, in steps of the grid. */
const LEARNING_RATE = 0.01;

/** Attention Round, layer form. */
export const attentionGradient: Method<AttentionGradientRounding> = {
  kind: "attention:gradient",
  doc: "draws around what gradients learn",
  options: {
    iterations: ITERATIONS,
    tau: { doc: "spread of the first draw, in steps of the grid", default: 0.5, check: "size" },
  },
  learned: true,
  grids: ["uniform"],
  round(context, options) {
    const defaults = attentionGradient.options;
    const { iterations = defaults.iterations.default, tau = defaults.tau.default } = options;
    return learn(context, iterations, (run) => {
      context.kernel.attentionLoop({ ...run, learningRate: LEARNING_RATE, tau });
    });
  },
};
