/**
 * Coding lengths of a layer: how many bits its weights take if its outputs may be off by a
 * distortion.
 *
 * *One by one*: L = n/2 · log₂(1 + A/D) codes n numbers of power A in all such that they are off by
 * D. With samples A is what the grid, the scales and the inputs of the layer make of it: it is
 * calibrated so that a layer of 4 bits has the error that rounding it to 4 bits really gives.
 * Without, it is the power of the weights.
 *
 * *Joint*: L = (o + d)/2 · log₂ det(I + o/(d ε²) W H Wᵀ), as published, codes all rows together, so
 * it is short where rows are alike or leave directions unused. Integers of one width, with a scale
 * per row, cannot make use of that, and the form is off by a factor of two and more between layers
 * of different shape.
 *
 * @module
 */

import { errorAt, type Measures } from "./measures.ts";
import { jointLength, powerOf } from "./spectrum.ts";
import type { AllocationStrategy } from "./strategy.ts";

/** The width that the power of a layer is calibrated at. */
const ANCHOR = 4;
/**
 * Halvings of the interval that a distortion is sought in, and the logarithms that it lies between.
 */
const HALVINGS = 42, LOWEST = -200, HIGHEST = 200;

/**
 * The coding length in bits per weight, one by one, at a squared error of `error` of the outputs'
 * power.
 */
export function lengthPerWeight(measures: Measures, error: number): number {
  return error > 0 ? Math.log2(1 + powerAt(measures) / error) / 2 : 0;
}

/** The error at which {@linkcode lengthPerWeight} is `bits`. */
export function errorOfLength(measures: Measures, bits: number): number {
  return powerAt(measures) / (4 ** bits - 1);
}

/** A relative to the power of the layer's outputs, or weights. */
function powerAt({ outputs }: Measures): number {
  return outputs ? errorAt(outputs.errors, ANCHOR) * (4 ** ANCHOR - 1) : 1;
}

/**
 * The joint coding length in bits per weight, at a squared error of `error` of the outputs' power.
 */
export function jointLengthPerWeight(
  { spectrum, outputs }: Measures,
  error: number,
): number {
  const whole = outputs?.spectrum ?? spectrum;
  const { groups, rows, depth } = whole;
  // ε² is the squared error of a column, of which there are depth per group.
  const squared = error * powerOf(whole) / (groups * depth);
  return squared > 0 ? jointLength(whole, squared) / (groups * rows * depth) : 0;
}

/** The error at which {@linkcode jointLengthPerWeight} is `bits`. */
export function errorOfJointLength(measures: Measures, bits: number): number {
  return 2 ** solveFalling((level) => jointLengthPerWeight(measures, 2 ** level), bits);
}

/** The distortion, by the coding length of each layer's weights one by one, × the sensitivity. */
export const codingLength: AllocationStrategy = {
  doc: "distortion by the coding length of weights one by one",
  needs: "weights",
  loss: (measures, bits) => (measures.outputs?.sensitivity ?? 1) * errorOfLength(measures, bits),
};

/** The same by the coding length of all rows together (as published). */
export const jointCodingLength: AllocationStrategy = {
  doc: "distortion by the coding length of all rows (as published)",
  needs: "weights",
  loss: (measures, bits) =>
    (measures.outputs?.sensitivity ?? 1) * errorOfJointLength(measures, bits),
};

/** Where the falling function `f` of the logarithm of a distortion is `value`, by bisection. */
export function solveFalling(f: (level: number) => number, value: number): number {
  let low = LOWEST, high = HIGHEST;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    if (f(middle) > value) low = middle;
    else high = middle;
  }
  return high;
}
