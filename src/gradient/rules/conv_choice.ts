/**
 * Which way to compute a convolution's gradients, chosen by shape.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import { byPhase, hasPhases, transposed, turnedKernel } from "./conv_input.ts";
import { allTaps, byRows, bySample, byTap, isDepthwise } from "./conv_weight.ts";
import type { Convolution, Formulation } from "./conv_weight.ts";

/** How to compute the gradient of the weight of `convolution`. */
export function weightFormulation({ tape, w, g, window, groups }: Convolution): Formulation {
  const shape = tape.shape(w), [outputs, inputs] = shape;
  if (isDepthwise(shape, groups) && window.kernel.length === 2) return byRows;
  if (sizeOf(window.kernel) === 1) {
    return sizeOf(tape.shape(g).slice(2)) >= FEW_PLACES ? bySample : byTap;
  }
  return inputs < FEW_INPUTS || outputs / groups >= MANY_OUTPUTS ? allTaps : byTap;
}

/** How to compute the gradient of the input of `convolution`. */
export function inputFormulation(convolution: Convolution): Formulation {
  const { tape, w, window, groups } = convolution;
  if (window.strides.every((stride) => stride === 1)) return turnedKernel;
  if (!isDepthwise(tape.shape(w), groups)) return transposed;
  return hasPhases(convolution) ? byPhase : turnedKernel;
}

/** Below, products per sample are too small. */
const FEW_PLACES = 32;
/** Below, a product per tap is too small. */
const FEW_INPUTS = 8;
/** From here on, copying what all taps saw is cheap beside the product. */
const MANY_OUTPUTS = 256;
