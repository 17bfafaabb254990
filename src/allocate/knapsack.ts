/**
 * Chooses one option per layer such that the sum of losses is least and the sum of costs within a
 * budget: the multiple-choice knapsack problem.
 *
 * @module
 */

/** A width that a layer could get. */
export interface Option {
  /** The width. */
  readonly bits: number;
  /** What it takes from the budget: a whole number. */
  readonly cost: number;
  /** What it does to the model. */
  readonly loss: number;
}

/** Combinations that are kept at a time; with more (never seen) the result may not be the best. */
const MOST_STATES = 50_000;

/** Options of layers that were decided, as a chain to the layers before. */
interface State {
  readonly cost: number;
  readonly loss: number;
  readonly choice: number;
  readonly before?: State;
}

/**
 * For each of `items`, a layer's options in any order, the index of the chosen one; undefined where
 * even the cheapest ones exceed `budget`.
 *
 * Combinations are built layer by layer (Nemhauser and Ullmann 1969); those that cost and lose more
 * than another are dropped, and those that cannot become better than what a greedy choice finds, by
 * the bound of the Lagrangian relaxation.
 *
 * @example
 * ```ts
 * import { solveKnapsack } from "./knapsack.ts";
 *
 * const layer = [{ bits: 2, cost: 2, loss: 9 }, { bits: 4, cost: 4, loss: 1 }];
 * if (solveKnapsack([layer, layer], 6)?.join() !== "0,1") throw new Error("unexpected");
 * ```
 */
export function solveKnapsack(
  items: readonly (readonly Option[])[],
  budget: number,
): number[] | undefined {
  const least = items.reduce((sum, options) => sum + cheapest(options).cost, 0);
  if (least > budget) return undefined;
  const { multiplier, loss: reached } = greedy(items, budget);
  // rest[k]: the least loss plus multiplier × cost of layers k … end.
  const rest = [...items.map(() => 0), 0], restCost = [...items.map(() => 0), 0];
  for (let k = items.length - 1; k >= 0; k--) {
    const priced = items[k].map(({ cost, loss }) => loss + multiplier * cost);
    rest[k] = rest[k + 1] + Math.min(...priced);
    restCost[k] = restCost[k + 1] + cheapest(items[k]).cost;
  }
  // Sums in another order may differ in the last bits.
  const bound = reached + 1e-9 * Math.abs(reached);
  let states: State[] = [{ cost: 0, loss: 0, choice: -1 }];
  for (const [k, options] of items.entries()) {
    const lowest = (state: State) => state.loss + rest[k + 1] - multiplier * (budget - state.cost);
    const next = states.flatMap((before) =>
      options.map(({ cost, loss }, choice) => ({
        cost: before.cost + cost,
        loss: before.loss + loss,
        choice,
        before,
      }))
    ).filter((state) => state.cost + restCost[k + 1] <= budget && lowest(state) <= bound)
      .sort((a, b) => a.cost - b.cost || a.loss - b.loss);
    states = [];
    for (const state of next) {
      if (states.length === 0 || state.loss < states[states.length - 1].loss) states.push(state);
    }
    if (states.length > MOST_STATES) {
      states = states.sort((a, b) => lowest(a) - lowest(b)).slice(0, MOST_STATES);
    }
  }
  const best = states.reduce((a, b) => b.loss < a.loss ? b : a);
  const chosen: number[] = [];
  for (let state = best; state.before; state = state.before) chosen.unshift(state.choice);
  return chosen;
}

function cheapest(options: readonly Option[]): Option {
  return options.reduce((a, b) =>
    b.cost < a.cost || (b.cost === a.cost && b.loss < a.loss) ? b : a
  );
}

/**
 * Takes the step that gains most per cost until none fits: the loss that this reaches, and the gain
 * per cost of the last such step, which is the Lagrange multiplier of the relaxed problem.
 */
function greedy(
  items: readonly (readonly Option[])[],
  budget: number,
): { multiplier: number; loss: number } {
  const steps = items.flatMap((options, item) =>
    stepsOf(options).map((step) => ({ ...step, item }))
  )
    .sort((a, b) => b.gain / b.cost - a.gain / a.cost || a.item - b.item);
  let unspent = budget, loss = 0, multiplier: number | undefined;
  for (const options of items) {
    const start = cheapest(options);
    unspent -= start.cost;
    loss += start.loss;
  }
  const closed = new Set<number>();
  for (const { item, gain, cost } of steps) {
    if (closed.has(item)) continue;
    if (cost <= unspent) {
      unspent -= cost;
      loss -= gain;
      continue;
    }
    // What comes later of this layer builds on this step.
    closed.add(item);
    multiplier ??= gain / cost;
  }
  return { multiplier: multiplier ?? 0, loss };
}

/** The steps along the lower convex hull of a layer's options, from the cheapest on. */
function stepsOf(options: readonly Option[]): { gain: number; cost: number }[] {
  const steps: { gain: number; cost: number }[] = [];
  let from = cheapest(options);
  while (true) {
    let best: Option | undefined, steepest = 0;
    for (const option of options) {
      if (option.cost <= from.cost) continue;
      const slope = (from.loss - option.loss) / (option.cost - from.cost);
      if (slope > steepest || (slope === steepest && best && option.cost > best.cost)) {
        [best, steepest] = [option, slope];
      }
    }
    if (best === undefined) return steps;
    steps.push({ gain: from.loss - best.loss, cost: best.cost - from.cost });
    from = best;
  }
}
