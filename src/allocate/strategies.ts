/**
 * What a width of a layer costs the model, strategy by strategy.
 *
 * @module
 */

import type { Strategy } from "../plan/bits.ts";
import { errorOfJointLength, errorOfLength } from "./coding.ts";
import { type LayerMeasures, WIDTHS } from "./layer_measures.ts";
import { nuclearNorm } from "../round/spectrum.ts";

/** Strategies that weights alone do not suffice for. */
export const NEED_SAMPLES: ReadonlySet<Strategy> = new Set([
  "gradient",
  "hessian-trace",
  "measured",
]);

/** The error of a measured width. */
export function errorAt(errors: readonly number[], bits: number): number {
  return errors[WIDTHS.indexOf(bits)];
}

/** What a layer at a width does to the model, by a strategy that prices. */
export function priceOf(
  strategy: Strategy,
  measures: LayerMeasures,
  bits: number,
): number {
  const { spectrum, weightErrors, outputs, weights } = measures;
  const sensitivity = outputs?.sensitivity ?? 1;
  const squares = errorAt(weightErrors, bits);
  switch (strategy) {
    case "coding-length":
      return sensitivity * errorOfLength(measures, bits);
    case "coding-length:joint":
      return sensitivity * errorOfJointLength(measures, bits);
    case "nuclear":
      return nuclearNorm(spectrum) * squares;
    case "hessian-trace":
      return outputs!.trace * squares;
    case "gradient":
      // The first-order bound Σ |g| · |ŵ − w|, with the error spread evenly.
      return outputs!.gradient! * Math.sqrt(squares / weights);
    case "measured":
      return sensitivity * errorAt(outputs!.errors, bits);
  }
}
