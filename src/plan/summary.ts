/**
 * A plan as plain data: what is shown of it, sent, and written as JSON.
 *
 * @module
 */

import type { LayerPlan } from "../weights/layer.ts";
import type { Target } from "../weights/target.ts";
import type { Plan } from "./plan.ts";

/** What a plan says, without the model that it speaks of. */
export interface PlanSummary
  extends Pick<Plan, "tables" | "skipped" | "prepared" | "size" | "allocation"> {
  /** The layers to quantize, in the order in which they run. */
  readonly layers: readonly (
    & Pick<Target, "name" | "op" | "weight" | "shape">
    & Omit<LayerPlan, "target" | "windows" | "groupsPerRow" | "groupSize" | "free">
  )[];
  /** The names of the activations to quantize. */
  readonly activations: readonly string[];
}

/**
 * What `plan` says, as plain data.
 *
 * @example
 * ```ts
 * import { plan, readModel, summarize } from "../../mod.ts";
 *
 * const model = readModel(new URL("../../examples/shapes/shapes.onnx", import.meta.url).pathname);
 * const { layers } = JSON.parse(JSON.stringify(summarize(plan(model, { bits: 4 }))));
 * if (layers.length !== 10 || layers[1].bits !== 4) throw new Error("unexpected");
 * ```
 */
export function summarize(plan: Plan): PlanSummary {
  const { layers, tables, skipped, activations, prepared, size, allocation } = plan;
  return {
    layers: layers.map((
      { target, bits, grid, storage, granularity, gram, bytesBefore, bytesAfter, note },
    ) => ({
      name: target.name,
      op: target.op,
      weight: target.weight,
      shape: target.shape,
      bits,
      grid,
      storage,
      granularity,
      gram,
      bytesBefore,
      bytesAfter,
      note,
    })),
    tables,
    skipped,
    activations: [...activations.ranged, ...activations.shared.keys()],
    prepared,
    size,
    allocation,
  };
}
