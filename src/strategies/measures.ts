/**
 * What a strategy knows of a layer: the spectra of its matrices, and what rounding to each width
 * costs.
 *
 * @module
 */

import type { Spectrum } from "./spectrum.ts";

/** The widths that are measured, in rising order. */
export const WIDTHS: readonly number[] = [2, 3, 4, 5, 6, 7, 8];

/** What is known of a layer. Lists by width are in the order of {@linkcode WIDTHS}. */
export interface Measures {
  /** Its number of weights. */
  readonly weights: number;
  /** The spectrum of W Wᵀ. */
  readonly spectrum: Spectrum;
  /** ‖ŵ − w‖² of nearest rounding, by width. */
  readonly weightErrors: readonly number[];
  /** What samples tell; undefined without them. */
  readonly outputs?: OutputMeasures;
}

/** What samples tell of a layer. */
export interface OutputMeasures {
  /** The spectrum of W H Wᵀ, H being the second moments of its inputs. */
  readonly spectrum: Spectrum;
  /** Squared output error of the nearest plane relative to the output's power, by width. */
  readonly errors: readonly number[];
  /** The mean of H's diagonal: of the Hessian of a layer's squared output error. */
  readonly trace: number;
  /** ∂(relative squared error of the model's outputs) / ∂(that of this layer's outputs). */
  readonly sensitivity: number;
  /** Σ |∂loss/∂w|, averaged over samples; only where it was asked for. */
  readonly gradient?: number;
}

/** The error of a measured width. */
export function errorAt(errors: readonly number[], bits: number): number {
  return errors[WIDTHS.indexOf(bits)];
}
