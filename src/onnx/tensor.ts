/**
 * Values of ONNX tensors: typed arrays out of a `TensorProto`, and back.
 *
 * @module
 */

import { create } from "@bufbuild/protobuf";
import {
  type StringStringEntryProto,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
} from "./gen/onnx_pb.ts";
import { AttuneError } from "../errors.ts";

export { DataType };

/** A typed array that can hold the elements of a tensor. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Reads a range of bytes of an external data file, named relative to the model. */
export type ExternalData = (location: string, offset: number, length?: number) => Uint8Array;

const ARRAYS: Partial<Record<DataType, new (buffer: ArrayBuffer) => TypedArray>> = {
  [DataType.FLOAT]: Float32Array,
  [DataType.DOUBLE]: Float64Array,
  [DataType.UINT8]: Uint8Array,
  [DataType.INT8]: Int8Array,
  [DataType.BOOL]: Uint8Array,
  [DataType.UINT16]: Uint16Array,
  [DataType.INT16]: Int16Array,
  [DataType.INT32]: Int32Array,
  [DataType.UINT32]: Uint32Array,
  [DataType.INT64]: BigInt64Array,
  [DataType.UINT64]: BigUint64Array,
};

/** `count` zeros of an element type; undefined where no typed array holds such. */
export function zerosOf(type: DataType, count: number): TypedArray | undefined {
  const ArrayType = ARRAYS[type] as { BYTES_PER_ELEMENT: number } & (typeof ARRAYS)[DataType];
  return ArrayType && new ArrayType(new ArrayBuffer(count * ArrayType.BYTES_PER_ELEMENT));
}

/** ONNX's and onnxruntime's names of an element type differ for floats alone. */
const FLOAT_NAMES: Record<string, string> = { FLOAT: "float32", DOUBLE: "float64" };

/** What onnxruntime calls the element type: `"float32"`, `"int64"`, … */
export function typeName(type: DataType): string {
  const name = DataType[type] ?? String(type);
  return FLOAT_NAMES[name] ?? name.toLowerCase();
}

/** The element type that onnxruntime calls `name`. */
export function typeNamed(name: string): DataType {
  const type = Object.keys(FLOAT_NAMES).find((key) => FLOAT_NAMES[key] === name);
  return DataType[(type ?? name.toUpperCase()) as keyof typeof DataType];
}

/** The number of elements of a tensor: the product of `dims`, 1 for a scalar. */
export function sizeOf(dims: readonly (number | bigint)[]): number {
  return dims.reduce<number>((product, dim) => product * Number(dim), 1);
}

/** The shape of `tensor` as numbers. */
export function dimsOf(tensor: TensorProto): number[] {
  return tensor.dims.map(Number);
}

/** Bits of an element of the types that typed arrays do not have. */
const OTHER_BITS: Partial<Record<DataType, number>> = {
  [DataType.FLOAT16]: 16,
  [DataType.BFLOAT16]: 16,
  [DataType.COMPLEX64]: 64,
  [DataType.COMPLEX128]: 128,
  [DataType.FLOAT8E4M3FN]: 8,
  [DataType.FLOAT8E4M3FNUZ]: 8,
  [DataType.FLOAT8E5M2]: 8,
  [DataType.FLOAT8E5M2FNUZ]: 8,
  [DataType.FLOAT8E8M0]: 8,
  [DataType.UINT4]: 4,
  [DataType.INT4]: 4,
  [DataType.FLOAT4E2M1]: 4,
  [DataType.UINT2]: 2,
  [DataType.INT2]: 2,
};

/**
 * Bytes that the shape of `tensor` wants, without looking at its data; undefined for strings and
 * for types that attune does not know.
 *
 * @throws {AttuneError} `bad-model` where an axis is negative, or there are more bytes than a
 * number can count.
 */
export function byteLength(tensor: TensorProto): number | undefined {
  const type = tensor.dataType as DataType;
  const bits = ARRAYS[type] ? 8 * bytesPerElement(type) : OTHER_BITS[type];
  if (bits === undefined) return undefined;
  const bytes = (tensor.dims.reduce((a, b) => a * b, 1n) * BigInt(bits) + 7n) / 8n;
  if (tensor.dims.some((dim) => dim < 0n) || bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new AttuneError(
      "bad-model",
      `Cannot use tensor "${tensor.name}": no data can have the shape [${tensor.dims}]; the file is ` +
        `damaged, export it anew`,
    );
  }
  return Number(bytes);
}

/** Whether the bytes of `tensor` lie in a file beside the model. */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
}

/** Entries that say where external data lies. */
export function externalEntries(
  place: { location: string; offset: number; length: number },
): StringStringEntryProto[] {
  return Object.entries(place).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value: String(value) })
  );
}

/**
 * Raw bytes of `tensor` in its message or file, without reading them; lists of elements are not
 * counted.
 */
export function storedLength(tensor: TensorProto): number {
  return isExternal(tensor) ? byteLength(tensor) ?? 0 : tensor.rawData.length;
}

/**
 * The raw little-endian bytes of `tensor`, or undefined where it keeps its elements in a list.
 *
 * @throws {AttuneError} `bad-model` where they lie in a file that `external` does not give.
 */
