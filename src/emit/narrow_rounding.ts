/**
 * The quantized model as it is when its nested layers are cut to fewer bits.
 *
 * @module
 */

import { cutBits, cutLevel } from "../weights/grid.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { Rounding } from "../weights/rounding.ts";

/**
 * The rounding of `layer` in a model that is cut to `width` bits: levels, scales and bias of its
 * own.
 */
export function narrowRounding(layer: LayerPlan, rounding: Rounding, width: number): Rounding {
  const bits = cutBits(layer, width),
    bias = rounding.cuts?.find((cut) => cut.width === width)?.bias;
  // Copies, since scales may be raised where a bias would not fit.
  const levels = rounding.levels.slice(), scales = rounding.scales.slice();
  if (bits === layer.bits) return { ...rounding, levels, scales, bias };
  return {
    levels: levels.map((level) => cutLevel(level, layer.bits, bits)),
    scales: scales.map((scale) => scale * 2 ** (layer.bits - bits)),
    lows: rounding.lows.map(() => -(2 ** (bits - 1))),
    bias,
  };
}
