/**
 * A layer's bias: int32 on the grid of input scale × weight scale where integer kernels add it,
 * else float.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { bytesOf, DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { QuantizedModelWriter } from "./quantized_model_writer.ts";
import { formatOf } from "../formats/formats.ts";
import { operatorOf } from "../weights/operators.ts";
import { biasScales, type Rounding } from "../weights/rounding.ts";

/** Gives `node`, the node of `layer`, the bias of `rounding`. */
export function putBias(
  writer: QuantizedModelWriter,
  layer: LayerPlan,
  rounding: Rounding,
  node: NodeProto,
): void {
  const { target, storage } = layer;
  const bias = rounding.bias!;
  const name = writer.name(`${target.weight}_bias`);
  const inputs = [...node.input], place = operatorOf(target).biasInput!;
  while (inputs.length < place) inputs.push("");
  inputs[place] = name;
  node.input = inputs;
  writer.biases.set(target.output, name);
  const steps = biasScales(layer, rounding.scales, writer.inputGrid(target.input));
  const weightScale = writer.weightScales.get(target.weight);
  if (steps === undefined || weightScale === undefined) {
    writer.put(floatTensor(name, [bias.length], bias));
    return;
  }
  const levels = Int32Array.from(bias, (value, c) => Math.round(value / steps[c]));
  const quantized = writer.put(
    rawTensor(writer.name(`${name}_quantized`), DataType.INT32, [bias.length], bytesOf(levels)),
  );
  const scale = writer.name(`${name}_scale`);
  const isComputed = formatOf(storage.format).biasScales === "computed";
  if (isComputed) {
    // As many bytes as the bias itself: computed where it is folded anyway.
    const { scale: inputScale } = writer.gridNames(writer.gridOf(target.input)!);
    writer.node("Mul", [inputScale, weightScale], scale);
  } else writer.put(floatTensor(scale, [bias.length], steps));
  const perChannel = !isComputed || rounding.scales.length > 1;
  writer.node("DequantizeLinear", [quantized, scale], name, perChannel ? { axis: 0n } : {});
}