export function rawBytes(tensor: TensorProto, external?: ExternalData): Uint8Array | undefined {
  if (!isExternal(tensor)) return tensor.rawData.length > 0 ? tensor.rawData : undefined;
  const entry = (key: string) => tensor.externalData.find((e) => e.key === key)?.value;
  const location = entry("location");
  if (location === undefined || external === undefined) {
    throw new AttuneError(
      "bad-model",
      `Cannot read tensor "${tensor.name}": its data lies in the external file ` +
        `"${location ?? "?"}", which was not given`,
    );
  }
  const length = entry("length");
  return external(
    location,
    Number(entry("offset") ?? 0),
    length === undefined ? byteLength(tensor) : Number(length),
  );
}

/**
 * The elements of `tensor` as a typed array of its own type, copied.
 *
 * @throws {AttuneError} `bad-model` where the type has no typed array (strings, float16, packed
 * 4-bit integers) or the bytes do not match the shape.
 *
 * @example
 * ```ts
 * import { floatTensor, readTensor } from "./tensor.ts";
 *
 * const tensor = floatTensor("w", [2], new Float32Array([1, 2]));
 * if (readTensor(tensor)[1] !== 2) throw new Error("unexpected");
 * ```
 */
export function readTensor(tensor: TensorProto, external?: ExternalData): TypedArray {
  const type = tensor.dataType as DataType;
  const ArrayType = ARRAYS[type];
  if (ArrayType === undefined) {
    throw new AttuneError(
      "bad-model",
      `Cannot read tensor "${tensor.name}": element type ${DataType[type] ?? type} is not handled`,
    );
  }
  const size = sizeOf(tensor.dims);
  const raw = rawBytes(tensor, external);
  // A typed array needs an aligned copy. (slice() of a Node Buffer would be a view.)
  const values = raw !== undefined
    ? raw.byteLength % bytesPerElement(type) === 0 &&
      new ArrayType(new Uint8Array(raw).buffer)
    : listValues(tensor, type, ArrayType);
  if (values === false || values.length !== size) {
    throw new AttuneError(
      "bad-model",
      `Cannot read tensor "${tensor.name}": shape [${tensor.dims}] wants ${size} elements, ` +
        `its data has ${values === false ? `${raw!.byteLength} bytes` : values.length}`,
    );
  }
  return values;
}

/** Whether the elements of `tensor` have a typed array of their own, or are 16-bit floats. */
export function readable({ dataType }: TensorProto): boolean {
  return ARRAYS[dataType as DataType] !== undefined || OTHER_BITS[dataType as DataType] === 16;
}

/** Elements of the typed lists (`float_data`, `int32_data`, …), which small tensors may use. */
function listValues(
  tensor: TensorProto,
  type: DataType,
  ArrayType: new (buffer: ArrayBuffer) => TypedArray,
): TypedArray {
  const list: ArrayLike<number | bigint> = type === DataType.FLOAT
    ? tensor.floatData
    : type === DataType.DOUBLE
    ? tensor.doubleData
    : type === DataType.INT64
    ? tensor.int64Data
    : type === DataType.UINT32 || type === DataType.UINT64
    ? tensor.uint64Data
    : tensor.int32Data;
  const values = new ArrayType(new ArrayBuffer(list.length * bytesPerElement(type)));
  const big = values instanceof BigInt64Array || values instanceof BigUint64Array;
  for (let i = 0; i < list.length; i++) {
    (values as { [i: number]: number | bigint })[i] = big ? BigInt(list[i]) : Number(list[i]);
  }
  return values;
}

/** Bytes that one element of `type` takes; only for types with a typed array of their own. */
function bytesPerElement(type: DataType): number {
  return (ARRAYS[type] as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT;
}

/** Like {@linkcode readTensor}, for a tensor that must be float32. */
export function readFloats(tensor: TensorProto, external?: ExternalData): Float32Array {
  const values = readTensor(tensor, external);
  if (values instanceof Float32Array) return values;
  throw new AttuneError(
    "bad-model",
    `Cannot use tensor "${tensor.name}" as float32: it holds ${DataType[tensor.dataType]}`,
  );
}

/** Like {@linkcode readTensor}, for integers of any width, as numbers. */
export function readInts(tensor: TensorProto, external?: ExternalData): number[] {
  return Array.from(readTensor(tensor, external) as ArrayLike<number | bigint>, Number);
}

/** A tensor of any type from its raw little-endian bytes. */
export function rawTensor(
  name: string,
  type: DataType,
  dims: readonly number[],
  bytes: Uint8Array,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: type,
    dims: dims.map(BigInt),
    rawData: bytes as Uint8Array<ArrayBuffer>,
  });
}

/** A typed array as bytes, without a copy. */
export function bytesOf(values: TypedArray): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A float32 tensor named `name` of shape `dims`. */
export function floatTensor(
  name: string,
  dims: readonly number[],
  values: Float32Array,
): TensorProto {
  return rawTensor(name, DataType.FLOAT, dims, bytesOf(values));
}

/** An int64 tensor, the type of shapes and axes. */
export function int64Tensor(
  name: string,
  dims: readonly number[],
  values: readonly (number | bigint)[],
): TensorProto {
  return rawTensor(
    name,
    DataType.INT64,
    dims,
    bytesOf(BigInt64Array.from(values.map(BigInt))),
  );
}
