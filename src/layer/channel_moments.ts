/**
 * The statistics of a layer from the moments of its input's channels alone: as if the inputs of a
 * column did not depend on one another, and each tap of a window met the same values.
 *
 * @module
 */

import { type Statistics, unseen } from "../engine/statistics.ts";
import type { ChannelSums } from "../engine/survey.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import type { Target } from "../weights/target.ts";
import { addendOf } from "./bias.ts";

/**
 * The axis of a layer's input that counts what its weights tell apart, from the last if negative.
 */
export function inputAxis({ geometry }: Target): number {
  if (geometry.kind === "window") return 1;
  return geometry.kind === "rows" ? -1 : -2;
}

/**
 * The statistics of `layer`, with the diagonal of H alone (in tiles of 1).
 *
 * @param sums of the channels of its input in the float model; undefined where no sample shows it.
 * @param shares of columns in which each tap meets a value (see `tapShares`).
 */
export function channelStatistics(
  plan: Plan,
  layer: LayerPlan,
  sums: ChannelSums | undefined,
  shares: readonly number[],
  { centred, shift }: {
    /** Whether means are taken out. */
    readonly centred: boolean;
    /** What quantization adds to the mean of each channel. Default: nothing. */
    readonly shift?: Float64Array;
  },
): Statistics {
  const { groups, rows, depth } = layer.target, columns = groups * depth;
  if (sums === undefined || sums.count === 0) return unseen(1, layer.target);
  // A channel's taps follow one another.
  const channel = (i: number) => Math.floor(i / shares.length);
  const share = (i: number) => shares[i % shares.length];
  const means = Float64Array.from(
    { length: columns },
    (_, i) => share(i) * sums.sum[channel(i)] / sums.count,
  );
  const gram = Float32Array.from(means, (mean, i) => {
    const square = share(i) * sums.squares[channel(i)] / sums.count;
    return centred ? Math.max(0, square - mean * mean) : square;
  });
  const weight = readWeight(plan.graph, layer.target), addend = addendOf(plan, layer);
  // Of the float model: E[y] = W E[x] + b.
  const outputMean = Float32Array.from({ length: groups * rows }, (_, row) => {
    let sum = addend.kind === "bias" ? addend.values?.[row] ?? 0 : 0;
    const first = Math.floor(row / rows) * depth;
    for (let j = 0; j < depth; j++) sum += weight[row * depth + j] * means[first + j];
    return sum;
  });
  const inputMean = Float32Array.from(
    means,
    (mean, i) => mean + (shift ? share(i) * shift[channel(i)] : 0),
  );
  return { count: sums.count, gram, cross: new Float32Array(0), inputMean, outputMean };
}
