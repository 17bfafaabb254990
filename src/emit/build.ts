/**
 * Builds the quantized model: the prepared model with its weights replaced by what was rounded, and
 * its activations passed through their grids. The same function makes the file that is deployed
 * (`qdq`, `packed`, `matmulnbits`), the float model that behaves like it (`float`), which calibration
 * runs and the written file is checked against, and the same with activation grids in operators that
 * have gradients (`learnable`), which block reconstruction differentiates.
 *
 * @module
 */

import { copyModel, type Model } from "../onnx/model.ts";
import { floatTensor } from "../onnx/tensor.ts";
import { sweep } from "../graph/graph.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import { toTensorOrder } from "../plan/targets.ts";
import { putActivations } from "./activations.ts";
import { putBias } from "./bias.ts";
import { type BuildFormat, Draft } from "./draft.ts";
import { putFloatForms } from "./float_form.ts";
import { putNBits } from "./nbits.ts";
import { putNested } from "./nested.ts";
import { putPacked } from "./packed.ts";
import { dequantize, type Parts, type Rounding } from "./parts.ts";
import { putInteger } from "./qdq.ts";
import { shortenNames } from "./shorten.ts";
import { putTables } from "./tables.ts";

export { stepName, tensorAsRead } from "./activations.ts";
export type { BuildFormat } from "./draft.ts";
export { type ActivationGrid, biasScales, dequantize, type Parts, type Rounding } from "./parts.ts";

/** The quantized model of `plan` from its `parts`, in `format`. */
export function buildModel(plan: Plan, parts: Parts, format: BuildFormat): Model {
  const model = copyModel(plan.model);
  const nodes = new Map(plan.model.proto.graph.node.map((n, i) => [n, model.proto.graph.node[i]]));
  const draft = new Draft(plan, parts, format, model);
  const done = new Set<string>();
  for (const layer of plan.layers) {
    const rounding = parts.roundings.get(layer.target.output);
    if (rounding === undefined) continue;
    if (!done.has(layer.target.weight)) putWeight(draft, layer, rounding);
    done.add(layer.target.weight);
    if (rounding.bias) putBias(draft, layer, rounding, nodes.get(layer.target.node)!);
  }
  putTables(draft);
  putActivations(draft);
  if (format !== "learnable" && parts.grids.size > 0) putFloatForms(draft);
  model.proto.graph.node.unshift(...draft.front);
  sweep(model);
  if (plan.options.nested !== undefined) putNested(draft);
  // What is written for its size has no room for long names of what nobody feeds or fetches.
  else if (format === "packed" || format === "matmulnbits") shortenNames(model, plan.model);
  return model;
}

function putWeight(draft: Draft, layer: LayerPlan, rounding: Rounding): void {
  const { weight, shape } = layer.target;
  if (draft.format === "float" || draft.format === "learnable") {
    const values = toTensorOrder(layer.target, dequantize(layer, rounding));
    draft.put(floatTensor(weight, shape, values));
  } else if (layer.storage.kind === "integer") putInteger(draft, layer, rounding);
  else if (layer.storage.kind === "packed" || rounding.codebook) putPacked(draft, layer, rounding);
  else putNBits(draft, layer, rounding);
}
