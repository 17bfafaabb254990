/**
 * A layer's bias: int32 on the grid of input scale × weight scale where integer kernels add it, else
 * float.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { bytesOf, DataType, floatTensor, rawTensor } from "../onnx/tensor.ts";
import type { LayerPlan } from "../weights/layer.ts";
import type { Draft } from "./draft.ts";
import { biasScales, type Rounding } from "../weights/rounding.ts";

/** Gives `node`, the node of `layer`, the bias of `rounding`. */
export function putBias(draft: Draft, layer: LayerPlan, rounding: Rounding, node: NodeProto): void {
  const { target, storage } = layer;
  const bias = rounding.bias!;
  const name = draft.name(`${target.weight}_bias`);
  const inputs = [...node.input];
  while (inputs.length < 2) inputs.push("");
  node.input = [inputs[0], inputs[1], name];
  draft.biases.set(target.output, name);
  const steps = biasScales(layer, rounding.scales, draft.inputGrid(target.input));
  const weightScale = draft.weightScales.get(target.weight);
  if (steps === undefined || weightScale === undefined) {
    draft.put(floatTensor(name, [bias.length], bias));
    return;
  }
  const levels = Int32Array.from(bias, (value, c) => Math.round(value / steps[c]));
  const quantized = draft.put(
    rawTensor(draft.name(`${name}_quantized`), DataType.INT32, [bias.length], bytesOf(levels)),
  );
  const scale = draft.name(`${name}_scale`);
  if (storage.kind === "packed") {
    // As many bytes as the bias itself: computed where it is folded anyway.
    const { scale: inputScale } = draft.gridNames(draft.gridOf(target.input)!);
    draft.node("Mul", [inputScale, weightScale], scale);
  } else draft.put(floatTensor(scale, [bias.length], steps));
  const perChannel = storage.kind !== "packed" || rounding.scales.length > 1;
  draft.node("DequantizeLinear", [quantized, scale], name, perChannel ? { axis: 0n } : {});
}
