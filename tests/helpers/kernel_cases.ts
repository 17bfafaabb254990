/**
 * Operators over their attributes, each as a layer or other node of a graph that is quantized: all
 * that onnxruntime 1.30 has an integer form for between DequantizeLinear and QuantizeLinear, and
 * what only happens to stand between tensors on grids.
 */

import type { KernelCase } from "./kernels.ts";
import { arithmetic, choices, composites, extremes, functions } from "./kernel_cases/functions.ts";
import { convolutions, floatLayers, products } from "./kernel_cases/layers.ts";
import { moves, pads, resizes, splitsAndJoins } from "./kernel_cases/moves.ts";
import { averagePools, maxPools, otherPools } from "./kernel_cases/pools.ts";

/** Every case by its name. */
export const KERNEL_CASES: ReadonlyMap<string, KernelCase> = new Map([
  ...convolutions(),
  ...products(),
  ...floatLayers(),
  ...averagePools(),
  ...maxPools(),
  ...otherPools(),
  ...arithmetic(),
  ...choices(),
  ...functions(),
  ...composites(),
  ...extremes(),
  ...moves(),
  ...pads(),
  ...resizes(),
  ...splitsAndJoins(),
]);
