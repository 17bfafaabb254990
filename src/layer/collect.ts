/**
 * Collects the statistics of layers, and the ranges of activations, over all lanes of samples.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { EnginePool } from "../workers/pool.ts";
import { mostColumns } from "../engine/columns.ts";
import { LANES, type Side } from "../engine/lanes.ts";
import type { CollectLayer } from "../engine/collector.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import { RangeObserver } from "../engine/range.ts";
import { addendOf } from "./bias.ts";
import {
  addSums,
  type LayerSums,
  momentsOf,
  type Offset,
  type SplitSums,
  type Statistics,
  unseen,
} from "../engine/statistics.ts";

/** Samples that the ranges of activations are observed on, at most. */
const RANGE_SAMPLES = 256;
/** Every fourth lane is not learned from when the float-target shift is tried, but judged by. */
const VALIDATION_LANES = 4;

/** Batches of each lane that the ranges of activations are observed on, at most. */
export function rangeBatches({ batches, samples }: LoadedBatches): number {
  return Math.ceil(RANGE_SAMPLES / samples * batches / Math.min(LANES, batches));
}

/** The ranges of the tensors `names`, as the model that is open under `key` computes them. */
export async function observeRanges(
  pool: EnginePool,
  loaded: LoadedBatches,
  key: string,
  names: readonly string[],
): Promise<Map<string, RangeObserver>> {
  const lanes = Math.min(LANES, loaded.batches), perLane = rangeBatches(loaded);
  const observers = new Map(names.map((name) => [name, new RangeObserver()]));
  const states = pool.perLane(
    lanes,
    (client, lane) => client.call("observe", [lane, key, names, perLane]),
  );
  for await (const state of states) {
    for (const name of names) observers.get(name)!.merge(state[name]);
  }
  return observers;
}

/**
 * What is collected of `layer`: its columns come from the tensor `input` of the quantized model.
 */
export function collectLayer(
  plan: Plan,
  layer: LayerPlan,
  { batches, samples }: LoadedBatches,
  { input, paired, seed }: {
    readonly input: string;
    /** Whether its outputs in the float model belong to its inputs in the quantized one. */
    readonly paired: boolean;
    readonly seed: number;
  },
): CollectLayer {
  const { target, gram } = layer, { geometry, groups, rows, depth, output } = target;
  return {
    shape: { geometry, groups, rows, depth },
    input,
    output,
    gramTile: gram.kind === "full" ? depth : gram.size,
    paired,
    // What the weights do not make, weights must not learn.
    cross: gram.kind === "full" && paired && addendOf(plan, layer).kind !== "other",
    positions: Math.ceil(mostColumns(depth, samples) / batches),
    seed: seed + 1000003 * plan.layers.findIndex((other) => other.target === target),
  };
}

/**
 * The sums of `layers` over all lanes, by the models that are open under these names; lanes to
 * judge by are kept apart. `onDone` hears of batches.
 */
export async function collectSums(
  pool: EnginePool,
  lanes: number,
  { float, quantized, side = "quantized" }: {
    readonly float: string;
    readonly quantized: string;
    /** Whose spool the quantized model reads. Default: its own. */
    readonly side?: Exclude<Side, "float">;
  },
  layers: readonly CollectLayer[],
  onDone: (batches: number) => void,
): Promise<SplitSums[]> {
  const split: { training?: LayerSums; validation?: LayerSums }[] = layers.map(() => ({}));
  let lane = 0;
  const results = pool.perLane(
    lanes,
    (client, lane) => client.call("collect", [lane, float, quantized, layers, side], onDone),
  );
  for await (const sums of results) {
    const part = lane++ % VALIDATION_LANES === VALIDATION_LANES - 1 ? "validation" : "training";
    sums.forEach((sum, l) => {
      const total = split[l][part];
      if (total === undefined) split[l][part] = sum;
      else addSums(total, sum);
    });
  }
  // The first lane is one to learn from, so there always are such sums.
  return split.map(({ training, validation }) => ({ training: training!, validation }));
}

/**
 * The statistics of `layer` from its sums over all lanes.
 *
 * @throws {AttuneError} `bad-model` naming the node where they are not finite.
 */
export function statisticsOf(
  layer: LayerPlan,
  { training, validation }: SplitSums,
  offset: Offset,
): Statistics {
  const { target, gram } = layer;
  const parts = validation ? [training, validation] : [training];
  if (parts.every(({ count }) => count === 0)) {
    return unseen(gram.kind === "full" ? target.depth : gram.size, target);
  }
  return checkMeans(layer, momentsOf(parts, target, offset));
}

/**
 * The `statistics` of `layer`, if they are of numbers.
 *
 * @throws {AttuneError} `bad-model` naming the node where they are not finite.
 */
export function checkMeans({ target }: LayerPlan, statistics: Statistics): Statistics {
  const means = { input: statistics.inputMean, output: statistics.outputMean };
  for (const [what, values] of Object.entries(means)) {
    if (values.every(Number.isFinite)) continue;
    throw new AttuneError(
      "bad-model",
      `Cannot quantize node "${target.name}": its ${what} is not finite on the calibration ` +
        `data; check the preprocessing, or leave the node in float`,
      { remedies: [{ option: "overrides", value: { pattern: target.name, bits: "skip" } }] },
    );
  }
  return statistics;
}
