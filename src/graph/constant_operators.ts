/**
 * The operators that are computed when a model is prepared, where all they read is constant: those
 * that exporters put between a stored weight and the layer that uses it. Results are onnxruntime's,
 * bit for bit, save for sums and powers, which are rounded once.
 *
 * @module
 */

import type { NodeProto } from "../onnx/gen/onnx_pb.ts";
import { attributeOf, intAttribute, intsAttribute } from "../onnx/model.ts";
import { DataType, sizeOf } from "../onnx/tensor.ts";
import {
  broadcast,
  commonShape,
  type Constant,
  numbersOf,
  readConstant,
  strided,
  stridesOf,
  zeros,
} from "./constant_values.ts";

/** What an operator computes from its inputs; undefined where it does not know how. */
type Operator = (
  node: NodeProto,
  inputs: readonly Constant[],
  most: number,
  output: number,
) => Constant | undefined;

/** Whether operators of `opType` can be computed. */
export function isComputed(opType: string): boolean {
  return OPERATORS.has(opType);
}

/**
 * What `node`, one of the default domain, computes as its output number `output`.
 *
 * @param inputs what it reads, without inputs that are left out at the end.
 * @param most elements that a result may have.
 * @returns undefined where that is not known.
 */
export function compute(
  node: NodeProto,
  inputs: readonly Constant[],
  most: number,
  output = 0,
): Constant | undefined {
  // A hole in the list of inputs, an attribute of the function around it, or a damaged file.
  if (inputs.length < (PAIRED.has(node.opType) ? 2 : 1)) return undefined;
  return OPERATORS.get(node.opType)?.(node, inputs, most, output);
}

/** Operators that read two tensors at least; the others one. */
const PAIRED = new Set([
  "Reshape",
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Pow",
  "MatMul",
  "Gather",
  "Expand",
]);
/** Products of numbers that a MatMul may take, a second or two, and elements that it may give. */
const MOST_PRODUCTS = 2 ** 30, MOST_ELEMENTS = 2 ** 26;
const FLOATS = new Set([DataType.FLOAT, DataType.DOUBLE]);
const OPERATORS: ReadonlyMap<string, Operator> = new Map(Object.entries<Operator>({
  Identity: (_, [x]) => x,
  Cast: cast,
  Transpose: (node, [x]) => {
    const perm = intsAttribute(node, "perm") ?? x.dims.map((_, axis) => axis).reverse();
    const axes = new Set(perm);
    if (axes.size !== x.dims.length || !perm.every((axis) => axis in x.dims)) return undefined;
    const strides = stridesOf(x.dims);
    return strided(x, perm.map((axis) => x.dims[axis]), perm.map((axis) => strides[axis]));
  },
  Reshape: (node, [x, shape]) => {
    const keep = intAttribute(node, "allowzero", 0) === 0;
    const dims = intsOf(shape)?.map((size, axis) => size === 0 && keep ? x.dims[axis] : size);
    const open = dims?.indexOf(-1) ?? -1;
    if (dims && open >= 0) dims[open] = x.data.length / -sizeOf(dims);
    return dims && reshaped(x, dims);
  },
  Flatten: (node, [x]) => {
    const named = intAttribute(node, "axis", 1), axis = named < 0 ? named + x.dims.length : named;
    if (!(axis >= 0 && axis <= x.dims.length)) return undefined;
    return reshaped(x, [sizeOf(x.dims.slice(0, axis)), sizeOf(x.dims.slice(axis))]);
  },
  Squeeze: (node, [x, given]) => {
    const axes = axesOf(node, given, x.dims.length);
    return reshaped(x, x.dims.filter((size, i) => axes ? !axes.includes(i) : size !== 1));
  },
  Unsqueeze: (node, [x, given]) => {
    const count = (given ? intsOf(given) : intsAttribute(node, "axes"))?.length ?? 0;
    const axes = axesOf(node, given, x.dims.length + count);
    if (axes === undefined || new Set(axes).size !== count) return undefined;
    const rest = [...x.dims];
    const dims = Array.from(
      { length: x.dims.length + count },
      (_, axis) => axes.includes(axis) ? 1 : rest.shift()!,
    );
    return reshaped(x, dims);
  },
  Add: binary((a, b) => a + b, (a, b) => a + b),
  Sub: binary((a, b) => a - b, (a, b) => a - b),
  Mul: binary((a, b) => a * b, (a, b) => a * b),
  Div: binary((a, b) => a / b, (a, b) => b === 0n ? undefined : a / b),
  Pow: binary(Math.pow),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  ReduceSum: reduce((sum, x) => sum + x),
  ReduceMean: reduce((sum, x) => sum + x, (sum, count) => sum / count),
  ReduceL1: reduce((sum, x) => sum + Math.abs(x)),
  ReduceL2: reduce((sum, x) => sum + x * x, Math.sqrt),
  ReduceSumSquare: reduce((sum, x) => sum + x * x),
  Concat: concat,
  MatMul: matMul,
  Slice: slice,
  Split: split,
  Gather: gather,
  Expand: (_, [x, shape], most) => {
    const dims = commonShape(x.dims, intsOf(shape) ?? [-1]);
    return dims && fits(dims, most) ? broadcast(x, dims) : undefined;
  },
  ConstantOfShape: (node, [shape], most) => {
    const dims = intsOf(shape), value = attributeOf(node, "value")?.t;
    if (dims === undefined || !fits(dims, most)) return undefined;
    const filled = value ? readConstant(value) : zeros(DataType.FLOAT, [1]);
    if (filled?.data.length !== 1) return undefined;
    return broadcast({ ...filled, dims: dims.map(() => 1) }, dims);
  },
  Shape: (node, [x]) => {
    const rank = x.dims.length, clamp = (at: number) => Math.min(rank, Math.max(0, at));
    const [start, end] = [intAttribute(node, "start", 0), intAttribute(node, "end", rank)]
      .map((at) => clamp(at < 0 ? at + rank : at));
    return int64s(x.dims.slice(start, end));
  },
}));

