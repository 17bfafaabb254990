/**
 * The quantized model as it is when its nested layers are cut to fewer bits.
 *
 * @module
 */

import { cutBits, cutLevel } from "../plan/grid.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import type { Parts, Rounding } from "./build.ts";

/** The rounding of `layer` in a model that is cut to `width` bits: levels, scales and bias of its own. */
export function cutRounding(layer: LayerPlan, rounding: Rounding, width: number): Rounding {
  const bits = cutBits(layer, width);
  return {
    levels: rounding.levels.map((level) => cutLevel(level, layer.bits, bits)),
    scales: rounding.scales.map((scale) => scale * 2 ** (layer.bits - bits)),
    bias: rounding.cuts?.find((cut) => cut.width === width)?.bias,
  };
}

/** `parts` cut to `width` bits. */
export function cutParts(plan: Plan, parts: Parts, width: number): Parts {
  const layers = new Map(plan.layers.map((layer) => [layer.target.name, layer]));
  const roundings = [...parts.roundings].map(([name, rounding]) =>
    [name, cutRounding(layers.get(name)!, rounding, width)] as const
  );
  return { roundings: new Map(roundings), grids: parts.grids };
}
