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
import { type Cut, extract, valueInfo } from "../graph/extract.ts";
import { sweep } from "../graph/graph.ts";
import type { Plan } from "../plan/plan.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { toTensorOrder } from "../weights/targets.ts";
import { putActivations, tensorAsRead } from "./activations.ts";
import { putBias } from "./bias.ts";
import { narrowRounding } from "./narrow_rounding.ts";
import { type BuildFormat, Draft } from "./draft.ts";
import { putFloatForms } from "./float_form.ts";
import { putNBits } from "../formats/nbits.ts";
import { putNested } from "./nested.ts";
import { putPacked } from "../formats/packed.ts";
import { dequantize, type Parts, type Rounding } from "../weights/rounding.ts";
import { putInteger } from "../formats/qdq.ts";
import { shortenNames } from "./shorten.ts";
import { putTables } from "./tables.ts";

export { stepName, tensorAsRead } from "./activations.ts";
export type { BuildFormat } from "./draft.ts";
export {
  type ActivationGrid,
  biasScales,
  dequantize,
  type Parts,
  type Rounding,
} from "../weights/rounding.ts";

/** The quantized model of `plan` from its `parts`, in `format`. */
export function buildModel(plan: Plan, parts: Parts, format: BuildFormat): Model {
  const model = copyModel(plan.model);
  const draft = new Draft(plan, parts, format, model);
  putParts(draft, plan.model);
  sweep(model);
  if (plan.options.nested !== undefined) putNested(draft);
  // What is written for its size has no room for long names of what nobody feeds or fetches.
  else if (format === "packed" || format === "matmulnbits") shortenNames(model, plan.model);
  return model;
}

/** What {@linkcode buildPart} builds. */
export interface PartCut extends Cut {
  /** Bits that nested grids are cut to. Default: they keep the widest. */
  readonly width?: number;
}

/**
 * The part of a model of {@linkcode buildModel} that computes `cut.outputs` from `cut.inputs`. Nothing
 * else of it is built, so that a step costs what it runs and not the whole model.
 */
export function buildPart(
  plan: Plan,
  parts: Parts,
  format: BuildFormat,
  cut: PartCut,
): Model {
  const sources = new Map(
    plan.graph.inputs.map(({ name }) => [tensorAsRead(plan, parts, name), name]),
  );
  const outputs = cut.outputs.map((name) => sources.get(name) ?? name);
  const part = extract(plan.model, { ...cut, outputs });
  const model = copyModel(part);
  putParts(new Draft(plan, parts, format, model), part, cut.width);
  model.proto.graph.output = cut.outputs.map((name) => valueInfo(name));
  sweep(model);
  return model;
}

/** Puts what is known into `draft`, whose model is a copy of `original`: the plan's, or a part of it. */
function putParts(draft: Draft, original: Model, width?: number): void {
  const { plan, parts, model } = draft;
  const nodes = new Map(original.proto.graph.node.map((n, i) => [n, model.proto.graph.node[i]]));
  const constants = new Set(original.proto.graph.initializer.map((tensor) => tensor.name));
  const done = new Set<string>();
  for (const layer of plan.layers) {
    const { output, weight } = layer.target;
    const node = nodes.get(layer.target.node), known = parts.roundings.get(output);
    // A weight that layers share has the rounding of the first of them, wherever that is.
    const first = constants.has(weight) && !done.has(weight);
    if (known === undefined || (!first && node === undefined)) continue;
    const rounding = width === undefined ? known : narrowRounding(layer, known, width);
    if (first) putWeight(draft, layer, rounding);
    done.add(weight);
    if (rounding.bias && node) putBias(draft, layer, rounding, node);
  }
  putTables(draft);
  putActivations(draft);
  if (draft.format !== "learnable" && parts.grids.size > 0) putFloatForms(draft);
  model.proto.graph.node.unshift(...draft.front);
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
