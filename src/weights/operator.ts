/**
 * An operator whose weights are quantized: all that sets it apart from the others.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import type { Graph } from "../graph/graph.ts";
import type { SkipReason, Target } from "./target.ts";

/** A node seen as a matrix product: a {@linkcode Target} without what all operators tell alike. */
export type Product = Omit<Target, "node" | "name" | "op" | "output">;

/**
 * The order of a weight tensor: that of the matrix W (groups·rows × depth, row-major), seen as
 * `dims` and transposed by `perm`.
 */
export interface TensorOrder {
  /** The axes that W falls into; their product is its size. */
  readonly dims: readonly number[];
  /** For each axis of the tensor, as far as they are told apart, the one of `dims` that it is. */
  readonly perm: readonly number[];
}

/** What onnxruntime 1.30 does with an operator beside activations on grids. */
export interface IntegerForm {
  /** Whether its kernel writes integers, so that what leaves it gets a grid, too. */
  readonly integerOutput: boolean;
  /** Whether it reaches its kernel only where zero points of the weights are given, be they 0. */
  readonly needsZeroPoints: boolean;
  /** Whether a weight that is left in float is rounded to 8 bits with one scale for all of it. */
  readonly roundsFloatWeights: boolean;
}

/** An operator whose weights are quantized. */
export interface Operator {
  /** Its name in ONNX's standard domain. */
  readonly op: string;
  /**
   * What `node`, one of this operator, multiplies with its weight; the reason where the weight
   * stays in float; undefined where it has none.
   */
  match(graph: Graph, node: NodeProto): Product | SkipReason | undefined;
  /** How the values of the weight of `target` are ordered; undefined where they are as in W. */
  order(target: Target): TensorOrder | undefined;
  /**
   * The input that is added to the product: a value for each row of W, or nothing, or what neither
   * is. Undefined where the operator adds nothing.
   */
  readonly biasInput?: number;
  /** Products that are summed, given how many elements enter `target` and leave it. */
  macs(target: Target, elements: Elements): number;
  /** What becomes of it beside activations on grids. */
  readonly integer: IntegerForm;
  /**
   * Whether onnxruntime 1.30 computes the right thing with int2 weights, beside float activations.
   */
  readonly int2: boolean;
}

/** Elements of the tensors around a layer. */
export interface Elements {
  /** Of the one that enters. */
  readonly input: number;
  /** Of the one that leaves. */
  readonly output: number;
}
