/**
 * Chooses a width for each layer of a plan: by clusters of coding lengths, or by spreading a budget.
 *
 * A budget goes to the widths whose losses have the least sum. What a width loses is told in several
 * ways, the strategies. By *coding length* it is the distortion at which the layer's code has so many bits
 * per weight, times how much the model's outputs mind it. Where all of it could be spread in fractions of
 * bits, every weight of the model would get an equal part of the distortion (reverse water-filling): a bit
 * more would gain the same everywhere.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { type Budget, budgetName, resolveMixedBits, type Strategy } from "../plan/bits.ts";
import type { Allocation } from "../plan/allocation.ts";
import { type Plan, withAllocation } from "../plan/plan.ts";
import { layerAtWidth } from "../plan/layer.ts";
import { clusterValues } from "./clusters.ts";
import { lengthPerWeight, solveFalling } from "./coding.ts";
import { chooseOptions } from "./knapsack.ts";
import { type LayerMeasures, WIDTHS } from "./layer_measures.ts";
import { errorAt, NEED_SAMPLES, priceOf } from "./strategies.ts";
import { fileBytes, fixedBytes } from "./size.ts";

/** Times that a choice is made again because its file is larger than was thought. */
const SIZE_ROUNDS = 8;
/** A loss is met to this many bits on average: finer steps are not worth their time. */
const LOSS_STEP = 1 / 64;
/**
 * `plan` with the widths that its options ask for, by what was measured of its layers.
 *
 * @throws {AttuneError} `bad-option` where the budget cannot be met, or the strategy or the budget needs
 * samples and there were none.
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

/** `plan` with widths of `bits` on average that `strategy` chooses, whatever its own options ask for. */
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
  readonly #prices = new Map<string, readonly number[]>();
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
  spread(strategy: Strategy, budget: Budget): Allocation {
    if (NEED_SAMPLES.has(strategy)) this.#needSamples(strategy);
    const least = this.#widths[0], most = this.#widths[this.#widths.length - 1];
    if (budget.kind === "average") {
      const found = this.#within(strategy, "bits", Math.floor(budget.bits * this.#weights + 1e-6));
      return this.#allocation(strategy, budget, found!);
    }
    if (budget.kind === "size") {
      if (this.#plan.options.format === "float") {
        throw new AttuneError("bad-option", "Cannot meet a size with format float: use another", {
          remedies: [{ option: "format" }],
        });
      }
      return this.#ofSize(strategy, budget);
    }
    this.#needSamples(budgetName(budget));
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
      const middle = Math.floor((low + high) / 2);
      const found = this.#allocation(strategy, budget, this.#within(strategy, "bits", middle)!);
      if (found.loss! <= budget.error) [met, high] = [found, middle];
      else low = middle;
    }
    return met ?? best;
  }

  /** Widths for a file of `budget`. */
  #ofSize(strategy: Strategy, budget: Budget & { kind: "size" }): Allocation {
    const fits = (allocation: Allocation) =>
      fileBytes(withAllocation(this.#plan, allocation)) - budget.bytes;
    // What a file needs beside levels and scales depends a little on which widths there are.
    for (let left = budget.bytes - this.#fixed, i = 0; i < SIZE_ROUNDS; i++) {
      const found = this.#within(strategy, "bytes", Math.floor(left));
      if (found === undefined) break;
      const allocation = this.#allocation(strategy, budget, found), excess = fits(allocation);
      if (excess <= 0) return allocation;
      left -= excess;
    }
    const least = this.#widths[0];
    const smallest = this.#allocation(strategy, budget, this.#choices.map(() => least));
    const excess = fits(smallest);
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
        loss: this.#price(strategy, measures)[i],
      }))
    );
    return chooseOptions(items, budget)?.map((option, i) => items[i][option].bits);
  }

  /** What each width of a layer does to the model. */
  #price(strategy: Strategy, measures: LayerMeasures): readonly number[] {
    const key = `${strategy} ${measures.layer.target.weight}`;
    let found = this.#prices.get(key);
    if (found === undefined) {
      found = this.#widths.map((bits) => priceOf(strategy, measures, bits));
      this.#prices.set(key, found);
    }
    return found;
  }

  /** The lengths per weight of free layers at the distortion where they are `bits` on average. */
  #lengthsAt(bits: number): Map<LayerMeasures, number> {
    const lengths = (level: number) =>
      new Map(this.#measures.map((own) => {
        const error = 2 ** level * own.weights / (own.outputs?.sensitivity ?? 1);
        return [own, lengthPerWeight(own, error)];
      }));
    const level = solveFalling((level) => {
      const found = lengths(level);
      return this.#choices.reduce(
        (sum, { measures }) => sum + measures.weights * found.get(measures)!,
        0,
      ) / this.#weights;
    }, bits);
    return lengths(level);
  }

  /** What comes of giving the free layers `bits`. */
  #allocation(
    strategy: Allocation["strategy"],
    budget: Budget | undefined,
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
    const measured = new Map(this.#measures.map((own) => [own.layer.target.weight, own]));
    const seen = new Set<string>();
    const layers = plan.layers.map((layer) => {
      const own = measured.get(layer.target.weight)!;
      const width = widths.get(own.layer) ?? own.layer.bits;
      const error = own.outputs && errorAt(own.outputs.errors, width);
      // A weight that several layers share is probed, and pays, once.
      const share = seen.has(layer.target.weight) ? 0 : 1;
      seen.add(layer.target.weight);
      return {
        name: layer.target.name,
        bits: width,
        free: own.free,
        codingLength: lengths.get(own)!,
        error,
        loss: error === undefined ? undefined : share * own.outputs!.sensitivity * error,
      };
    });
    const known = this.#measures.every(({ outputs }) => outputs);
    const bytes = this.#fixed + this.#choices.reduce(
      (sum, { measures: { layer } }, i) => sum + layerAtWidth(plan, layer, bits[i]).bytesAfter,
      0,
    );
    return {
      strategy,
      budget,
      basis: known ? "outputs" : "weights",
      averageBits: average,
      bytes,
      loss: known ? layers.reduce((sum, { loss }) => sum + loss!, 0) : undefined,
      layers,
    };
  }
}
