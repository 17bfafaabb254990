/**
 * What is done to a model before layers are looked for in it, pass by pass.
 *
 * @module
 */

import type { Model } from "../onnx/model.ts";
import { carriedMoments, type ChannelMoments } from "./carried_moments.ts";
import { liftConstants, unlistParameters } from "./constants.ts";
import { foldBatchNorm } from "./fold_batch_norm.ts";
import { foldConstants } from "./fold_constants.ts";
import { forInference } from "./inference.ts";
import { inlineFunctions } from "./inline.ts";
import { turnedWeights } from "./turned_weights.ts";
import { widenHalves } from "./widen.ts";

/** The passes in their order: each changes a model, and says how many of what it changed. */
const PASSES: readonly (readonly [pass: (model: Model) => number, what: string])[] = [
  [inlineFunctions, "calls of local functions written out"],
  [(model) => unlistParameters(model).length, "weights and biases are no longer inputs"],
  [forInference, "Dropout nodes taken out"],
  [liftConstants, "Constant nodes turned into initializers"],
  [widenHalves, "16-bit floats widened to float32"],
  [foldConstants, "constant expressions computed"],
  [turnedWeights, "transposed weights left to their layers"],
];

/** What came of preparing a model. */
export interface Prepared {
  /** What was changed, in words. */
  readonly changes: string[];
  /** What the model tells of its activations, by tensor. */
  readonly moments: ReadonlyMap<string, ChannelMoments>;
}

/**
 * Prepares `model`, a copy that can be changed: it computes what it did before.
 *
 * @throws {AttuneError} `bad-model` where a node cannot be quantized around.
 */
export function prepare(model: Model): Prepared {
  const changes = PASSES.flatMap(([pass, what]) => counted(pass(model), what));
  // Folded, normalizations tell no more of what they write.
  const moments = carriedMoments(model), { length: folded } = foldBatchNorm(model);
  return { changes: [...changes, ...counted(folded, "BatchNormalization nodes folded")], moments };
}

function counted(count: number, what: string): string[] {
  return count > 0 ? [`${count} ${what}`] : [];
}
