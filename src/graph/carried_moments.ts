/**
 * What BatchNormalization tells of a model's activations: its output has the mean β and the
 * variance γ² in each channel, over the data that the model was trained on.
 *
 * It is gathered before normalizations are folded into layers, which keep the tensor's name but
 * lose the numbers.
 *
 * @module
 */

import { floatAttribute, type Model } from "../onnx/model.ts";
import { Graph, isStandard } from "./graph.ts";

/** Mean and variance of each channel of a tensor. */
export interface ChannelMoments {
  /** Means. */
  readonly mean: Float64Array;
  /** Variances. */
  readonly variance: Float64Array;
}

/** The moments of all tensors of `model` that a BatchNormalization of constants writes, by name. */
export function carriedMoments(model: Model): Map<string, ChannelMoments> {
  const graph = new Graph(model), moments = new Map<string, ChannelMoments>();
  for (const node of graph.nodes) {
    if (!isStandard(node) || node.opType !== "BatchNormalization") continue;
    const [scale, shift, , variance] = node.input.slice(1).map((name) =>
      graph.floats(name)?.values
    );
    if (!scale || !shift || !variance) continue;
    const epsilon = floatAttribute(node, "epsilon", 1e-5);
    moments.set(node.output[0], {
      mean: Float64Array.from(shift),
      variance: Float64Array.from(
        scale,
        (gamma, c) => gamma * gamma * variance[c] / (variance[c] + epsilon),
      ),
    });
  }
  return moments;
}
