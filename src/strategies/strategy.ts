/**
 * What an allocation strategy is: a value that says what it must know of a layer, and what it
 * thinks that a width of the layer does to the model. A budget goes to the widths whose losses have
 * the least sum.
 *
 * @module
 */

import type { Measures } from "./measures.ts";

/** What a strategy goes by; each of them includes the ones before it. */
export type Needs =
  | /** The weights alone; samples make it better where there are some. */ "weights"
  | /** The outputs of layers, on samples. */ "outputs"
  | /** The gradient of the model's outputs, on samples. */ "gradients";

/** A way to spread a budget over layers. */
export interface AllocationStrategy {
  /** What it does, in a line for the help. */
  readonly doc: string;
  /** What it goes by. */
  readonly needs: Needs;
  /** What a layer at a width does to the model. Only losses of one strategy can be compared. */
  loss(measures: Measures, bits: number): number;
}
