/**
 * Weights as the matrix W, (groups·rows) × depth, row-major, and back in the order of their
 * tensors.
 *
 * @module
 */

import { readFloats, sizeOf } from "../onnx/tensor.ts";
import type { Graph } from "../graph/graph.ts";
import { AttuneError } from "../errors.ts";
import { operatorOf } from "./operators.ts";
import type { Target } from "./target.ts";

/**
 * The weight of `target` as its matrix W.
 *
 * @throws {AttuneError} `bad-model` where a value is not finite.
 */
export function readWeight(graph: Graph, target: Target): Float32Array {
  return toMatrixOrder(target, readFinite(graph, target));
}

/**
 * The values of the weight of `target` in the file's order; throws `bad-model` where one is not
 * finite.
 */
export function readFinite(graph: Graph, target: Target): Float32Array {
  const values = readFloats(graph.constant(target.weight)!, graph.model.external);
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new AttuneError(
        "bad-model",
        `Cannot quantize node "${target.name}": its weight "${target.weight}" holds ${value}; ` +
          `use --override '${target.name}=skip'`,
      );
    }
  }
  return values;
}

/** A matrix of (groups·rows) × depth values in the order of `target`'s weight tensor. */
export function toTensorOrder<T extends Float32Array | Int8Array>(target: Target, matrix: T): T {
  const places = placesInTensor(target);
  if (places === undefined) return matrix;
  const out = matrix.slice() as T;
  places.forEach((place, i) => out[place] = matrix[i]);
  return out;
}

/** The inverse of {@linkcode toTensorOrder}: values in the tensor's order as the matrix W. */
export function toMatrixOrder(target: Target, tensor: Float32Array): Float32Array {
  const places = placesInTensor(target);
  return places ? Float32Array.from(places, (place) => tensor[place]) : tensor;
}

/** For each element of W, its place in the weight tensor; undefined where the two are the same. */
function placesInTensor(target: Target): Int32Array | undefined {
  const order = operatorOf(target).order(target);
  if (order === undefined) return undefined;
  const { dims, perm } = order;
  // How far apart in the tensor neighbours along an axis of `dims` are.
  const strides = dims.map(() => 0);
  perm.reduceRight((stride, axis) => {
    strides[axis] = stride;
    return stride * dims[axis];
  }, 1);
  const places = new Int32Array(sizeOf(dims));
  let count = 0;
  const visit = (axis: number, place: number) => {
    const stride = strides[axis], isLast = axis === dims.length - 1;
    for (let i = 0; i < dims[axis]; i++) {
      if (isLast) places[count++] = place + i * stride;
      else visit(axis + 1, place + i * stride);
    }
  };
  visit(0, 0);
  return places;
}
