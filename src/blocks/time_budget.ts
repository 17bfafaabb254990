/**
 * Time for learning: what is left of the job's budget, spread over the blocks that are left.
 *
 * @module
 */

import { mostColumns } from "../engine/columns.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { secondsOf } from "../calibrate/segments.ts";
import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { sizeOf } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { Spent } from "../calibrate/learner.ts";
import type { Block } from "./partition.ts";

/**
 * Time that is kept for writing the result and for what takes longer than it should, as a share.
 */
const KEPT = 0.03;
/** How much more, or less, than its share a block gets for how far off it is. */
const MOST_GAIN = 2;
/** How often the check at the end runs its samples: float, simulated, quantized. */
const CHECK_RUNS = 3;
/**
 * Rough speed of the kernel on one core, in multiply-adds; only its ratio to `secondsOf` matters.
 */
const MACS_PER_SECOND = 1e10;
/**
 * What rounding a layer costs, fitted to the layers of MobileNetV2, ResNet20 and SqueezeNet within
 * 10 %: as many multiply-adds per weight and input of H, per weight, and per layer as a factor of H
 * has per depth³.
 */
const PER_ROW = 7, PER_WEIGHT = 4700, PER_LAYER = 1e7;

/** What a block takes, each in a unit of its own: only ratios between blocks matter. */
export interface BlockCost {
  /** Running it over all samples, for ranges, statistics, and for the blocks after it. */
  readonly running: number;
  /** Rounding its layers. */
  readonly rounding: number;
  /** Learning from it. */
  readonly learning: number;
}

/** What `blocks` take. */
export function costsOf(plan: Plan, loaded: LoadedBatches, blocks: readonly Block[]): BlockCost[] {
  return blocks.map(({ start, end, steps }) => {
    const learning = secondsOfNodes(plan, loaded, plan.graph.nodes.slice(start, end));
    const layers = steps.flat(),
      sum = (of: (layer: LayerPlan) => number) =>
        layers.reduce((total, layer) => total + of(layer), 0);
    // Each step runs the block from its start, half of it in the mean, twice; and both models go
    // on.
    const runs = loaded.samples * learning * (steps.length + 2);
    return {
      running: runs + sum((layer) => secondsOfStatistics(layer, loaded)),
      rounding: sum(costOfRounding),
      learning,
    };
  });
}

/**
 * What the check of the result takes, in the unit of running blocks: by one of `workers`, on one
 * in 16.
 */
export function costOfCheck(
  plan: Plan,
  loaded: LoadedBatches,
  heldOut: number,
  workers: number,
): number {
  const checked = Math.min(heldOut, loaded.samples / 15);
  return CHECK_RUNS * checked * workers * secondsOfNodes(plan, loaded, plan.graph.nodes);
}

/** One sample through `nodes`. */
function secondsOfNodes(
  plan: Plan,
  loaded: LoadedBatches,
  nodes: readonly NodeProto[],
): number {
  const seconds = nodes.reduce((sum, node) => sum + secondsOf(node, plan, loaded.shapes), 0);
  return seconds / profiledSamples(loaded);
}

/** The Gram matrices of a layer's inputs, and their products with its outputs. */
function secondsOfStatistics(
  { target: { groups, rows, depth, output }, gram }: LayerPlan,
  loaded: LoadedBatches,
): number {
  const { shapes, samples } = loaded;
  const results = sizeOf(shapes.get(output)?.dims ?? []) / profiledSamples(loaded) * samples;
  const columns = Math.min(results / (groups * rows), mostColumns(depth, samples));
  const width = gram.kind === "full" ? depth : gram.size;
  return groups * columns * depth * (width / 2 + rows) / MACS_PER_SECOND;
}

function costOfRounding({ target: { groups, rows, depth }, gram }: LayerPlan): number {
  const width = gram.kind === "full" ? depth : gram.size;
  const perInput = width * width + PER_ROW * rows * width + PER_WEIGHT * rows;
  return groups * depth * perInput + PER_LAYER;
}

/** Samples that shapes were seen with. */
function profiledSamples({ batching }: LoadedBatches): number {
  return batching.size ?? 1;
}

/** Spreads a job's time over its blocks. */
export class TimeBudget {
  readonly #end: number;
  readonly #costs: readonly BlockCost[];
  readonly #check: number;
  #errors: number[] = [];

  /**
   * @param seconds that the whole job may take; infinite for as long as it likes.
   * @param started when the job began, by `performance.now()`.
   * @param costs of the blocks.
   * @param check of the result, in the unit of running blocks.
   */
  constructor(seconds: number, started: number, costs: readonly BlockCost[], check = 0) {
    this.#end = started + 1000 * seconds * (1 - KEPT);
    this.#costs = costs;
    this.#check = check;
  }

  /**
   * Milliseconds for learning block `index` and those after it: what nothing else will need, as the
   * blocks up to this one have `spent`.
   */
  timeLeft(index: number, now: number, spent: Spent): number {
    if (this.#end === Infinity) return Infinity;
    const toCome = (kind: keyof Spent, after: number) => {
      const done = this.#cost(kind, 0, index + 1);
      return done > 0 ? spent[kind] * (this.#cost(kind, index + 1) + after) / done : 0;
    };
    const rest = toCome("running", this.#check) + toCome("rounding", 0);
    return Math.max(0, this.#end - now - rest);
  }

  /**
   * When block `index` should be done, now that its layers are rounded with the relative error
   * `error`: what is left is shared by cost, and by how far off this block is beside those before
   * it, since that bounds what there is to gain.
   */
  deadline(index: number, error: number, now: number, spent: Spent): number {
    if (this.#end === Infinity) return Infinity;
    this.#errors.push(error);
    const usual = this.#errors.reduce((sum, value) => sum + value, 0) / this.#errors.length;
    const gain = usual > 0 ? Math.sqrt(error / usual) : 1;
    const cost = this.#costs[index].learning * Math.min(MOST_GAIN, Math.max(1 / MOST_GAIN, gain));
    const share = cost / (cost + this.#cost("learning", index + 1));
    return now + this.timeLeft(index, now, spent) * share;
  }

  #cost(kind: keyof BlockCost, from: number, to?: number): number {
    return this.#costs.slice(from, to).reduce((sum, value) => sum + value[kind], 0);
  }
}
