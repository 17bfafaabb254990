/**
 * What a caller can choose about the reconstruction of blocks.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { checkCount } from "../plan/options.ts";

/** Whether, and how, blocks are learned after their layers have been rounded. */
export type Reconstruction =
  | { /** Layers stay as they were rounded, one by one. */ readonly kind: "none" }
  | BlockReconstruction;

/** How roundings are learned; see {@linkcode BlockReconstruction}. */
export type LearnRule = "erf" | "straight-through" | "adaround";

/** Samples of an iteration. */
export const BATCH = 32;
/** Iterations of a block, at most: without a time budget, and where that is what ends them. */
const ITERATIONS = 300, ITERATIONS_IN_TIME = 20_000;

/** How blocks are learned. */
export interface BlockReconstruction {
  /** Blocks are learned by the gradients of their outputs. */
  readonly kind: "blocks";
  /** Gradient steps of a block, at most. Default: 300, with a time budget as many as it allows. */
  readonly iterations?: number;
  /**
   * Seconds that the whole job may take; iterations are spread over blocks such that it ends on
   * time. Default: no limit.
   */
  readonly timeBudget?: number;
  /** Samples of an iteration. Default: 32. */
  readonly batch?: number;
  /**
   * How roundings are learned: Attention Round, its gradient scaled by the erf rule or straight
   * through, or AdaRound's soft rounding. Default: straight-through.
   */
  readonly rule?: LearnRule;
  /** Radius of the erf rule, in steps of the grid. Default: 0.5. */
  readonly tau?: number;
  /** First step size of roundings, in steps of the grid, if there are 500. Default: 0.005. */
  readonly learningRate?: number;
  /**
   * Whether learning sees about half of a block's inputs without their quantization, by chance, in
   * every iteration. Default: with activations of 4 bits.
   */
  readonly drop?: boolean;
  /** Gets each block's gradient graph, to look at. Default: nobody. */
  readonly onGraph?: (name: string, model: Model) => void;
}

/** {@linkcode BlockReconstruction} with every default filled in. */
export type BlockSettings = Required<Omit<BlockReconstruction, "kind" | "drop" | "onGraph">> & {
  readonly drop?: boolean;
  readonly onGraph?: BlockReconstruction["onGraph"];
};

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws {AttuneError} `bad-option` naming the option, its value and what is allowed.
 */
export function resolveBlocks(options: BlockReconstruction): BlockSettings {
  const { timeBudget = Infinity, batch = BATCH } = options;
  const { iterations = timeBudget === Infinity ? ITERATIONS : ITERATIONS_IN_TIME } = options;
  const { rule = "straight-through", tau = 0.5, learningRate = 0.005, drop, onGraph } = options;
  checkCount("iterations", iterations);
  checkCount("batch", batch);
  for (const [what, value] of Object.entries({ "time budget": timeBudget, tau, learningRate })) {
    if (value > 0) continue;
    throw new AttuneError("bad-option", `Cannot use ${value} as ${what}: give a positive number`);
  }
  return { iterations, timeBudget, batch, rule, tau, learningRate, drop, onGraph };
}
