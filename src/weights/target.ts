/**
 * A layer whose weight is quantized, seen as a matrix W (rows × depth) that is multiplied with
 * columns of its input; and a node that stays in float, with its reason.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";

/** Why a node stays in float. The set is closed. */
export type SkipReason =
  | "override"
  | "no constant weight"
  | "weight is not float32"
  | "weight of more than two dimensions"
  | "attribute not handled"
  | "control flow is left alone"
  | "weight is shared in another layout"
  | "weight is an output of the model"
  | "embedding table"
  | "recurrent layer"
  | "custom operator"
  | "local function"
  | "operator is not quantized"
  | "vector";

/** A node that stays in float. */
export interface Skipped {
  /** The node's name. */
  readonly name: string;
  /** Its operator. */
  readonly op: string;
  /** Why. */
  readonly reason: SkipReason;
  /** The weight that it keeps in float, where that takes more than 1 kB. */
  readonly weight?: string;
  /** Bytes of that weight. */
  readonly bytes?: number;
}

/** How columns of a layer's input are gathered. */
export type Geometry =
  | {
    /** Windows of a convolution. */
    readonly kind: "window";
    /** Whether they are those of the convolution whose gradient the layer computes. */
    readonly transposed: boolean;
    /** Kernel size per spatial axis; the lists below are as long. */
    readonly kernel: readonly number[];
    /** Steps between windows. */
    readonly strides: readonly number[];
    /** Distance between taps. */
    readonly dilations: readonly number[];
    /** Zeros before the first value; undefined where `autoPad` decides. */
    readonly pads?: readonly number[];
    /** ONNX's auto_pad. */
    readonly autoPad: string;
  }
  | { /** Each row of the last axis is a column: X·Wᵀ. */ readonly kind: "rows" }
  | { /** Columns of the last two axes: W·X. */ readonly kind: "columns" };

/** A layer whose weight is quantized. */
export interface Target {
  /**
   * The node.
   *
   * @internal
   */
  readonly node: NodeProto;
  /** What people call it: the node's name, and what tells it apart where others have that, too. */
  readonly name: string;
  /** The operator, as the table of `operators.ts` has it. */
  readonly op: string;
  /** The tensor that enters. */
  readonly input: string;
  /** The tensor that leaves. No other layer has it: it is what layers are known by. */
  readonly output: string;
  /** The initializer that holds the weight, and which input of the node it is. */
  readonly weight: string;
  /** Index of the weight among the node's inputs. */
  readonly weightInput: 0 | 1;
  /** The weight's shape in the file. */
  readonly shape: readonly number[];
  /** The axis of `shape` that counts output channels. */
  readonly axis: number;
  /** Independent matrices: groups of a convolution. */
  readonly groups: number;
  /** Output channels per group. */
  readonly rows: number;
  /** Inputs times kernel positions, per group. */
  readonly depth: number;
  /** How columns are gathered. */
  readonly geometry: Geometry;
}
