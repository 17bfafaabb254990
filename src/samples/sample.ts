/**
 * What a sample is: the inputs of a model for one run, without the axis that counts samples or
 * whole.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { ElementType, InputSpec } from "../onnx/inputs.ts";

/**
 * Elements in row-major order. float16 is carried as its bits in a `Uint16Array`, bool as 0 and 1
 * in a `Uint8Array`; which one is meant follows from the model's input.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** A tensor: its shape, and its elements in row-major order. */
export interface TensorValue {
  /** The shape; the product is the length of `data`. */
  readonly dims: readonly number[];
  /** The elements. */
  readonly data: TensorData;
}

/**
 * One sample: the model's inputs by name, each without the axis that counts samples, or whole where
 * it has none (or one of length 1).
 */
export interface Sample {
  /** The model's inputs by name. */
  readonly inputs: Record<string, TensorValue>;
  /** The 0-based class, if known. */
  readonly label?: number;
  /** Where it comes from, for messages: a file's path within its folder, or `array[index]`. */
  readonly source: string;
}

/** Something that was left out or ignored while samples were read. */
export interface SampleWarning {
  /** The file or the array that it is about. */
  readonly source: string;
  /** What is wrong with it, one sentence. */
  readonly message: string;
}

/** Samples that can be iterated any number of times, with the same result. */
export interface SampleSet {
  /** Number of samples; where files turn out to be unreadable, `samples()` gives fewer. */
  readonly count: number;
  /** What was left out so far, each file once; complete when `samples()` has been iterated. */
  readonly warnings: readonly SampleWarning[];
  /**
   * Starts a pass over the samples, always in the same order.
   *
   * The pass fails with `AttuneError` `bad-data` if a sample does not fit the model or none can be
   * read, and with `aborted` if the signal fires.
   */
  samples(): AsyncIterable<Sample>;
}

/** A shape for people, as in `N×3×224×224`. */
export function formatDims(dims: readonly (number | string)[]): string {
  return dims.length === 0 ? "scalar" : dims.join("×");
}

/** The shape that `spec` wants, for people. */
export function formatSpec(spec: InputSpec): string {
  return spec.unranked ? "any shape" : formatDims(spec.dims);
}

/** Whether `dims` is a shape of the whole of `declared`. */
function matches(dims: readonly number[], declared: InputSpec["dims"]): boolean {
  return dims.length === declared.length &&
    declared.every((want, axis) => typeof want === "string" || want === dims[axis]);
}

/** Whether a value of shape `dims` is the whole input `spec`. */
export function isWhole(dims: readonly number[], spec: InputSpec): boolean {
  return spec.unranked === true || matches(dims, spec.dims);
}

/**
 * The axes of `spec` that may count samples of shape `dims`, the likeliest first: with such an axis
 * put in they make up the input. In a sample that is the whole input it has length 1.
 */
export function axesFor(dims: readonly number[], spec: InputSpec): number[] {
  if (spec.unranked) return [spec.batchAxis ?? 0];
  const axes = spec.dims.flatMap((size, axis) => {
    if (
      spec.batchAxis !== undefined ? axis !== spec.batchAxis : axis > 0 && typeof size === "number"
    ) {
      return [];
    }
    const rest = spec.dims.toSpliced(axis, 1);
    if (matches(dims, spec.dims)) return dims[axis] === 1 ? [axis] : [];
    return matches(dims, rest) ? [axis] : [];
  });
  // A free axis rather than a first one of fixed length, as the second of a state of 2×N×8.
  const isFirst = (axis: number) => axis === 0 && Number(spec.dims[0]) > 1;
  return axes.sort((a, b) => Number(isFirst(a)) - Number(isFirst(b)));
}

/** Whether a sample of shape `dims` is one that `spec` accepts. */
export function fitsInput(dims: readonly number[], spec: InputSpec): boolean {
  return isWhole(dims, spec) || axesFor(dims, spec).length > 0;
}

/**
 * The shapes that a sample may have, for people: without the axis that counts samples, and whole.
 */
export function sampleShapes(spec: InputSpec): string {
  const whole = formatDims(spec.dims), axis = spec.batchAxis ?? 0;
  if (spec.dims.length === 0) return whole;
  return `${formatDims(spec.dims.toSpliced(axis, 1))} (or ${whole} for a whole input)`;
}

/** The typed array that carries each element type. */
export const arrayConstructors: Record<
  ElementType,
  { new (source: ArrayBuffer | number): TensorData; readonly name: string }
> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/**
 * The typed array for `input`.
 *
 * @throws {AttuneError} `bad-data` where the model declares a type that no array holds, as
 * bfloat16.
 */
export function arrayFor({ name, type }: InputSpec): (typeof arrayConstructors)[ElementType] {
  if (Object.hasOwn(arrayConstructors, type)) return arrayConstructors[type];
  throw new AttuneError(
    "bad-data",
    `Cannot feed input "${name}": the model wants ${type}, which no array holds; export it with ` +
      `inputs of float32, integers or bool`,
  );
}

/** The position of the first element that is NaN or infinite; −1 where all are finite. */
function findNotFinite(data: TensorData, type: ElementType): number {
  // The exponent of a float16 that is not finite has all bits set.
  if (type === "float16") return data.findIndex((bits) => (Number(bits) & 0x7c00) === 0x7c00);
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return -1;
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}

/**
 * Checks a sample against the inputs of the model and gives it back.
 *
 * Throws `AttuneError` `bad-data` where an input is missing, unknown to the model, has another
 * shape or element type than the model wants, or an element that is not finite.
 *
 * @example
 * ```ts
 * import { checkSample } from "./sample.ts";
 *
 * const inputs = [{ name: "x", dims: ["N", 2], type: "float32" }] as const;
 * checkSample({ inputs: { x: { dims: [2], data: new Float32Array(2) } }, source: "mine" }, inputs);
 * ```
 */
export function checkSample(sample: Sample, inputs: readonly InputSpec[]): Sample {
  checkShapes(sample, inputs);
  for (const spec of inputs) {
    const { data } = sample.inputs[spec.name], broken = findNotFinite(data, spec.type);
    if (broken < 0) continue;
    const element = spec.type === "float16" ? "not finite" : data[broken];
    throw new AttuneError(
      "bad-data",
      `Cannot use sample "${sample.source}": element ${broken} of input "${spec.name}" is ` +
        `${element}; leave the sample out, or mend it`,
    );
  }
  return sample;
}

/** {@linkcode checkSample} for values that are known to be finite. */
export function checkShapes(sample: Sample, inputs: readonly InputSpec[]): Sample {
  const where = `sample "${sample.source}"`;
  for (const name of Object.keys(sample.inputs)) {
    if (!inputs.some((spec) => spec.name === name)) {
      const names = inputs.map((spec) => `"${spec.name}"`).join(", ");
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: the model has no input "${name}", name it one of ${names}`,
      );
    }
  }
  for (const spec of inputs) {
    const value = sample.inputs[spec.name];
    const wants = `the model wants ${formatSpec(spec)} ${spec.type} at input "${spec.name}"`;
    if (value === undefined) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has none; add it`,
      );
    }
    if (!fitsInput(value.dims, spec)) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has ${formatDims(value.dims)}; give it the ` +
          `shape ${sampleShapes(spec)}`,
      );
    }
    const length = value.dims.reduce((product, dim) => product * dim, 1);
    const arrayType = arrayFor(spec);
    if (!(value.data instanceof arrayType) || value.data.length !== length) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has a ${value.data.constructor.name} of ` +
          `${value.data.length} elements; give it a ${arrayType.name} of ${length}`,
      );
    }
  }
  return sample;
}
