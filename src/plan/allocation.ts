/**
 * How the widths of a plan were found where a budget or clusters decided, and what each layer pays.
 *
 * @module
 */

import type { BitBudget } from "./bits.ts";
import type { Strategy } from "../strategies/strategies.ts";

/** How the widths of a plan were found, and what each layer pays. */
export interface Allocation {
  /** What decided: a strategy, clusters, or nothing where all free layers have one width. */
  readonly strategy: Strategy | "clusters" | "uniform";
  /** What was to be met; only a strategy has one. */
  readonly budget?: BitBudget;
  /** What it went by: the weights alone, or the outputs of layers on samples. */
  readonly basis: "weights" | "outputs";
  /** Bits of a weight on average over the layers whose width was free. */
  readonly averageBits: number;
  /** Bytes of the written file, as predicted. */
  readonly bytes: number;
  /** Squared error of the model's outputs relative to their power, as predicted; needs samples. */
  readonly loss?: number;
  /** Every layer of the plan, in its order. */
  readonly layers: readonly LayerShare[];
}

/** What a layer got, and what it pays for that. */
export interface LayerShare {
  /** The layer's name. */
  readonly name: string;
  /** Its width. */
  readonly bits: number;
  /** Whether the width was for the strategy to choose. */
  readonly free: boolean;
  /** Its coding length, in bits per weight, at the distortion of the whole model. */
  readonly codingLength: number;
  /** Its squared output error relative to its output's power, as predicted; needs samples. */
  readonly error?: number;
  /** What that error adds to the loss of the model, as predicted; needs samples. */
  readonly loss?: number;
}
