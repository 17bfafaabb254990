/**
 * Dequantized weights: the float model that behaves like a quantized one.
 *
 * @module
 */

import { floatTensor } from "../onnx/tensor.ts";
import { toTensorOrder } from "../weights/matrix.ts";
import { dequantize } from "../weights/rounding.ts";
import type { Format } from "./format.ts";
import { OPSETS } from "./opsets.ts";
import { type IntegerStorage, qdq } from "./qdq.ts";

/** Dequantized weights, for study. */
export const float: Format<IntegerStorage> = {
  name: "float",
  doc: "dequantized weights, to study rounding",
  storage: (layer, options) => ({ ...qdq.storage(layer, options), format: "float" }),
  opset: () => OPSETS.channels,
  bytes: (layer, options) => qdq.bytes(layer, options),
  put(writer, layer, rounding) {
    const { target } = layer;
    const values = toTensorOrder(target, dequantize(layer, rounding));
    writer.put(floatTensor(target.weight, target.shape, values));
  },
  simulation: true,
};
