/**
 * Time for learning: what is left of the job's budget, spread over the blocks that are left.
 *
 * @module
 */

/** Time that is kept for the check of the result and for writing it, as a share of the budget. */
const KEPT = 0.03;
/** How much more, or less, than its share a block gets for how far off it is. */
const MOST_GAIN = 2;

/** Spreads a job's time over its blocks. */
export class Budget {
  readonly #end: number;
  readonly #started: number;
  readonly #costs: readonly number[];
  /** Milliseconds that went into learning, and into everything else, up to now. */
  #learning = 0;
  #errors: number[] = [];

  /**
   * @param seconds that the whole job may take; infinite for as long as it likes.
   * @param started when the job began, by `performance.now()`.
   * @param costs of the blocks, relative: of one pass over their layers.
   */
  constructor(seconds: number, started: number, costs: readonly number[]) {
    this.#started = started;
    this.#end = started + 1000 * seconds * (1 - KEPT);
    this.#costs = costs;
  }

  /**
   * When block `index` should be done, now that its layers are rounded with the relative error `error`:
   * what is left after all rounding that is still to come, shared by cost, and by how far off this
   * block is beside those before it, since that bounds what there is to gain.
   */
  deadline(index: number, error: number, now: number): number {
    if (this.#end === Infinity) return Infinity;
    const cost = (from: number, to?: number) =>
      this.#costs.slice(from, to).reduce((sum, value) => sum + value, 0);
    const spent = now - this.#started - this.#learning;
    const toCome = spent / cost(0, index + 1) * cost(index + 1);
    this.#errors.push(error);
    const usual = this.#errors.reduce((sum, value) => sum + value, 0) / this.#errors.length;
    const gain = usual > 0 ? Math.sqrt(error / usual) : 1;
    const own = this.#costs[index] * Math.min(MOST_GAIN, Math.max(1 / MOST_GAIN, gain));
    const left = Math.max(0, this.#end - now - toCome);
    return now + left * own / (own + cost(index + 1));
  }

  /** Tells that so many milliseconds went into learning. */
  learned(milliseconds: number): void {
    this.#learning += milliseconds;
  }
}