function fits(dims: readonly number[], most: number): boolean {
  return dims.every((size) => size >= 0) && sizeOf(dims) <= most;
}

/** Integers as a list. */
function intsOf(constant: Constant | undefined): number[] | undefined {
  if (constant?.type !== DataType.INT64 && constant?.type !== DataType.INT32) return undefined;
  return Array.from(numbersOf(constant));
}

function int64s(values: readonly number[]): Constant {
  return {
    type: DataType.INT64,
    dims: [values.length],
    data: BigInt64Array.from(values, BigInt),
  };
}

/** An axis of `rank`, where negative ones count from the end. */
function axisOf(node: NodeProto, name: string, fallback: number, rank: number): number | undefined {
  const axis = intAttribute(node, name, fallback), counted = axis < 0 ? axis + rank : axis;
  return counted >= 0 && counted < rank ? counted : undefined;
}

/** The axes that an attribute or an input names; undefined where there are none. */
function axesOf(node: NodeProto, given: Constant | undefined, rank: number): number[] | undefined {
  return (given ? intsOf(given) : intsAttribute(node, "axes"))
    ?.map((axis) => axis < 0 ? axis + rank : axis);
}

function reshaped(x: Constant, dims: readonly number[]): Constant | undefined {
  const valid = dims.every((size) => Number.isInteger(size) && size >= 0);
  return valid && sizeOf(dims) === x.data.length ? { ...x, dims } : undefined;
}

/**
 * Conversions that say the same on every machine: no floats beyond the integers that they become.
 */
function cast(node: NodeProto, [x]: readonly Constant[]): Constant | undefined {
  const to = intAttribute(node, "to", 0) as DataType;
  if (to === x.type) return x;
  const from = numbersOf(x),
    { data } = to === DataType.FLOAT || to === DataType.DOUBLE ||
        to === DataType.INT64 || to === DataType.INT32
      ? zeros(to, x.dims)
      : { data: undefined };
  if (data === undefined) return undefined;
  const big = data instanceof BigInt64Array, whole = big || data instanceof Int32Array;
  for (let i = 0; i < data.length; i++) {
    const value = whole ? Math.trunc(from[i]) : from[i];
    if (whole && !(Math.abs(value) < 2 ** 31)) return undefined;
    data[i] = (big ? BigInt(value) : value) as never;
  }
  return { type: to, dims: x.dims, data };
}

