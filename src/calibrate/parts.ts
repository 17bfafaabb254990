/**
 * Parts of a model in the engines of a pool.
 *
 * @module
 */

import { type Cut, extract } from "../graph/extract.ts";
import type { Model } from "../onnx/model.ts";
import { sessionBytes } from "../onnx/session_bytes.ts";
import type { EnginePool } from "../runtime/pool.ts";

/** What is known of the tensors that cross into a part of a model. */
export type Types = Cut["inputs"];

/** Opens what `outputs` need of `model`, computed from the tensors of `types`, under `key`. */
export async function openPart(
  pool: EnginePool,
  key: string,
  model: Model,
  types: Types,
  outputs: readonly string[],
): Promise<void> {
  const wanted = [...new Set(outputs)].filter((name) => !types.has(name));
  // Nothing to compute: the engine passes the spooled tensors on.
  if (wanted.length === 0) return;
  const part = extract(model, { inputs: types, outputs: wanted });
  await pool.open(key, sessionBytes(part), { simulate: true });
}
