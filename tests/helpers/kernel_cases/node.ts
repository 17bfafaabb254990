/** What cases of integer kernels are written in: single nodes and their constants. */

import type { TensorProto } from "../../../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode } from "../../../src/onnx/model.ts";
import { floatTensor, int64Tensor, sizeOf } from "../../../src/onnx/tensor.ts";
import type { KernelCase } from "../kernels.ts";
import { noise } from "../models.ts";

/** Attributes of a node by their names. */
export type Attributes = Record<string, AttributeValue>;

/** `values` as attributes hold them: in 64 bits. */
export const ints = (...values: number[]) => values.map(BigInt);
/** A float constant of noise. */
export const float = (name: string, dims: number[], scale = 0.5): TensorProto =>
  floatTensor(name, dims, noise(sizeOf(dims), dims.length + name.length).map((v) => v * scale));
/** A constant of whole numbers. */
export const long = (name: string, values: number[], dims = [values.length]) =>
  int64Tensor(name, dims, values);

/** A case of one node that reads `x`, or `x` and `z`, and writes `y`. */
export function one(
  op: string,
  inputs: Record<string, number[]>,
  attributes: Attributes = {},
  constants: TensorProto[] = [],
  more: Partial<KernelCase> & { read?: string[] } = {},
): KernelCase {
  const { read = [...Object.keys(inputs), ...constants.map(({ name }) => name)], ...rest } = more;
  return { nodes: [makeNode(op, op, read, ["y"], attributes)], inputs, constants, ...rest };
}
