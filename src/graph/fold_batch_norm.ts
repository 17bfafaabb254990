/**
 * Folds BatchNormalization into the layer before it: the layer's weights take the scale, its bias
 * the shift. Quantization then sees the weights that the deployed model multiplies with.
 *
 * y = γ (x − μ) / √(σ² + ε) + β  and  x = W·u + b  give  W′ = γ/√(σ²+ε) · W,
 * b′ = (b − μ) · γ/√(σ²+ε) + β.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { floatAttribute, intAttribute, type Model } from "../onnx/model.ts";
import { floatTensor } from "../onnx/tensor.ts";
import { freshName, Graph, isStandard, nodeName, removeUnused, tensorNames } from "./graph.ts";

/**
 * Folds every BatchNormalization (or Mul/Add-free equivalent) of `model` that follows a Conv,
 * ConvTranspose or Gemm with constant weights and that alone reads its output.
 *
 * @returns the names of the folded nodes; `model` is changed.
 */
export function foldBatchNorm(model: Model): string[] {
  const folded: string[] = [];
  const names = tensorNames(model), done: Done = new Map();
  for (;;) {
    const graph = new Graph(model);
    const node = graph.nodes.find((n) =>
      n.opType === "BatchNormalization" && foldOne(graph, n, names, done)
    );
    if (node === undefined) break;
    folded.push(nodeName(node));
  }
  if (folded.length > 0) removeUnused(model);
  return folded;
}

/**
 * The tensors that were made for a weight, a bias and a normalization: layers may share all three.
 */
type Done = Map<string, readonly [weight: string, bias: string]>;

/** Folds `norm` into its producer if that is possible. */
function foldOne(graph: Graph, norm: NodeProto, names: Set<string>, done: Done): boolean {
  if (!isStandard(norm) || norm.output.filter((name) => name !== "").length > 1) return false;
  const layer = graph.producer(norm.input[0]);
  if (layer === undefined || !isStandard(layer) || graph.onlyConsumer(norm.input[0]) !== norm) {
    return false;
  }
  const [scale, shift, mean, variance] = norm.input.slice(1).map((name) =>
    graph.floats(name)?.values
  );
  const weight = graph.floats(layer.input[1]);
  const bias = layer.input[2] ? graph.floats(layer.input[2])?.values : undefined;
  if (!scale || !shift || !mean || !variance || !weight) return false;
  if (layer.input[2] && !bias) return false;
  const rows = rowAxis(layer);
  if (rows === undefined) return false;
  const channels = scale.length;
  if (bias && bias.length !== channels) return false;

  const epsilon = floatAttribute(norm, "epsilon", 1e-5);
  const proto = graph.proto;
  const same = JSON.stringify([layer.opType, rows, intAttribute(layer, "group", 1), epsilon, [
    layer.input.slice(1),
    norm.input.slice(1),
  ]]);
  const put = ([weight, bias]: readonly [string, string]) => {
    layer.input = [layer.input[0], weight, bias];
    layer.output[0] = norm.output[0];
    proto.node = proto.node.filter((node) => node !== norm);
    return true;
  };
  const earlier = done.get(same);
  if (earlier !== undefined) return put(earlier);

  const factor = scale.map((gamma, c) => gamma / Math.sqrt(variance[c] + epsilon));
  const values = scaleRows(weight.values, weight.dims, rows, factor, layer);
  if (values === undefined) return false;
  const folded = shift.map((beta, c) => beta + ((bias?.[c] ?? 0) - mean[c]) * factor[c]);

  // New tensors, since another layer may share the old ones.
  const weightName = freshName(`${layer.input[1]}_folded`, names);
  const biasName = freshName(`${nodeName(layer)}_bias`, names);
  proto.initializer.push(
    floatTensor(weightName, weight.dims, values),
    floatTensor(biasName, [channels], folded),
  );
  done.set(same, [weightName, biasName]);
  return put([weightName, biasName]);
}

/** The weight's axis that counts the output channels (within a group, for ConvTranspose). */
function rowAxis(layer: NodeProto): number | undefined {
  if (layer.opType === "Conv") return 0;
  if (layer.opType === "ConvTranspose") return 1;
  if (layer.opType !== "Gemm") return undefined;
  // α and β would scale weight and bias once more.
  if (floatAttribute(layer, "alpha", 1) !== 1 || floatAttribute(layer, "beta", 1) !== 1) return;
  return intAttribute(layer, "transB", 0) === 1 ? 0 : 1;
}

/** The weight with output channel c multiplied by `factor[c]`. */
function scaleRows(
  values: Float32Array,
  dims: readonly number[],
  axis: number,
  factor: Float32Array,
  layer: NodeProto,
): Float32Array | undefined {
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  // ConvTranspose has C × M/g: the group is given by the input channel.
  const groups = layer.opType === "ConvTranspose" ? intAttribute(layer, "group", 1) : 1;
  if (dims[axis] * groups !== factor.length) return undefined;
  const perGroup = values.length / groups;
  return values.map((value, i) =>
    value * factor[Math.floor(i / perGroup) * dims[axis] + Math.floor(i / inner) % dims[axis]]
  );
}
