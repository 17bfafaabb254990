/**
 * Which samples a block learns from, in which order, and which it is judged by.
 *
 * @module
 */

import { LANES } from "../engine/lanes.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import type { SampleAt } from "../engine/spool.ts";
import { hash32 } from "../samples/sampling.ts";

/** Some samples of a lane: what is fed at a time. */
export interface Shard {
  /** The lane. */
  readonly lane: number;
  /** The samples. */
  readonly samples: readonly SampleAt[];
}

/** One sample in so many is not learned from, but judged by. */
const JUDGED = 8;

/** The samples of a job, apart for those to learn from and those to judge by. */
export class BlockSamples {
  /** Samples to learn from, by lane. */
  readonly #learned: SampleAt[][];
  readonly #judged: SampleAt[][];
  readonly #size: number;
  readonly #fixed: boolean;
  readonly #seed: number;

  /**
   * Samples in shards of `size`; those to judge by may lie in smaller ones, unless the model is
   * `fixed` to that size: then some are repeated.
   */
  constructor(
    { batches, sizes }: Pick<LoadedBatches, "batches" | "sizes">,
    { size, fixed, seed }: { size: number; fixed: boolean; seed: number },
  ) {
    this.#size = size;
    this.#fixed = fixed;
    this.#seed = seed;
    this.#learned = Array.from({ length: Math.min(LANES, batches) }, () => []);
    this.#judged = this.#learned.map(() => []);
    let count = 0;
    for (const [i, of] of sizes.entries()) {
      for (let row = 0; row < of; row++) {
        const sample = { batch: Math.floor(i / LANES), row, of };
        const set = ++count % JUDGED === 0 ? this.#judged : this.#learned;
        set[i % LANES].push(sample);
      }
    }
  }

  /** Whether there are enough samples to learn from and to judge by. */
  get enough(): boolean {
    return this.#lanes.length > 0 && this.judged(Infinity).length > 0;
  }

  /** The lanes that hold a shard at least. */
  get #lanes(): number[] {
    return this.#learned.flatMap((samples, lane) => samples.length >= this.#size ? [lane] : []);
  }

  /**
   * The shards of step `step`: `count` of them, from lanes in turn, in an order that `seed` decides
   * and that visits every sample of a lane before any a second time.
   */
  shards(step: number, count: number): Shard[] {
    const lanes = this.#lanes;
    return Array.from({ length: count }, (_, i) => {
      const turn = step * count + i, lane = lanes[turn % lanes.length];
      const samples = this.#learned[lane], each = Math.floor(samples.length / this.#size);
      const round = Math.floor(turn / lanes.length), epoch = Math.floor(round / each);
      const order = shuffled(samples.length, this.#seed + 31 * lane + 1009 * epoch);
      const from = (round % each) * this.#size;
      return { lane, samples: order.slice(from, from + this.#size).map((at) => samples[at]) };
    });
  }

  /** Shards of the samples to judge by: at most so many samples, spread over lanes. */
  judged(most: number): Shard[] {
    const size = this.#size;
    const perLane = Math.ceil(most / this.#judged.length / size) * size;
    return this.#judged.flatMap((all, lane) => {
      const samples = all.slice(0, perLane);
      return Array.from({ length: Math.ceil(samples.length / size) }, (_, i) => {
        const part = samples.slice(i * size, (i + 1) * size);
        // A model of fixed size judges some samples twice.
        while (this.#fixed && part.length < size) part.push(samples[part.length % samples.length]);
        return { lane, samples: part };
      });
    });
  }
}

/** The numbers below `count` in an order that `seed` decides. */
function shuffled(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = hash32(seed, i) % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
