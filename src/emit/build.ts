/**
 * Builds the quantized model: the prepared model with its weights replaced by what was rounded, and
 * its activations passed through their grids. The same function makes the file that is deployed
 * (`qdq`, `packed`, `matmulnbits`), the float model that behaves like it (`float`), which
 * calibration runs and the written file is checked against, and the same with activation grids in
 * operators that have gradients (`learnable`), which block reconstruction differentiates.
 *
 * @module
 */

import { copyModel, type Model } from "../onnx/model.ts";
import { type Cut, extract, valueInfo } from "../graph/extract.ts";
import { removeUnused } from "../graph/graph.ts";
import type { Plan } from "../plan/plan.ts";
import { putActivations, tensorAsRead } from "./activations.ts";
import { putBias } from "./bias.ts";
import { narrowRounding } from "./narrow_rounding.ts";
import { type BuildFormat, QuantizedModelWriter } from "./quantized_model_writer.ts";
import { putFloatForms } from "./float_form.ts";
import { putNested } from "./nested.ts";
import type { Parts } from "../weights/rounding.ts";
import { shortenNames } from "./shorten.ts";
import { putTables } from "./tables.ts";

export { stepName, tensorAsRead } from "./activations.ts";
export type { BuildFormat } from "./quantized_model_writer.ts";
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
  const writer = new QuantizedModelWriter(plan, parts, format, model);
  putParts(writer, plan.model);
  removeUnused(model);
  if (plan.options.nested !== undefined) putNested(writer);
  else if (writer.formatFor(plan.options.format).shortNames) shortenNames(model, plan.model);
  return model;
}

/** What {@linkcode buildPart} builds. */
export interface PartCut extends Cut {
  /** Bits that nested grids are cut to. Default: they keep the widest. */
  readonly width?: number;
}

/**
 * The part of a model of {@linkcode buildModel} that computes `cut.outputs` from `cut.inputs`.
 * Nothing else of it is built, so that a step costs what it runs and not the whole model.
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
  putParts(new QuantizedModelWriter(plan, parts, format, model), part, cut.width);
  model.proto.graph.output = cut.outputs.map((name) => valueInfo(name));
  removeUnused(model);
  return model;
}

/**
 * Puts what is known into `writer`, whose model is a copy of `original`: the plan's, or a part of
 * it.
 */
function putParts(writer: QuantizedModelWriter, original: Model, width?: number): void {
  const { plan, parts, model } = writer;
  const nodes = new Map(original.proto.graph.node.map((n, i) => [n, model.proto.graph.node[i]]));
  const constants = new Set(original.proto.graph.initializer.map((tensor) => tensor.name));
  const done = new Set<string>();
  for (const layer of plan.layers) {
    const { output, weight } = layer.target;
    const node = nodes.get(layer.target.node), widest = parts.roundings.get(output);
    // A weight that layers share has the rounding of the first of them, wherever that is.
    const first = constants.has(weight) && !done.has(weight);
    if (widest === undefined || (!first && node === undefined)) continue;
    const rounding = width === undefined ? widest : narrowRounding(layer, widest, width);
    if (first) writer.formatFor(layer.storage.format).put(writer, layer, rounding);
    done.add(weight);
    if (rounding.bias && node) putBias(writer, layer, rounding, node);
  }
  putTables(writer);
  putActivations(writer);
  if (writer.format !== "learnable" && parts.grids.size > 0) putFloatForms(writer);
  model.proto.graph.node.unshift(...writer.constantNodes);
}
