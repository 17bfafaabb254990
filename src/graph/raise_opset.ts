/**
 * Raises the opset of a model (stub until the table of adapters lands).
 *
 * @module
 */

import { type Model, setOpset } from "../onnx/model.ts";

/** Raises the default operator set of `model` to `target`; returns what changed, in words. */
export function raiseOpset(model: Model, target: number): string[] {
  setOpset(model, target);
  if ((model.proto.irVersion ?? 0n) < 10n) model.proto.irVersion = 10n;
  return [];
}
