/**
 * Parts of a model in the engines of a pool.
 *
 * @module
 */

import { buildPart, type Parts } from "../emit/build.ts";
import { type Cut, extract, frontier } from "../graph/extract.ts";
import type { Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { OpenOptions } from "../runtime/session.ts";
import type { Job } from "./job.ts";

/** What is known of the tensors that cross into a part of a model. */
export type Types = Cut["inputs"];

/** The types of what crosses from the nodes before `position` to the rest. */
export function typesAt(
  { plan, loaded }: Pick<Job, "plan" | "loaded">,
  position: number,
): Types {
  return new Map(frontier(plan.graph, position).map((name) => [name, loaded.shapes.get(name)!]));
}

/** Cuts a part out of a model that need not exist as a whole. */
export type PartSource = (cut: Cut) => Model;

/** Parts of `model` as it is. */
export function partsOf(model: Model): PartSource {
  return (cut) => extract(model, cut);
}

/**
 * Parts of what behaves as the quantized model of `plan`; or as the one that is cut to `width`
 * bits.
 */
export function simulatedParts(plan: Plan, parts: Parts, width?: number): PartSource {
  return (cut) => buildPart(plan, parts, "float", { ...cut, width });
}

/**
 * Opens what `outputs` need, computed from the tensors of `types`, under `key`; quantization is
 * simulated.
 */
export async function openPart(
  pool: EnginePool,
  key: string,
  source: PartSource,
  types: Types,
  outputs: readonly string[],
  options: Pick<OpenOptions, "simulate"> = { simulate: true },
): Promise<void> {
  const computed = [...new Set(outputs)].filter((name) => !types.has(name));
  // Nothing to compute: the engine passes the spooled tensors on.
  if (computed.length === 0) return;
  const part = source({ inputs: types, outputs: computed });
  await pool.open(...opening(key, part, options));
}
