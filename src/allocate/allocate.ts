/**
 * Chooses a width for each layer of a plan: by clusters of coding lengths, or by spreading a
 * budget.
 *
 * A budget goes to the widths whose losses have the least sum. What a width loses is told in
 * several ways, the strategies (see `strategies/`). By *coding length* it is the distortion at
 * which the layer's code has so many bits per weight, times how much the model's outputs mind it.
 * Where all of it could be spread in fractions of bits, every weight of the model would get an
 * equal part of the distortion (reverse water-filling): a bit more would gain the same everywhere.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { formatOf } from "../formats/formats.ts";
import { type BitBudget, budgetName, resolveMixedBits } from "../plan/bits.ts";
import { errorAt, WIDTHS } from "../strategies/measures.ts";
import { STRATEGIES, type Strategy } from "../strategies/strategies.ts";
import type { Allocation } from "../plan/allocation.ts";
import { type Plan, withAllocation } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { clusterValues } from "./clusters.ts";
import { lengthPerWeight, solveFalling } from "../strategies/coding_length.ts";
import { solveKnapsack } from "./knapsack.ts";
import type { LayerMeasures } from "./layer_measures.ts";
import { fileBytes, fixedBytes } from "./size.ts";

/** Times that a choice is made again because its file is larger than was thought. */
const SIZE_ROUNDS = 8;
/** A loss is met to this many bits on average: finer steps are not worth their time. */
const LOSS_STEP = 1 / 64;
/**
 * `plan` with the widths that its options ask for, by what was measured of its layers.
 *
 * @throws {AttuneError} `bad-option` where the budget cannot be met, or the strategy or the budget
 * needs samples and there were none.
 */
export function allocate(plan: Plan, measures: readonly LayerMeasures[]): Plan {
  const { bits } = plan.options;
  if (typeof bits !== "object") return plan;
  const allocator = new Allocator(plan, measures, bits.widths);
  return withSize(
    plan,
    bits.kind === "clusters" ? allocator.clusters() : allocator.spread(bits.strategy, bits.budget),
  );
}

/** `plan` with `allocation`, whose size is now that of all that goes into the file. */
function withSize(plan: Plan, allocation: Allocation): Plan {
  const bytes = fileBytes(withAllocation(plan, allocation));
  return withAllocation(plan, { ...allocation, bytes });
}

/**
 * `plan` with widths of `bits` on average that `strategy` chooses, whatever its own options ask
 * for.
 */
export function allocateAverage(
  plan: Plan,
  measures: readonly LayerMeasures[],
  strategy: Strategy,
  bits: number,
): Plan {
  const allocator = new Allocator(plan, measures, WIDTHS);
  return withSize(plan, allocator.spread(strategy, { kind: "average", bits }));
}

/** `plan` with widths by clusters of coding lengths, whatever its own options ask for. */
export function allocateClusters(plan: Plan, measures: readonly LayerMeasures[]): Plan {
  const { widths } = resolveMixedBits({ kind: "clusters" });
  return withSize(plan, new Allocator(plan, measures, widths).clusters());
}

/** `plan` with one width for all free layers. */
export function allocateUniform(
  plan: Plan,
  measures: readonly LayerMeasures[],
  bits: number,
): Plan {
  return withSize(plan, new Allocator(plan, measures, [bits]).uniform(bits));
}

/** A free layer with its widths. */
interface Choice {
  readonly measures: LayerMeasures;
  /** Widths that are worth choosing, and bytes in the file; both rise. */
  readonly options: readonly { readonly bits: number; readonly bytes: number }[];
}

/** Chooses widths for one plan. */
class Allocator {
  readonly #plan: Plan;
  readonly #measures: readonly LayerMeasures[];
  readonly #choices: readonly Choice[];
  readonly #widths: readonly number[];
  readonly #weights: number;
  /** What widths of layers do to the model, by strategy and weight. */
  readonly #losses = new Map<string, readonly number[]>();
  /** Bytes of the file beside the levels and scales of free layers. */
  readonly #fixed: number;

