/**
 * Parts of a model in the engines of a pool.
 *
 * @module
 */

import { buildPart, type Parts } from "../emit/build.ts";
import { type Cut, extract } from "../graph/extract.ts";
import type { Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { OpenOptions } from "../runtime/session.ts";

/** What is known of the tensors that cross into a part of a model. */
export type Types = Cut["inputs"];

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
