/**
 * The quantized model as it is when its nested layers are cut to fewer bits.
 *
 * @module
 */

import { cutBits, cutLevel } from "../plan/grid.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import type { Parts, Rounding } from "./build.ts";

/** `rounding` with the levels of `layer` cut to what it has in a model of `width` bits; the rest stays. */
export function cutRounding(layer: LayerPlan, rounding: Rounding, width: number): Rounding {
  const bits = cutBits(layer, width);
  return { ...rounding, levels: rounding.levels.map((level) => cutLevel(level, layer.bits, bits)) };
}

/** `parts` cut to `width` bits: levels, and the scales and biases that go with them. */
export function cutParts(plan: Plan, parts: Parts, width: number): Parts {
  const layers = new Map(plan.layers.map((layer) => [layer.target.name, layer]));
  const roundings = [...parts.roundings].map(([name, rounding]) => {
    const cut = rounding.cuts?.find((cut) => cut.width === width) ?? rounding;
    const { levels } = cutRounding(layers.get(name)!, rounding, width);
    return [name, { levels, scales: cut.scales, bias: cut.bias }] as const;
  });
  return { roundings: new Map(roundings), grids: parts.grids };
}