  constructor(plan: Plan, measures: readonly LayerMeasures[], widths: readonly number[]) {
    this.#plan = plan;
    this.#measures = measures;
    this.#widths = widths;
    this.#fixed = fixedBytes(plan);
    const free = measures.filter((layer) => layer.free);
    this.#weights = free.reduce((sum, { weights }) => sum + weights, 0);
    this.#choices = free.map((layer) => ({
      measures: layer,
      options: widths.map((bits) => ({
        bits,
        bytes: layerAtWidth(plan, layer.layer, bits).bytesAfter,
      })),
    }));
  }

  /** Widths by clusters of coding lengths. */
  clusters(): Allocation {
    const mean = this.#widths.reduce((sum, bits) => sum + bits, 0) / this.#widths.length;
    const all = this.#lengthsAt(mean);
    const lengths = this.#choices.map(({ measures }) => all.get(measures)!);
    const clusters = clusterValues(lengths, this.#widths.length);
    // With fewer layers than widths, the outer widths stay unused.
    const count = Math.max(0, ...clusters) + 1;
    const first = Math.floor((this.#widths.length - count) / 2);
    const bits = clusters.map((cluster) => this.#widths[first + cluster]);
    return this.#allocation("clusters", undefined, bits);
  }

  /** One width for all. */
  uniform(bits: number): Allocation {
    return this.#allocation("uniform", undefined, this.#choices.map(() => bits));
  }

  /** Widths that meet `budget`. */
  spread(strategy: Strategy, budget: BitBudget): Allocation {
    if (STRATEGIES[strategy].needs !== "weights") this.#needSamples(strategy);
    if (budget.kind === "average") return this.#ofAverage(strategy, budget);
    return budget.kind === "size" ? this.#ofSize(strategy, budget) : this.#ofLoss(strategy, budget);
  }

  /** Widths of so many bits on average. */
  #ofAverage(strategy: Strategy, budget: BitBudget & { kind: "average" }): Allocation {
    const bits = this.#within(strategy, "bits", Math.floor(budget.bits * this.#weights + 1e-6));
    return this.#allocation(strategy, budget, bits!);
  }

  /** Widths with which the outputs' error is within the budget. */
  #ofLoss(strategy: Strategy, budget: BitBudget & { kind: "loss" }): Allocation {
    this.#needSamples(budgetName(budget));
    const least = this.#widths[0], most = this.#widths[this.#widths.length - 1];
    const best = this.#allocation(strategy, budget, this.#choices.map(() => most));
    if (best.loss! > budget.error) {
      throw new AttuneError(
        "bad-option",
        `Cannot keep the ${budgetName(budget)}: with ${most} bits it is ${
          best.loss!.toPrecision(2)
        } as predicted; give more`,
      );
    }
    // The loss falls as the budget grows, but for steps of whole bits.
    let met: Allocation | undefined;
    let low = least * this.#weights, high = most * this.#weights;
    while (high - low > Math.max(1, LOSS_STEP * this.#weights)) {
      const middle = Math.floor((low + high) / 2), bits = this.#within(strategy, "bits", middle);
      const allocation = this.#allocation(strategy, budget, bits!);
      if (allocation.loss! <= budget.error) [met, high] = [allocation, middle];
      else low = middle;
    }
    return met ?? best;
  }

  /** Widths for a file of the budget's size. */
  #ofSize(strategy: Strategy, budget: BitBudget & { kind: "size" }): Allocation {
    const { format } = this.#plan.options;
    if (formatOf(format).simulation) {
      throw new AttuneError(
        "bad-option",
        `Cannot meet a size with format ${format}: use another`,
        { remedies: [{ option: "format" }] },
      );
    }
    const excessOf = (allocation: Allocation) =>
      fileBytes(withAllocation(this.#plan, allocation)) - budget.bytes;
    // What a file needs beside levels and scales depends a little on which widths there are.
    for (let bytes = budget.bytes - this.#fixed, i = 0; i < SIZE_ROUNDS; i++) {
      const bits = this.#within(strategy, "bytes", Math.floor(bytes));
      if (bits === undefined) break;
      const allocation = this.#allocation(strategy, budget, bits), excess = excessOf(allocation);
      if (excess <= 0) return allocation;
      bytes -= excess;
    }
    const least = this.#widths[0];
    const smallest = this.#allocation(strategy, budget, this.#choices.map(() => least));
    const excess = excessOf(smallest);
    if (excess <= 0) return smallest;
    throw new AttuneError(
      "bad-option",
      `Cannot make ${this.#plan.model.name} ${budget.bytes} bytes small: with ${least} bits it ` +
        `has ${budget.bytes + excess}; give more, or fewer bits to the first and last layers`,
      { remedies: [{ option: "edgeBits" }] },
    );
  }

  #needSamples(what: string): void {
    if (this.#measures.every(({ outputs }) => outputs)) return;
    throw new AttuneError("bad-option", `Cannot go by ${what} without samples: give some`, {
      remedies: [{ option: "samples" }],
    });
  }

  /** The best widths whose bits or bytes are within `budget` in all. */
  #within(strategy: Strategy, unit: "bits" | "bytes", budget: number): number[] | undefined {
    const items = this.#choices.map(({ measures, options }) =>
      options.map(({ bits, bytes }, i) => ({
        bits,
        cost: unit === "bits" ? bits * measures.weights : bytes,
        loss: this.#lossesOf(strategy, measures)[i],
      }))
    );
    return solveKnapsack(items, budget)?.map((option, i) => items[i][option].bits);
  }

  /** What each width of a layer does to the model. */
  #lossesOf(strategy: Strategy, measures: LayerMeasures): readonly number[] {
    const key = `${strategy} ${measures.layer.target.weight}`;
    let losses = this.#losses.get(key);
    if (losses === undefined) {
      losses = this.#widths.map((bits) => STRATEGIES[strategy].loss(measures, bits));
      this.#losses.set(key, losses);
    }
    return losses;
  }

  /** The lengths per weight of free layers at the distortion where they are `bits` on average. */
  #lengthsAt(bits: number): Map<LayerMeasures, number> {
    const lengths = (level: number) =>
      new Map(this.#measures.map((measures) => {
        const error = 2 ** level * measures.weights / (measures.outputs?.sensitivity ?? 1);
        return [measures, lengthPerWeight(measures, error)];
      }));
    const level = solveFalling((level) => {
      const atLevel = lengths(level);
      return this.#choices.reduce(
        (sum, { measures }) => sum + measures.weights * atLevel.get(measures)!,
        0,
      ) / this.#weights;
    }, bits);
    return lengths(level);
  }

  /** What comes of giving the free layers `bits`. */
  #allocation(
    strategy: Allocation["strategy"],
    budget: BitBudget | undefined,
    bits: readonly number[],
  ): Allocation {
    const plan = this.#plan;
    const widths = new Map(this.#choices.map(({ measures: { layer } }, i) => [layer, bits[i]]));
    const used = this.#choices.reduce(
      (sum, { measures }, i) => sum + measures.weights * bits[i],
      0,
    );
    const average = this.#weights > 0 ? used / this.#weights : 0;
    const lengths = this.#lengthsAt(average);
    const measured = new Map(this.#measures.map((layer) => [layer.layer.target.weight, layer]));
    const seen = new Set<string>();
    const layers = plan.layers.map((layer) => {
      const measures = measured.get(layer.target.weight)!, { outputs } = measures;
      const width = widths.get(measures.layer) ?? measures.layer.bits;
      const error = outputs && errorAt(outputs.errors, width);
      // A weight that several layers share is probed, and pays, once.
      const share = seen.has(layer.target.weight) ? 0 : 1;
      seen.add(layer.target.weight);
      return {
        name: layer.target.name,
        bits: width,
        free: measures.free,
        codingLength: lengths.get(measures)!,
        error,
        loss: error === undefined ? undefined : share * outputs!.sensitivity * error,
      };
    });
    const sampled = this.#measures.every(({ outputs }) => outputs);
    const bytes = this.#fixed + this.#choices.reduce(
      (sum, { measures: { layer } }, i) => sum + layerAtWidth(plan, layer, bits[i]).bytesAfter,
      0,
    );
    return {
      strategy,
      budget,
      basis: sampled ? "outputs" : "weights",
      averageBits: average,
      bytes,
      loss: sampled ? layers.reduce((sum, { loss }) => sum + loss!, 0) : undefined,
      layers,
    };
  }
}
