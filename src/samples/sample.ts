/**
 * What a sample is: the inputs of a model for one run, without the batch axis.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";

/** The element types of model inputs that attune can feed, by their onnxruntime names. */
export type ElementType =
  | "float32"
  | "float64"
  | "float16"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool";

/**
 * Elements in row-major order. float16 is carried as its bits in a `Uint16Array`, bool as 0 and 1 in
 * a `Uint8Array`; which one is meant follows from the model's input.
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

/** One sample: the model's inputs by name, without the batch axis. */
export interface Sample {
  /** The model's inputs by name. */
  readonly inputs: Record<string, TensorValue>;
  /** The 0-based class, if known. */
  readonly label?: number;
  /** Where it comes from, for messages: a file's path within its folder, or `array[index]`. */
  readonly source: string;
}

/** Samples one by one. Many can be iterated only once. */
export type SampleSource = AsyncIterable<Sample>;

/** One input of the model, as its graph declares it. */
export interface InputSpec {
  /** The input's name. */
  readonly name: string;
  /** The shape, batch axis first; a free dimension is its symbolic name. */
  readonly dims: readonly (number | string)[];
  /** The element type. */
  readonly type: ElementType;
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
  samples(): SampleSource;
}

/** A shape for people, as in `N×3×224×224`. */
export function formatDims(dims: readonly (number | string)[]): string {
  return dims.length === 0 ? "scalar" : dims.join("×");
}

/** Whether `dims`, a shape without batch axis, is one that `spec` accepts. */
export function fitsInput(dims: readonly number[], spec: InputSpec): boolean {
  const wanted = spec.dims.slice(1);
  return dims.length === wanted.length &&
    wanted.every((want, axis) => typeof want === "string" || want === dims[axis]);
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
 * Checks a sample against the inputs of the model and gives it back.
 *
 * Throws `AttuneError` `bad-data` where an input is missing, unknown to the model, or has another
 * shape or element type than the model wants.
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
  const where = `sample "${sample.source}"`;
  for (const name of Object.keys(sample.inputs)) {
    if (!inputs.some((spec) => spec.name === name)) {
      const known = inputs.map((spec) => `"${spec.name}"`).join(", ");
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: the model has no input "${name}", name it one of ${known}`,
      );
    }
  }
  for (const spec of inputs) {
    const value = sample.inputs[spec.name];
    const wants = `the model wants ${formatDims(spec.dims)} ${spec.type} at input "${spec.name}"`;
    if (value === undefined) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has none; add it`,
      );
    }
    if (!fitsInput(value.dims, spec)) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has ${formatDims(value.dims)} without batch ` +
          `axis; give it the shape ${formatDims(spec.dims.slice(1))}`,
      );
    }
    const length = value.dims.reduce((product, dim) => product * dim, 1);
    const wanted = arrayConstructors[spec.type];
    if (!(value.data instanceof wanted) || value.data.length !== length) {
      throw new AttuneError(
        "bad-data",
        `Cannot use ${where}: ${wants}, the sample has a ${value.data.constructor.name} of ` +
          `${value.data.length} elements; give it a ${wanted.name} of ${length}`,
      );
    }
  }
  return sample;
}
