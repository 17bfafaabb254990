/**
 * Which activations are quantized: those between which onnxruntime then runs integer kernels.
 *
 * A tensor is quantized where a quantized layer reads it, where a convolution writes it (after the
 * Relu or Clip that merges into the quantization), and through the operators that have integer
 * forms, as long as all they read is quantized. Graph outputs stay in float.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { attributeOf, intAttribute } from "../onnx/model.ts";
import { type Graph, isStandard } from "../graph/graph.ts";
import { operatorOf } from "../weights/operators.ts";
import type { Target } from "../weights/target.ts";

/** Operators that have an integer form of their own: their output gets its own range. */
const INTEGER_OPS = new Set(["Add", "Concat", "AveragePool", "GlobalAveragePool"]);
/** Operators that only move values: their output keeps the input's range. */
const MOVING_OPS = new Set([
  "MaxPool",
  "Flatten",
  "Reshape",
  "Squeeze",
  "Unsqueeze",
  "Transpose",
]);
/** Operators that vanish into the quantization of their output. */
const MERGED_OPS = new Set(["Relu", "Clip"]);

/**
 * Whether the integer form that onnxruntime 1.30 has for `node` computes something else, so that
 * the node has to stay in float: QLinearAveragePool divides by other counts where the last window
 * reaches beyond padding that counts, and knows no dilations (the model does not open);
 * QLinearSoftmax is off by many levels.
 */
export function hasWrongIntegerForm(node: NodeProto): boolean {
  if (node.opType === "Softmax") return true;
  if (node.opType !== "AveragePool") return false;
  const padded = intAttribute(node, "ceil_mode", 0) !== 0 &&
    intAttribute(node, "count_include_pad", 0) !== 0;
  return padded || attributeOf(node, "dilations") !== undefined;
}

/** The quantized activations of a graph. */
export interface Activations {
  /** Tensors with a range of their own, in the order in which they are computed. */
  readonly ranged: readonly string[];
  /** Tensors that share the range of another: moved values. */
  readonly shared: ReadonlyMap<string, string>;
  /** Bits of those in `ranged`. */
  readonly bits: ReadonlyMap<string, 4 | 8>;
}

/**
 * The activations of `graph` to quantize to `bits`, given the layers that are quantized. What an
 * edge layer reads keeps 8 bits.
 */
export function findActivations(
  graph: Graph,
  targets: readonly Target[],
  bits: 4 | 8,
  edges: ReadonlySet<Target>,
): Activations {
  const targetNodes = new Map(targets.map((target) => [target.node, target]));
  const inputs = new Set(targets.map((target) => target.input));
  const ranged = new Set<string>();
  const shared = new Map<string, string>();
  const isQuantized = (name: string) => ranged.has(name) || shared.has(name);
  // The tensor after the merged activation function, where that is all that reads `name`.
  const merged = (name: string): string => {
    const next = graph.onlyConsumer(name);
    return next && isStandard(next) && MERGED_OPS.has(next.opType) && next.input[0] === name
      ? next.output[0]
      : name;
  };
  const add = (name: string) => {
    if (!graph.isOutput(name) && graph.consumers(name).length > 0) ranged.add(name);
  };
  const variable = (node: NodeProto) =>
    node.input.filter((name) => name !== "" && !graph.constant(name));

  for (const input of graph.inputs) if (inputs.has(input.name)) ranged.add(input.name);
  for (const node of graph.nodes) {
    const target = targetNodes.get(node);
    if (target && operatorOf(target).integer.integerOutput) add(merged(target.output));
    else if (isStandard(node) && INTEGER_OPS.has(node.opType) && !hasWrongIntegerForm(node)) {
      // A constant summand would need a range of its own, so it keeps the sum in float.
      const quantized = node.input.every((name) => isQuantized(name));
      if (quantized) add(merged(node.output[0]));
    } else if (isStandard(node) && MOVING_OPS.has(node.opType)) {
      const [from] = variable(node), to = node.output[0];
      if (isQuantized(from) && !graph.isOutput(to)) shared.set(to, shared.get(from) ?? from);
    }
    for (const name of node.output) if (inputs.has(name) && !isQuantized(name)) ranged.add(name);
  }
  const wide = new Set(
    [...edges].map(({ input }) => shared.get(input) ?? input),
  );
  return {
    ranged: [...ranged],
    shared,
    bits: new Map([...ranged].map((name) => [name, wide.has(name) ? 8 : bits])),
  };
}

/** The tensor whose grid `name` uses: itself, or the one that it shares. */
export function gridSource({ shared }: Activations, name: string): string {
  return shared.get(name) ?? name;
}
