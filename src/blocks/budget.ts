/**
 * Time for learning: what is left of the job's budget, spread over the blocks that are left.
 *
 * @module
 */

import { fixedBatch } from "../calibrate/batches.ts";
import { mostColumns } from "../calibrate/columns.ts";
import type { LoadedBatches } from "../calibrate/job.ts";
import { secondsOf } from "../calibrate/segments.ts";
import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { sizeOf } from "../onnx/tensor.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import type { Block } from "./cut.ts";

/** Time that is kept for writing the result and for what takes longer than it should, as a share. */
const KEPT = 0.03;
/** How much more, or less, than its share a block gets for how far off it is. */
const MOST_GAIN = 2;
/** How often the check at the end runs its samples: float, simulated, quantized. */
const CHECK_RUNS = 3;
/** Rough speed of the kernel on one core, in multiply-adds; only its ratio to `secondsOf` matters. */
const MACS_PER_SECOND = 1e10;
/** Multiply-adds per weight and input of a layer's rounding: candidates, polish, strengths of the shift. */
const ROUNDING_PASSES = 60;

/** What a block takes, in rough seconds of one core: only ratios matter. */
export interface BlockCost {
  /** Running it over all samples, and rounding its layers. */
  readonly rounding: number;
  /** Learning from one sample. */
  readonly learning: number;
}

/** What `blocks` take. */
export function costsOf(plan: Plan, loaded: LoadedBatches, blocks: readonly Block[]): BlockCost[] {
  return blocks.map(({ start, end, steps }) => {
    const learning = secondsOfNodes(plan, loaded, plan.graph.nodes.slice(start, end));
    const layers = steps.flat().reduce((sum, it) => sum + secondsOfLayer(plan, it, loaded), 0);
    // Each step runs the block from its start, half of it in the mean, twice; and both models go on.
    const runs = steps.length + 2;
    return { rounding: loaded.samples * learning * runs + layers, learning };
  });
}

/** What the check of the result takes, by one of `workers`, on `heldOut` samples or one in 16. */
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
  { shapes }: LoadedBatches,
  nodes: readonly NodeProto[],
): number {
  const seconds = nodes.reduce((sum, node) => sum + secondsOf(node, plan, shapes), 0);
  return seconds / profiledSamples(plan);
}

/** Statistics and rounding of a layer. */
function secondsOfLayer(
  plan: Plan,
  { target: { groups, rows, depth, output }, gram }: LayerPlan,
  { shapes, samples }: LoadedBatches,
): number {
  const results = sizeOf(shapes.get(output)?.dims ?? []) / profiledSamples(plan) * samples;
  const columns = Math.min(results / (groups * rows), mostColumns(depth, samples));
  const width = gram.kind === "full" ? depth : gram.size;
  const statistics = columns * depth * (width / 2 + rows);
  const rounding = depth * width * (width + ROUNDING_PASSES * rows);
  return groups * (statistics + rounding) / MACS_PER_SECOND;
}

/** Samples that shapes were seen with. */
function profiledSamples(plan: Plan): number {
  return fixedBatch(plan.graph.inputs) ?? 1;
}

/** Spreads a job's time over its blocks. */
export class Budget {
  readonly #end: number;
  readonly #started: number;
  readonly #costs: readonly BlockCost[];
  readonly #after: number;
  /** Milliseconds that went into learning up to now. */
  #learning = 0;
  #errors: number[] = [];

  /**
   * @param seconds that the whole job may take; infinite for as long as it likes.
   * @param started when the job began, by `performance.now()`.
   * @param costs of the blocks.
   * @param after what follows the last block, in the unit of their rounding.
   */
  constructor(seconds: number, started: number, costs: readonly BlockCost[], after = 0) {
    this.#started = started;
    this.#end = started + 1000 * seconds * (1 - KEPT);
    this.#costs = costs;
    this.#after = after;
  }

  /** Milliseconds for learning block `index` and those after it: what no rounding will need. */
  left(index: number, now: number): number {
    if (this.#end === Infinity) return Infinity;
    const spent = now - this.#started - this.#learning;
    const toCome = this.#cost("rounding", index + 1) + this.#after;
    return Math.max(
      0,
      this.#end - now - spent / this.#cost("rounding", 0, index + 1) * toCome,
    );
  }

  /**
   * When block `index` should be done, now that its layers are rounded with the relative error `error`:
   * what is left is shared by cost, and by how far off this block is beside those before it, since
   * that bounds what there is to gain.
   */
  deadline(index: number, error: number, now: number): number {
    if (this.#end === Infinity) return Infinity;
    this.#errors.push(error);
    const usual = this.#errors.reduce((sum, value) => sum + value, 0) / this.#errors.length;
    const gain = usual > 0 ? Math.sqrt(error / usual) : 1;
    const own = this.#costs[index].learning * Math.min(MOST_GAIN, Math.max(1 / MOST_GAIN, gain));
    return now + this.left(index, now) * own / (own + this.#cost("learning", index + 1));
  }

  #cost(kind: keyof BlockCost, from: number, to?: number): number {
    return this.#costs.slice(from, to).reduce((sum, value) => sum + value[kind], 0);
  }

  /** Tells that so many milliseconds went into learning. */
  learned(milliseconds: number): void {
    this.#learning += milliseconds;
  }
}