function unary(apply: (x: number) => number): Operator {
  return (_, [x]) => {
    if (!FLOATS.has(x.type)) return undefined;
    return { ...x, data: (x.data as Float32Array).map(apply) };
  };
}

/** An operation element by element; `integers` for those of 64 bits. */
function binary(
  floats: (a: number, b: number) => number,
  integers?: (a: bigint, b: bigint) => bigint | undefined,
): Operator {
  return (_, [a, b], most) => {
    const dims = commonShape(a.dims, b.dims);
    if (a.type !== b.type || dims === undefined || !fits(dims, most)) return undefined;
    const left = broadcast(a, dims)!.data, right = broadcast(b, dims)!.data;
    if (FLOATS.has(a.type)) {
      const data = (left as Float32Array).map((x, i) => floats(x, right[i] as number));
      return { type: a.type, dims, data };
    }
    if (a.type !== DataType.INT64 || integers === undefined) return undefined;
    for (let i = 0; i < left.length; i++) {
      const value = integers(left[i] as bigint, right[i] as bigint);
      if (value === undefined) return undefined;
      left[i] = value as never;
    }
    return { type: a.type, dims, data: left };
  };
}

/** A sum over axes, and what is made of it. */
function reduce(
  add: (sum: number, x: number) => number,
  finish: (sum: number, count: number) => number = (sum) => sum,
): Operator {
  return (node, [x, given]) => {
    if (!FLOATS.has(x.type)) return undefined;
    const rank = x.dims.length, all = x.dims.map((_, axis) => axis);
    const named = axesOf(node, given, rank);
    if (!named?.length && intAttribute(node, "noop_with_empty_axes", 0) !== 0) return undefined;
    const axes = new Set(named?.length ? named : all);
    if (![...axes].every((axis) => axis >= 0 && axis < rank)) return undefined;
    const keptAxes = all.filter((axis) => !axes.has(axis)), strides = stridesOf(x.dims);
    const order = [...keptAxes, ...axes];
    const { data } = strided(x, order.map((i) => x.dims[i]), order.map((i) => strides[i]));
    const keep = intAttribute(node, "keepdims", 1) !== 0;
    const dims = all.flatMap((axis) => axes.has(axis) ? keep ? [1] : [] : [x.dims[axis]]);
    const result = zeros(x.type, dims), count = data.length / result.data.length;
    for (let i = 0; i < result.data.length; i++) {
      let sum = 0;
      for (let j = 0; j < count; j++) sum = add(sum, data[i * count + j] as number);
      result.data[i] = finish(sum, count) as never;
    }
    return result;
  };
}

function concat(
  node: NodeProto,
  inputs: readonly Constant[],
  most: number,
): Constant | undefined {
  const [first] = inputs, axis = axisOf(node, "axis", 0, first.dims.length);
  const alike = inputs.every(({ type, dims }) =>
    type === first.type && dims.length === first.dims.length &&
    dims.every((size, i) => i === axis || size === first.dims[i])
  );
  if (axis === undefined || !alike) return undefined;
  const dims = [...first.dims];
  dims[axis] = inputs.reduce((sum, x) => sum + x.dims[axis], 0);
  if (!fits(dims, most)) return undefined;
  const result = zeros(first.type, dims), row = sizeOf(dims.slice(axis));
  let at = 0;
  for (const x of inputs) {
    const width = sizeOf(x.dims.slice(axis));
    for (let i = 0; width > 0 && i * width < x.data.length; i++) {
      result.data.set(x.data.subarray(i * width, (i + 1) * width) as never, i * row + at);
    }
    at += width;
  }
  return result;
}

