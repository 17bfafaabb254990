/**
 * What is done to a model before layers are looked for in it, pass by pass.
 *
 * @module
 */

import type { Model } from "../onnx/model.ts";
import { liftConstants } from "./constants.ts";
import { foldBatchNorm } from "./fold_batch_norm.ts";
import { forInference } from "./inference.ts";

/** The passes in their order: each changes a model, and says how many of what it changed. */
const PASSES: readonly (readonly [pass: (model: Model) => number, what: string])[] = [
  [forInference, "Dropout nodes taken out"],
  [liftConstants, "Constant nodes turned into initializers"],
  [(model) => foldBatchNorm(model).length, "BatchNormalization nodes folded"],
];

/**
 * Prepares `model`, a copy that can be changed: it computes what it did before.
 *
 * @returns what was changed, in words.
 * @throws {AttuneError} `bad-model` where a node cannot be quantized around.
 */
export function prepare(model: Model): string[] {
  return PASSES.flatMap(([pass, what]) => {
    const count = pass(model);
    return count > 0 ? [`${count} ${what}`] : [];
  });
}
