/**
 * Biases: they make up for the mean of what rounding changed, b = E[y] − Ŵ E[x̂], and where
 * activations are quantized they lie on the int32 grid of input scale × weight scale.
 *
 * @module
 */

import { type ActivationGrid, biasScales, dequantize, type Rounding } from "../emit/build.ts";
import type { Plan } from "../plan/plan.ts";
import { addedTensor, hasBias } from "../weights/operators.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { nearestLevel } from "../round/codebook.ts";
import type { Offset, Statistics } from "../engine/statistics.ts";

/** Levels of a bias stay below this, half of what 32 bits hold. */
const MOST_BIAS = 2 ** 30;

/** What the node of a layer adds to the product of its weights. */
export type Addend =
  | { /** Nothing, and it cannot. */ readonly kind: "none" }
  | {
    /** A value for each row of the weights, or room for one. */
    readonly kind: "bias";
    /** The values, groups · rows of them; undefined where there are none yet. */
    readonly values?: Float32Array;
  }
  | { /** Something that is computed, or differs along the batch. */ readonly kind: "other" };

/** What `layer` adds to the product of its weights. */
export function addendOf({ graph }: Plan, { target }: LayerPlan): Addend {
  if (!hasBias(target)) return { kind: "none" };
  const name = addedTensor(target);
  if (name === undefined) return { kind: "bias" };
  const bias = graph.floats(name), rows = target.groups * target.rows;
  if (bias === undefined) return { kind: "other" };
  // Of a Gemm's C, only the last axis runs along the rows of the weights; others count the batch.
  const { dims, values } = bias, [last = 1] = dims.slice(-1);
  const perRow = (last === rows || last === 1) && dims.slice(0, -1).every((dim) => dim === 1);
  if (!perRow) return { kind: "other" };
  return { kind: "bias", values: last === rows ? values : new Float32Array(rows).fill(values[0]) };
}

/** Whether the layer's node can take a bias of its own. */
export function canCorrectBias(plan: Plan, layer: LayerPlan): boolean {
  return addendOf(plan, layer).kind === "bias";
}

/** How the statistics of `layer` are finished; `correct` asks for biases that set means right. */
export function offsetOf(plan: Plan, layer: LayerPlan, correct: boolean): Offset {
  const addend = addendOf(plan, layer);
  if (addend.kind !== "bias") return { centred: false };
  return { centred: correct, bias: addend.values };
}

/**
 * The bias that goes with `rounding`: corrected by `statistics`, or the layer's own. Where it would
 * not fit into 32 bits, scales of `rounding` are raised and their levels taken along.
 *
 * @returns groups·rows values, or undefined where there is none; and how many scales were raised.
 */
export function biasOf(
  plan: Plan,
  layer: LayerPlan,
  rounding: Rounding,
  statistics: Statistics,
  corrected: boolean,
  grid: ActivationGrid | undefined,
): { bias?: Float32Array; raised: number } {
  const { groups, rows, depth } = layer.target;
  const addend = addendOf(plan, layer);
  if (addend.kind !== "bias") return { raised: 0 };
  const values = addend.values;
  if (!corrected && values === undefined) return { raised: 0 };
  const bias = new Float32Array(groups * rows);
  const fill = () => {
    const weights = dequantize(layer, rounding);
    for (let row = 0; row < bias.length; row++) {
      if (!corrected) {
        bias[row] = values![row];
        continue;
      }
      const group = Math.floor(row / rows) * depth;
      let sum = 0;
      for (let j = 0; j < depth; j++) {
        sum += weights[row * depth + j] * statistics.inputMean[group + j];
      }
      bias[row] = statistics.outputMean[row] - sum;
    }
  };
  fill();
  let steps = biasScales(layer, rounding.scales, grid);
  if (steps === undefined) return { bias, raised: 0 };
  const raised = raiseScales(layer, rounding, bias, steps);
  if (raised > 0) {
    fill();
    steps = biasScales(layer, rounding.scales, grid)!;
  }
  return { bias: onGrid(bias, steps), raised };
}

/** `bias` on its int32 grid of `steps`; as it is where there are none. */
export function onGrid(bias: Float32Array, steps: Float32Array | undefined): Float32Array {
  return steps ? bias.map((value, c) => Math.round(value / steps[c]) * steps[c]) : bias;
}

/**
 * Raises the scales of rows whose bias would not fit into 32 bits at its scale (`steps`), and takes
 * their levels along; returns how many rows that were.
 */
function raiseScales(
  layer: LayerPlan,
  { levels, scales, lows, codebook }: Rounding,
  bias: Float32Array,
  steps: Float32Array,
): number {
  const { depth } = layer.target;
  const factors = Float64Array.from(bias, (value, c) => Math.abs(value) / (MOST_BIAS * steps[c]));
  if (scales.length === 1) factors.fill(factors.reduce((a, b) => Math.max(a, b), 0));
  let raised = 0;
  for (let row = 0; row < bias.length; row++) {
    if (!(factors[row] > 1)) continue;
    if (scales.length > 1) scales[row] *= factors[row];
    else if (row === 0) scales[0] *= factors[0];
    const nearest = codebook ? nearestLevel(codebook, lows[row]) : Math.round;
    for (let i = row * depth; i < (row + 1) * depth; i++) {
      levels[i] = nearest(levels[i] / factors[row]);
    }
    raised++;
  }
  return raised;
}
