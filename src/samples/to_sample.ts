/**
 * Samples out of what callers have at hand: tensors by name, typed arrays, nested lists of numbers.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { ElementType, InputSpec } from "../onnx/inputs.ts";
import { canConvert, castNumbers, convertElements } from "./convert.ts";
import {
  arrayConstructors,
  arrayFor,
  checkSample,
  formatDims,
  formatSpec,
  type Sample,
  type TensorData,
  type TensorValue,
} from "./sample.ts";

/** A number, or lists of them in lists, one level for each axis. */
export type NestedNumbers = number | bigint | boolean | readonly NestedNumbers[];

/** Whatever has a shape and elements in row-major order: a tensor of onnxruntime, for one. */
export interface ShapedData {
  /** The shape. */
  readonly dims: readonly number[];
  /** The elements; those of plain lists are cast to the type that the model wants. */
  readonly data: ArrayLike<number | bigint | boolean | string>;
}

/**
 * A tensor, or what can become one: elements with a shape, nested lists, or a typed array whose
 * shape follows from the model's, where that leaves one axis open at most.
 */
export type TensorLike = TensorValue | ShapedData | TensorData | NestedNumbers;

/** Tensors by the names of the model's inputs; beside them `label` is the 0-based class. */
export interface NamedTensors {
  /** The tensor of an input. */
  readonly [input: string]: TensorLike;
}

/** A {@linkcode Sample} whose tensors may be anything that can become one. */
export interface SampleFields {
  /** The model's inputs by name. */
  readonly inputs: NamedTensors;
  /** The 0-based class, if known. */
  readonly label?: number;
  /** Where it comes from, for messages. Default: its position. */
  readonly source?: string;
}

/**
 * What can become a sample: a {@linkcode Sample}, tensors by name, or one tensor for a model with
 * one input.
 *
 * An object with `dims` and `data` is a tensor. One whose `inputs` is an object that is no tensor
 * is a sample with fields; any other has tensors by name, and a `label` if no input is called that.
 */
export type SampleLike = Sample | SampleFields | NamedTensors | TensorLike;

/** Samples one by one, as a list or any other iterable. Many can be iterated only once. */
export type SampleSource = Iterable<SampleLike> | AsyncIterable<SampleLike>;

/**
 * The samples of `source`, checked against the inputs of the model.
 *
 * Throws `AttuneError` `bad-data` where it is no iterable, or a sample does not fit.
 */
export async function* samplesOf(
  source: SampleSource,
  inputs: readonly InputSpec[],
): AsyncGenerator<Sample> {
  const iterable = Object(source) === source &&
    (Symbol.asyncIterator in source || Symbol.iterator in source) && !ArrayBuffer.isView(source);
  if (!iterable) {
    throw new AttuneError(
      "bad-data",
      `Cannot read samples from ${describe(source)}: give a list of samples, or anything else ` +
        `that can be iterated, as samples() of what openSamples and openFiles give`,
    );
  }
  let index = 0;
  for await (const value of source) yield toSample(value, inputs, `samples[${index++}]`);
}

/**
 * `value` as a sample, checked against the inputs of the model; `source` is what messages call it
 * where it has no name of its own.
 *
 * Throws `AttuneError` `bad-data` where it cannot become one or does not fit.
 *
 * @example
 * ```ts
 * import { toSample } from "./to_sample.ts";
 *
 * const inputs = [{ name: "x", dims: ["N", 2], type: "float32" }] as const;
 * const { dims } = toSample({ x: [1, 2] }, inputs, "mine").inputs.x;
 * if (dims.join() !== "2") throw new Error("unexpected");
 * ```
 */
export function toSample(value: unknown, inputs: readonly InputSpec[], source: string): Sample {
  const parts = partsOf(value, inputs, source), { label } = parts;
  if (label !== undefined && !(Number.isSafeInteger(label) && Number(label) >= 0)) {
    throw cannotUse(parts.source, `its label is ${describe(label)}; give a whole number from 0`);
  }
  const tensors = Object.entries(parts.tensors).map(([name, tensor]) => {
    const spec = inputs.find((input) => input.name === name);
    // A name that the model does not know is refused below, before its tensor is looked at.
    return [name, spec === undefined ? tensor : toTensor(tensor, spec, parts.source)] as const;
  });
  const named = Object.fromEntries(tensors) as Record<string, TensorValue>;
  const sample = { inputs: named, source: parts.source };
  return checkSample(label === undefined ? sample : { ...sample, label: Number(label) }, inputs);
}

/** The sentence about the sample `source`. */
function cannotUse(source: string, what: string): AttuneError {
  return new AttuneError("bad-data", `Cannot use sample "${source}": ${what}`);
}