function slice(node: NodeProto, inputs: readonly Constant[]): Constant | undefined {
  const [x, ...given] = inputs;
  const list = (i: number, name: string) => given[i] ? intsOf(given[i]) : intsAttribute(node, name);
  const starts = list(0, "starts"), ends = list(1, "ends");
  if (starts === undefined || ends === undefined) return undefined;
  const axes = list(2, "axes") ?? starts.map((_, i) => i), steps = list(3, "steps") ?? [];
  if (starts.length !== axes.length || ends.length !== axes.length) return undefined;
  const dims = [...x.dims], strides = stridesOf(x.dims);
  let offset = 0;
  for (const [i, named] of axes.entries()) {
    const axis = named < 0 ? named + dims.length : named, step = steps[i] ?? 1;
    const size = x.dims[axis];
    if (size === undefined || step === 0) return undefined;
    // Backwards, the last that can be taken is element 0: what is taken ends before −1.
    const least = step > 0 ? 0 : -1, most = step > 0 ? size : size - 1;
    const [from, to] = [starts[i], ends[i]].map((at) =>
      Math.min(most, Math.max(least, at < 0 ? at + size : at))
    );
    dims[axis] = Math.max(0, Math.ceil((to - from) / step));
    offset += from * strides[axis];
    strides[axis] *= step;
  }
  return strided(x, dims, strides, offset);
}

function split(
  node: NodeProto,
  [x, given]: readonly Constant[],
  _: number,
  output: number,
): Constant | undefined {
  const axis = axisOf(node, "axis", 0, x.dims.length), count = node.output.length;
  if (axis === undefined) return undefined;
  const size = x.dims[axis], each = Math.ceil(size / count);
  const parts = (given ? intsOf(given) : intsAttribute(node, "split")) ??
    node.output.map((_, i) => Math.min(each, size - i * each));
  const fitting = parts.length === count && parts.every((part) => part >= 0);
  if (!fitting || parts.reduce((a, b) => a + b, 0) !== size) return undefined;
  const before = parts.slice(0, output).reduce((a, b) => a + b, 0), strides = stridesOf(x.dims);
  return strided(x, x.dims.with(axis, parts[output]), strides, before * strides[axis]);
}

/** A product of two matrices: low-rank updates of a weight are kept as such. */
function matMul(_: NodeProto, [a, b]: readonly Constant[]): Constant | undefined {
  if (a.type !== DataType.FLOAT || b.type !== a.type) return undefined;
  if (a.dims.length !== 2 || b.dims.length !== 2 || a.dims[1] !== b.dims[0]) return undefined;
  const [rows, depth] = a.dims, columns = b.dims[1];
  if (rows * depth * columns > MOST_PRODUCTS || rows * columns > MOST_ELEMENTS) return undefined;
  const result = zeros(a.type, [rows, columns]), sums = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    for (let k = 0; k < depth; k++) {
      const factor = a.data[i * depth + k] as number;
      for (let j = 0; j < columns; j++) sums[j] += factor * (b.data[k * columns + j] as number);
    }
    result.data.set(sums as never, i * columns);
  }
  return result;
}

function gather(
  node: NodeProto,
  [x, indices]: readonly Constant[],
  most: number,
): Constant | undefined {
  const axis = axisOf(node, "axis", 0, x.dims.length), list = intsOf(indices);
  if (axis === undefined || list === undefined) return undefined;
  const size = x.dims[axis], rows = list.map((index) => index < 0 ? index + size : index);
  if (rows.some((row) => !(row >= 0 && row < size))) return undefined;
  const dims = [...x.dims.slice(0, axis), ...indices.dims, ...x.dims.slice(axis + 1)];
  if (!fits(dims, most)) return undefined;
  const result = zeros(x.type, dims), inner = sizeOf(x.dims.slice(axis + 1));
  const outer = sizeOf(x.dims.slice(0, axis));
  for (let o = 0, at = 0; o < outer; o++) {
    for (const row of rows) {
      const from = (o * size + row) * inner;
      result.data.set(x.data.subarray(from, from + inner) as never, at);
      at += inner;
    }
  }
  return result;
}
