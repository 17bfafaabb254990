/**
 * Constants as plain values: what an initializer holds, and views of it in other shapes.
 *
 * @module
 */

import type { TensorProto } from "../onnx/gen/onnx_pb.ts";
import {
  bytesOf,
  DataType,
  dimsOf,
  type ExternalData,
  rawBytes,
  rawTensor,
  readTensor,
  sizeOf,
  type TypedArray,
  zerosOf,
} from "../onnx/tensor.ts";

/** The elements of a tensor. 16-bit floats are carried as their bits. */
export interface Constant {
  /** The element type. */
  readonly type: DataType;
  /** The shape. */
  readonly dims: readonly number[];
  /** The elements, row-major. */
  readonly data: TypedArray;
}

/** What `tensor` holds; undefined for types that are not computed with. */
export function readConstant(tensor: TensorProto, external?: ExternalData): Constant | undefined {
  const type = tensor.dataType as DataType, dims = dimsOf(tensor);
  if (type === DataType.FLOAT16 || type === DataType.BFLOAT16) {
    const raw = rawBytes(tensor, external);
    // A typed array needs an aligned copy.
    const data = raw
      ? new Uint16Array(new Uint8Array(raw).buffer)
      : Uint16Array.from(tensor.int32Data);
    return { type, dims, data };
  }
  return zerosOf(type, 0) && { type, dims, data: readTensor(tensor, external) };
}

/** `constant` as an initializer. */
export function constantTensor(name: string, { type, dims, data }: Constant): TensorProto {
  return rawTensor(name, type, dims, bytesOf(data));
}

/** Zeros of `dims` and the element type. */
export function zeros(type: DataType, dims: readonly number[]): Constant {
  const half = type === DataType.FLOAT16 || type === DataType.BFLOAT16;
  return { type, dims, data: zerosOf(half ? DataType.UINT16 : type, sizeOf(dims))! };
}

/** Steps in elements from one index of each axis to the next. */
export function stridesOf(dims: readonly number[]): number[] {
  return dims.map((_, axis) => sizeOf(dims.slice(axis + 1)));
}

/** Elements of `constant` at `offset` + Σ index × stride, for all indices below `dims`, copied. */
export function strided(
  { type, data }: Constant,
  dims: readonly number[],
  strides: readonly number[],
  offset = 0,
): Constant {
  const result = zeros(type, dims), count = result.data.length;
  const index = new Array<number>(dims.length).fill(0), last = dims.length - 1;
  const length = dims.length === 0 ? 1 : dims[last], step = strides[last] ?? 0;
  for (let i = 0, from = offset; i < count;) {
    for (let j = 0; j < length; j++) result.data[i++] = data[from + j * step] as never;
    for (let axis = last - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < dims[axis]) break;
      from -= dims[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return result;
}

/**
 * `constant` repeated along axes of length 1 until it has `dims`; undefined where it does not fit.
 */
export function broadcast(constant: Constant, dims: readonly number[]): Constant | undefined {
  const padded = [...new Array(dims.length - constant.dims.length).fill(1), ...constant.dims];
  if (padded.length !== dims.length) return undefined;
  if (!padded.every((size, axis) => size === dims[axis] || size === 1)) return undefined;
  const strides = stridesOf(padded).map((stride, axis) => padded[axis] === 1 ? 0 : stride);
  return strided(constant, dims, strides);
}

/** The shape that operands of two shapes give. */
export function commonShape(a: readonly number[], b: readonly number[]): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const sizes = (dims: readonly number[]) => [...new Array(rank - dims.length).fill(1), ...dims];
  const left = sizes(a), right = sizes(b);
  if (!left.every((size, i) => size === right[i] || size === 1 || right[i] === 1)) return undefined;
  return left.map((size, i) => size === 1 ? right[i] : size);
}

/** The elements of `constant` as numbers; 16-bit floats by their values. */
export function numbersOf({ type, data }: Constant): ArrayLike<number> {
  if (type === DataType.FLOAT16) {
    halves ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => halfToNumber(bits));
    const values = new Float32Array(data.length);
    for (let i = 0; i < values.length; i++) values[i] = halves[data[i] as number];
    return values;
  }
  if (type === DataType.BFLOAT16) {
    const bits = Uint32Array.from(data as Uint16Array, (half) => half << 16);
    return new Float32Array(bits.buffer);
  }
  const big = data instanceof BigInt64Array || data instanceof BigUint64Array;
  return big ? Array.from(data as ArrayLike<bigint>, Number) : data as Float32Array;
}

/** The values of all 16-bit floats, once they are needed. */
let halves: Float32Array | undefined;

/** The value of IEEE binary16 `bits`. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * mantissa * 2 ** -24
    : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}
