/**
 * Which way to compute a convolution's gradients, chosen by shape. Times relative to the forward
 * pass, onnxruntime 1.30 on one thread, web / node (`bench/gradient.ts` measures them anew):
 *
 * | weight, N×C×size² → O     | byTap     | allTaps   | bySample  | N and C exchanged |
 * | ------------------------- | --------- | --------- | --------- | ----------------- |
 * | 3×3, 32×16×32² → 16       | 1.2 / 1.4 | 1.8 / 2.4 |           | 2.5 / 3.1         |
 * | 3×3, 32×64×8² → 64        | 1.2 / 1.7 | 1.3 / 2.1 |           | 2.0 / 2.3         |
 * | 3×3, 4×64×56² → 64        | 1.2 / 1.2 | 1.3 / 2.2 |           | 2.3 / 2.3         |
 * | 3×3, 8×512×7² → 512       | 0.9 / 1.5 | 0.9 / 1.3 |           | 1.8 / 2.1         |
 * | 3×3 / 2, 4×3×224² → 32    | 4.1 / 3.0 | 1.8 / 1.9 |           | 2.1 / 1.5         |
 * | 1×1, 2×16×112² → 96       | 1.0 / 0.8 | 1.0 / 0.7 | 0.8 / 0.2 |                   |
 * | 1×1, 4×144×56² → 24       | 1.0 / 1.3 | 1.0 / 1.5 | 0.8 / 0.6 |                   |
 *
 * | depthwise weight          | byTap     | allTaps   | byRows    | byChannel         |
 * | ------------------------- | --------- | --------- | --------- | ----------------- |
 * | 3×3, 2×32×112²            | 3.8 / 7.5 | 3.2 / 5.4 | 3.5 / 3.0 | 4.3 / 4.0         |
 * | 3×3, 8×192×28²            | 3.4 / 6.5 | 3.3 / 4.6 | 2.6 / 2.2 | 3.7 / 3.9         |
 * | 3×3, 32×960×7²            | 3.0 / 3.6 | 3.1 / 2.7 | 1.6 / 1.3 | 1.8 / 1.6         |
 * | 3×3 / 2, 4×144×56²        | 3.7 / 6.8 | 3.2 / 5.8 | 2.3 / 2.5 | 1.9 / 2.0         |
 *
 * | input                     | turnedKernel | transposed |
 * | ------------------------- | ------------ | ---------- |
 * | 3×3, 32×16×32² → 16       | 0.9 / 1.0    | 1.4 / 1.3  |
 * | 3×3, 4×64×56² → 64        | 1.0 / 1.2    | 1.3 / 1.7  |
 * | 3×3, 8×512×7² → 512       | 1.8 / 1.8    | 1.1 / 1.3  |
 * | 1×1, 4×24×56² → 144       | 1.1 / 0.6    | 1.3 / 0.7  |
 * | depthwise 3×3, 8×192×28²  | 1.1 / 1.1    | 2.1 / 1.8  |
 * | 3×3 / 2, 32×16×32² → 32   | –            | 1.1 / 1.2  |
 * | depthwise / 2, 4×144×56²  | –            | 1.5 / 1.6  |
 *
 * With a stride above 1, turned kernels on a g with zeros between its values took 5 to 20, one
 * convolution per phase and DepthToSpace 1.9 / 2.6.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import { transposed, turnedKernel } from "./conv_input.ts";
import {
  allTaps,
  byChannel,
  byRows,
  bySample,
  byTap,
  type Convolution,
  type Formulation,
  isDepthwise,
} from "./conv_weight.ts";

/** Below, a product per sample is too small. */
const FEW_PLACES = 32;
/** Below, a product per tap is too small. */
const FEW_INPUTS = 8;
/** From here on, putting together what all taps saw is cheap beside the product. */
const MANY_OUTPUTS = 256;
/** Below, turning a dense kernel around is dear beside the convolution. */
const FEW_COLUMNS = 2048;

/** How to compute the gradient of the weight of `convolution`. */
export function weightFormulation({ tape, w, g, window, groups }: Convolution): Formulation {
  const shape = tape.shape(w), [outputs, inputs] = shape;
  if (isDepthwise(shape, groups) && window.kernel.length === 2) {
    return window.strides.every((stride) => stride === 1) ? byRows : byChannel;
  }
  if (sizeOf(window.kernel) === 1) {
    return sizeOf(tape.shape(g).slice(2)) < FEW_PLACES ? byTap : bySample;
  }
  return inputs < FEW_INPUTS || outputs / groups >= MANY_OUTPUTS ? allTaps : byTap;
}

/** How to compute the gradient of the input of `convolution`. */
export function inputFormulation({ tape, w, g, window, groups }: Convolution): Formulation {
  if (window.strides.some((stride) => stride > 1)) return transposed;
  const [n, , ...places] = tape.shape(g), few = n * sizeOf(places) < FEW_COLUMNS;
  return few && !isDepthwise(tape.shape(w), groups) ? transposed : turnedKernel;
}
