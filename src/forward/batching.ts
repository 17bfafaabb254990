/**
 * How samples become runs of a model, and its outputs those of single samples again.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { numbersOf } from "../graph/constant_values.ts";
import { DataType, sizeOf, type TypedArray } from "../onnx/tensor.ts";
import type { Value } from "../runtime/session.ts";
import type { Sample, TensorValue } from "../samples/sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import type { Batch } from "../engine/spool.ts";

/** How samples become runs of a model: found once, when the first of them are read. */
export interface Batching {
  /** The model's inputs. */
  readonly inputs: readonly InputSpec[];
  /** By input, the axis that counts samples. One that is missing is the same for all of a run. */
  readonly axes: ReadonlyMap<string, number>;
  /** By output, the axis that counts samples. One that is missing is not told apart by samples. */
  readonly outputs: ReadonlyMap<string, number>;
  /**
   * Samples of every run, where the model decides it: 1 for one at a time. Undefined: any number.
   */
  readonly size: number | undefined;
}

/** Whether samples can be picked out of a run along the first axis of every input, or are runs. */
export function isApart({ inputs, axes, size }: Batching): boolean {
  return size === 1 || inputs.every(({ name }) => axes.get(name) === 0);
}

/** The shape of one sample of `spec` without the axis that counts samples. */
function rowDims(dims: readonly number[], spec: InputSpec, axis: number): readonly number[] {
  const whole = !spec.unranked && dims.length === spec.dims.length;
  return whole ? dims.toSpliced(axis, 1) : dims;
}

/** The inputs of one run on `samples`, which go together as {@linkcode Runs} has them. */
export function stackSamples(
  { inputs, axes }: Pick<Batching, "inputs" | "axes">,
  samples: readonly Sample[],
): Batch {
  return Object.fromEntries(inputs.map((spec) => {
    const { name, type } = spec, axis = axes.get(name);
    const values = samples.map((sample) => sample.inputs[name]);
    const [first] = values;
    if (axis === undefined) {
      return [name, { type, dims: first.dims, data: first.data as TypedArray }];
    }
    const dims = rowDims(first.dims, spec, axis), count = values.length;
    const inner = sizeOf(dims.slice(axis)), outer = sizeOf(dims.slice(0, axis));
    const ArrayType = first.data.constructor as new (length: number) => TypedArray;
    const data = new ArrayType(outer * count * inner);
    values.forEach((value, i) => {
      for (let o = 0; o < outer; o++) {
        const part = value.data.subarray(o * inner, (o + 1) * inner);
        data.set(part as never, (o * count + i) * inner);
      }
    });
    return [name, { type, dims: dims.toSpliced(axis, 0, count), data }];
  }));
}

/** The samples of `rows` as one that is the whole of every input. */
export function joinSamples(batching: Pick<Batching, "inputs" | "axes">, rows: readonly Sample[]) {
  const stacked = stackSamples(batching, rows);
  const inputs = Object.fromEntries(
    Object.entries(stacked).map(([name, { dims, data }]) => [name, { dims, data } as TensorValue]),
  );
  return { ...rows[0], inputs };
}

/** The elements of `value` from `from` to `to` along `axis`, in row-major order. */
export function sliceAlong(value: Value, axis: number, from: number, to: number): Float32Array {
  const { dims, data } = value, size = dims[axis];
  const inner = sizeOf(dims.slice(axis + 1)), outer = sizeOf(dims.slice(0, axis));
  const width = (to - from) * inner;
  if (outer === 1 && data instanceof Float32Array) return data.subarray(from * inner, to * inner);
  const slice = new Float32Array(outer * width);
  for (let o = 0, at = 0; o < outer; o++) {
    const start = (o * size + from) * inner;
    for (let i = 0; i < width; i++) slice[at++] = Number(data[start + i]);
  }
  return slice;
}

/**
 * What the output `name` of a run on `count` samples says to each; all to each where it has no
 * axis.
 */
export function rowsOf(
  { outputs, size }: Batching,
  name: string,
  output: Value,
  count: number,
): Float32Array[] {
  // A runtime hands 16-bit floats over as their bits.
  const value = output.type === "float16"
    ? { ...output, data: numbersOf({ ...output, type: DataType.FLOAT16 }) as Float32Array }
    : output;
  const axis = size === 1 ? undefined : outputs.get(name);
  if (axis === undefined || value.dims[axis] % count !== 0) {
    const whole = Float32Array.from(value.data as Iterable<number>, Number);
    return Array.from({ length: count }, () => whole);
  }
  const width = value.dims[axis] / count;
  return Array.from(
    { length: count },
    (_, i) => sliceAlong(value, axis, i * width, (i + 1) * width),
  );
}

/**
 * Whether `sample` can be of one run with `first`: same shapes, and the same of what a run has
 * once.
 */
function goesWith({ inputs, axes }: Batching, first: Sample, sample: Sample): boolean {
  return inputs.every(({ name }) => {
    const a = first.inputs[name], b = sample.inputs[name];
    if (a.dims.join() !== b.dims.join()) return false;
    return axes.has(name) || sameElements(a, b);
  });
}

/** Whether two values of one shape are the same. */
export function sameElements(a: TensorValue, b: TensorValue): boolean {
  for (let i = 0; i < a.data.length; i++) if (a.data[i] !== b.data[i]) return false;
  return true;
}

/** How many times as many samples as a run has wait for others that they go with, at most. */
const MOST_WAITING = 4;

/**
 * Puts samples together in runs of `size`, those that go together: the same order gives the same
 * runs.
 */
export class Runs {
  readonly #batching: Batching;
  readonly #size: number;
  readonly #waiting: Sample[][] = [];

  /** Runs of `size` samples, or as the model decides. */
  constructor(batching: Batching, size: number) {
    this.#batching = batching;
    this.#size = batching.size ?? size;
  }

  /**
   * Takes `sample`; returns a run that is full now, or one that others have waited for too long.
   */
  add(sample: Sample): Sample[] | undefined {
    const waiting = this.#waiting;
    let run = waiting.find(([first]) => goesWith(this.#batching, first, sample));
    if (run === undefined) waiting.push(run = []);
    run.push(sample);
    if (run.length === this.#size) return waiting.splice(waiting.indexOf(run), 1)[0];
    // A run of fixed size is never fed with less.
    if (this.#batching.size !== undefined) return undefined;
    const count = waiting.reduce((sum, { length }) => sum + length, 0);
    return count > MOST_WAITING * this.#size ? waiting.shift() : undefined;
  }

  /** The samples that still wait. */
  rest(): Sample[][] {
    return this.#waiting.splice(0);
  }
}

/** Refuses samples that are too few for one run. */
export function tooFew(model: string, count: number, { size = 1 }: Batching): AttuneError {
  const because = size > 1 ? `, as many as the model takes in one run` : "";
  return new AttuneError(
    "bad-data",
    `Cannot calibrate ${model} on ${count} samples: give at least ${size}${because}`,
  );
}
