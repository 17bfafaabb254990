/**
 * AdaRound (Nagel et al. 2020): whether each weight goes up or down is learned by a rectified
 * sigmoid that a regularisation pushes to either side, on the Gram matrix.
 *
 * @module
 */

import type { Method } from "../method.ts";
import { ITERATIONS, learn } from "./iterations.ts";

/** Up or down, learned by AdaRound's rectified sigmoid, on the Gram matrix. */
export interface AdaRounding {
  /** The method. */
  readonly kind: "adaround";
  /** Gradient steps. Default: 1,000. */
  readonly iterations?: number;
}

/** Adam's step size, and the weight of what pushes to either side. */
const LEARNING_RATE = 0.02, REGULARISATION = 0.01;

/** AdaRound. */
export const adaround: Method<AdaRounding> = {
  kind: "adaround",
  doc: "up or down, learned by a rectified sigmoid",
  options: { iterations: ITERATIONS },
  learned: true,
  grids: ["uniform"],
  round(context, { iterations: totalSteps = adaround.options.iterations.default }) {
    const settings = {
      learningRate: LEARNING_RATE,
      totalSteps,
      regularisation: REGULARISATION,
    };
    return learn(context, totalSteps, (run) => {
      context.kernel.adaroundLoop({ ...run, ...settings });
    });
  },
};
