/**
 * What a report says of a layer.
 *
 * @module
 */

import type { Calibrated, LayerResult } from "../calibrate/calibrated.ts";
import { gridName } from "../weights/grid.ts";
import { gridSource } from "../plan/activations.ts";
import type { Plan } from "../plan/plan.ts";
import { readWeight } from "../weights/matrix.ts";
import type { LayerReport } from "../report/report.ts";

/** Bars of a histogram per step of the grid, and bars in all at most. */
const BARS_PER_STEP = 8, MOST_BARS = 256;

/** The report of one layer of `calibrated`. */
export function layerReport(plan: Plan, calibrated: Calibrated, result: LayerResult): LayerReport {
  const { layer, error } = result;
  const { target, bits, storage, granularity, bytesBefore, bytesAfter, note } = layer;
  const { lows, codebook } = result.rounding;
  const span = codebook ? codebook.at(-1)! - codebook[0] : layer.windows.span;
  // The levels of some row.
  const lo = Math.min(...lows), hi = Math.max(...lows) + span;
  const range = calibrated.ranges.get(gridSource(plan.activations, target.input));
  return {
    name: target.name,
    op: target.op,
    weight: target.weight,
    shape: target.shape,
    groups: target.groups,
    bits,
    grid: gridName(layer),
    storedBits: storage.bits,
    storage: storage.format,
    granularity: granularity.kind === "group" ? `group:${granularity.size}` : granularity.kind,
    bytesBefore,
    bytesAfter,
    note,
    error,
    histogram: histogram(plan, result, lo - 1, hi + 1),
    levels: { lo, hi },
    activation: range,
  };
}

/** Weights in steps of their own scale; those outside are counted in the outermost bars. */
function histogram(
  plan: Plan,
  { layer, rounding: { scales } }: LayerResult,
  lo: number,
  hi: number,
): LayerReport["histogram"] {
  const weight = readWeight(plan.graph, layer.target);
  const { depth } = layer.target;
  const bars = Math.min(MOST_BARS, (hi - lo) * BARS_PER_STEP);
  const counts = new Array<number>(bars).fill(0);
  for (let i = 0; i < weight.length; i++) {
    const block = Math.floor(i / depth) * layer.groupsPerRow +
      Math.floor(i % depth / layer.groupSize);
    const steps = weight[i] / (scales.length === 1 ? scales[0] : scales[block]);
    const bar = Math.floor((steps - lo) / (hi - lo) * bars);
    counts[Math.max(0, Math.min(bars - 1, bar))]++;
  }
  return { lo, hi, counts };
}
