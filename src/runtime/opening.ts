/**
 * What an engine is told to open a model.
 *
 * @module
 */

import type { Model } from "../onnx/model.ts";
import { sessionParts } from "../onnx/session_bytes.ts";
import type { OpenOptions } from "./session.ts";

/** The arguments of an engine's, or a pool's, `open` for `model`, under the name `key`. */
export function opening(
  key: string,
  model: Model,
  options: Omit<OpenOptions, "external"> = {},
): [key: string, bytes: Uint8Array, options: OpenOptions] {
  const { bytes, external } = sessionParts(model);
  return [key, bytes, { ...options, external }];
}