/** What a value that should be something else is, for people. */
function describe(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`;
  if (typeof value === "string") return `"${value.slice(0, 40)}"`;
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value)
    ? "a list"
    : `an object of ${Object.keys(value).join(", ") || "none"}`;
}

/** A sample's tensors, not looked at yet. */
interface SampleParts {
  readonly tensors: Readonly<Record<string, unknown>>;
  readonly label?: unknown;
  readonly source: string;
}

function partsOf(value: unknown, inputs: readonly InputSpec[], source: string): SampleParts {
  if (isTensorLike(value)) {
    if (inputs.length === 1) return { tensors: { [inputs[0].name]: value }, source };
    const names = inputs.map(({ name }) => `"${name}"`).join(", ");
    throw cannotUse(
      source,
      `it is one tensor, the model has ${inputs.length} inputs (${names}); give tensors by name`,
    );
  }
  if (typeof value !== "object" || value === null) {
    throw cannotUse(source, `it is ${describe(value)}; give tensors by the names of the inputs`);
  }
  const fields = value as Record<string, unknown>, { inputs: tensors } = fields;
  if (typeof tensors === "object" && tensors !== null && !isTensorLike(tensors)) {
    const name = typeof fields.source === "string" ? fields.source : source;
    return { tensors: { ...tensors }, label: fields.label, source: name };
  }
  if (inputs.some(({ name }) => name === "label")) return { tensors: fields, source };
  const { label, ...named } = fields;
  return { tensors: named, label, source };
}

/** Whether `value` can only be meant as a tensor. */
function isTensorLike(value: unknown): boolean {
  if (["number", "bigint", "boolean"].includes(typeof value)) return true;
  return Array.isArray(value) || ArrayBuffer.isView(value) || isShaped(value);
}

function isShaped(value: unknown): value is ShapedData & { readonly type?: unknown } {
  return typeof value === "object" && value !== null && "dims" in value && "data" in value &&
    Array.isArray(value.dims);
}

/** `value` as a tensor for the input `spec`. */
function toTensor(value: unknown, spec: InputSpec, source: string): TensorValue {
  const fail = (has: string, remedy: string) =>
    cannotUse(
      source,
      `the model wants ${formatSpec(spec)} ${spec.type} at input "${spec.name}", the sample has ` +
        `${has}; ${remedy}`,
    );
  if (isShaped(value)) {
    const { dims, data, type } = value;
    if (!dims.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw fail(`the shape ${dims.join("×")}`, `give whole numbers from 0 as dims`);
    }
    if (Object(data) !== data || !("length" in data)) {
      throw fail(describe(data), `give a typed array as data`);
    }
    return { dims: [...dims], data: toElements(data, spec, source, type) };
  }
  if (ArrayBuffer.isView(value)) {
    const data = toElements(value as TensorData, spec, source);
    const dims = inferDims(data.length, spec);
    if (dims !== undefined) return { dims, data };
    throw fail(`${data.length} elements without a shape`, `give them as { dims, data }`);
  }
  if (!isTensorLike(value)) throw fail(describe(value), `give numbers`);
  const { dims, list } = flatten(value as NestedNumbers, fail);
  return { dims, data: toElements(list, spec, source) };
}

/** The shape of `length` elements for one sample of `spec`, where only one is possible. */
function inferDims(length: number, spec: InputSpec): number[] | undefined {
  if (spec.unranked) return undefined;
  const rest = spec.dims.toSpliced(spec.batchAxis ?? 0, 1);
  for (const dims of [rest, spec.dims]) {
    const open = dims.filter((size) => typeof size === "string").length;
    const known = dims.reduce<number>((product, size) => product * (Number(size) || 1), 1);
    // A whole input with open axes could as well be several samples.
    if (open > Number(dims === rest) || length % known !== 0) continue;
    if (open === 1 || length === known) {
      return dims.map((size) => typeof size === "string" ? length / known : size);
    }
  }
  return undefined;
}

/** More axes than any tensor has. */
const MOST_AXES = 32;

/** Nested lists as a shape, and their numbers in row-major order. */
function flatten(
  value: NestedNumbers,
  fail: (has: string, remedy: string) => AttuneError,
): { dims: number[]; list: unknown[] } {
  const dims: number[] = [], list: unknown[] = [];
  for (let inner: unknown = value; Array.isArray(inner); inner = inner[0]) {
    dims.push(inner.length);
    if (dims.length > MOST_AXES) {
      throw fail(`lists in more than ${MOST_AXES} lists`, `give a level of lists for each axis`);
    }
  }
  const visit = (part: unknown, axis: number) => {
    if (axis === dims.length && !Array.isArray(part)) return list.push(part);
    if (!Array.isArray(part) || part.length !== dims[axis]) {
      throw fail(
        `lists that do not make up ${formatDims(dims)}`,
        `give lists of the same length along each axis`,
      );
    }
    for (const each of part) visit(each, axis + 1);
  };
  visit(value, 0);
  return { dims, list };
}

/** The element types of typed arrays, where nothing says that they hold another. */
const TYPES = new Map<string, ElementType>(
  Object.entries(arrayConstructors).filter(([type]) => type !== "bool" && type !== "float16")
    .map(([type, { name }]) => [name, type as ElementType]),
);

/** Elements in the array that carries those of `spec`. */
function toElements(
  data: ArrayLike<unknown>,
  spec: InputSpec,
  source: string,
  type?: unknown,
): TensorData {
  const Wanted = arrayFor(spec);
  if (!ArrayBuffer.isView(data)) return castNumbers(data, spec, source);
  const { name } = data.constructor;
  if (name === "Float16Array") {
    const bits = new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
    return toElements(bits, spec, source, "float16");
  }
  const has = typeof type === "string" && Object.hasOwn(arrayConstructors, type)
    ? type as ElementType
    : data instanceof Wanted
    ? spec.type
    : TYPES.get(name);
  const elements = data as unknown as TensorData;
  if (has !== undefined && canConvert(has, spec.type)) {
    return convertElements(elements, has, spec.type, source);
  }
  // Other arrays than the one that is wanted are refused by the check of the whole sample.
  if (!(data instanceof Wanted)) return elements;
  throw cannotUse(
    source,
    `the model wants ${spec.type} at input "${spec.name}", the sample has ${has}; give it as ` +
      spec.type,
  );
}
