/**
 * One-dimensional k-means, exact.
 *
 * @module
 */

/**
 * Splits `values` into at most `count` clusters of least squared distance to their means; returns
 * the number of each value's cluster, clusters being numbered by their means.
 *
 * In one dimension clusters are runs of the sorted values, so dynamic programming finds the best
 * ones.
 *
 * @example
 * ```ts
 * import { clusterValues } from "./clusters.ts";
 *
 * if (clusterValues([5, 1, 1.5, 5.5], 2).join() !== "1,0,0,1") throw new Error("unexpected");
 * ```
 */
export function clusterValues(values: readonly number[], count: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b] || a - b);
  const n = values.length, k = Math.min(count, n);
  // Around the middle, so that squares do not cancel.
  const middle = values.reduce((sum, value) => sum + value, 0) / Math.max(1, n);
  const sums = [0], squares = [0];
  for (const [i, at] of order.entries()) {
    const value = values[at] - middle;
    sums.push(sums[i] + value);
    squares.push(squares[i] + value * value);
  }
  /** Squared distances of the sorted values from … to − 1 to their mean. */
  const spread = (from: number, to: number) =>
    Math.max(0, squares[to] - squares[from] - (sums[to] - sums[from]) ** 2 / (to - from));
  // least[c][j]: of the first j values in c + 1 clusters; first[c][j]: where the last of them
  // begins.
  const least = [order.map((_, j) => spread(0, j + 1))], first = [order.map(() => 0)];
  least[0].unshift(0);
  first[0].unshift(0);
  for (let c = 1; c < k; c++) {
    least.push(new Array(n + 1).fill(Infinity));
    first.push(new Array(n + 1).fill(0));
    for (let j = c + 1; j <= n; j++) {
      for (let i = c; i < j; i++) {
        const total = least[c - 1][i] + spread(i, j);
        if (total < least[c][j]) [least[c][j], first[c][j]] = [total, i];
      }
    }
  }
  const clusterOf = new Array<number>(n);
  for (let c = k - 1, end = n; c >= 0; c--) {
    const from = first[c][end];
    for (let j = from; j < end; j++) clusterOf[order[j]] = c;
    end = from;
  }
  return clusterOf;
}
