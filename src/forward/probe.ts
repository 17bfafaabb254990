/**
 * Finds out along which axes of a model samples lie. Its declared shapes leave a few possibilities;
 * the first that a probe bears out is taken: samples that run together must give what they give
 * alone. Where none is borne out, samples run one at a time.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { sizeOf } from "../onnx/tensor.ts";
import type { Value } from "../runtime/session.ts";
import { type BatchAxis, withBatchAxis } from "../samples/batch_axis.ts";
import { axesFor, formatSpec, isWhole, type Sample, type TensorValue } from "../samples/sample.ts";
import { samplesOf, type SampleSource } from "../samples/to_sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import { type Batching, joinSamples, sameElements, sliceAlong, stackSamples } from "./batching.ts";
import type { Batch } from "../engine/spool.ts";

/** Σ d² / Σ y² up to which two runs say the same: sums in another order, many layers deep. */
const SAME = 1e-5;

/** What a caller may know about how samples are run. */
export interface BatchingOptions {
  /**
   * Samples in a run, at most; 1 takes the whole of what the model declares as one sample. Default:
   * found.
   */
  readonly batch?: number;
  /** The axis that counts samples. Default: found by a probe. */
  readonly batchAxis?: BatchAxis;
}

/** Samples, and how they are run. */
export interface Batched {
  /** How they are run. */
  readonly batching: Batching;
  /** All of them, checked; rows that make up one sample only together are joined. */
  readonly samples: AsyncGenerator<Sample>;
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** Axes that may count samples, and how many the model takes then, where it fixes that. */
interface Candidate {
  readonly axes: ReadonlyMap<string, number>;
  readonly size: number | undefined;
}

/**
 * Finds how `samples` become runs of a model with `inputs` and `outputs`.
 *
 * @param run runs the model on inputs of any shape, and fails with an `AttuneError` where it
 * cannot.
 * @throws {AttuneError} `bad-data` where a sample does not fit the inputs; `bad-option` where the
 * axis that the caller names does not exist.
 */
export async function findBatching(
  model: { readonly inputs: readonly InputSpec[]; readonly outputs: readonly string[] },
  samples: SampleSource,
  run: (batch: Batch) => Promise<Batch>,
  { batch, batchAxis }: BatchingOptions = {},
): Promise<Batched> {
  const inputs = withBatchAxis(model.inputs, batchAxis);
  const probe = new Probe(inputs, model.outputs, run);
  const source = new Ahead(samplesOf(samples, inputs));
  const [first] = await source.see(1);
  const warnings: string[] = [];
  const arrangement = first === undefined
    ? { axes: new Map(), outputs: new Map(), size: 1 }
    : await probe.find(source, first, batch === 1);
  const { axes, outputs, size, rows, warning } = arrangement as Arrangement;
  const batching = { inputs, axes, outputs, size };
  if (warning !== undefined) warnings.push(warning);
  if (rows === undefined) return { batching, samples: source.rest(), warnings };
  // Who says that samples run one at a time need not be told.
  if (batch === 1) {
    return { batching, samples: joined(source.rest(), { ...batching, ...rows }), warnings };
  }
  const names = [...rows.axes.keys()].map((name) => `"${name}"`).join(", ");
  warnings.push(
    `${rows.size} rows of the samples in turn are taken as one whole input ${names}, since the ` +
      `model does not treat them as a batch`,
  );
  return { batching, samples: joined(source.rest(), { ...batching, ...rows }), warnings };
}

/** How samples are run; `rows` of them make up one, where they do so only together. */
interface Arrangement extends Omit<Batching, "inputs"> {
  readonly rows?: Candidate;
  readonly warning?: string;
}

/** Says that samples do not lie along `likeliest` but along `chosen`. */
function describe(likeliest: Candidate, chosen: Candidate): string {
  const places = ({ axes }: Candidate) =>
    [...axes].map(([name, axis]) => `axis ${axis} of "${name}"`).join(", ");
  return `samples are taken to lie along ${places(chosen)}: along ${places(likeliest)} they ` +
    `would change what the others give; if neither is right, name the axis`;
}

/** Bytes that a batch may take. */
const MOST_BYTES = 2 ** 30;

/**
 * Refuses a batch of `size` samples like `first` that would not fit into memory, before it is made.
 */
function checkRoom({ inputs }: Sample, size: number): void {
  const bytes = Object.values(inputs).reduce((sum, { data }) => sum + data.byteLength, 0);
  // Samples of nothing take something, too.
  const each = Math.max(64, bytes);
  if (size * each <= MOST_BYTES) return;
  throw new AttuneError(
    "too-large",
    `Cannot make a batch of ${size} samples, as the model declares: it takes ${
      size * each
    } bytes, ` +
      `at most ${MOST_BYTES} are made; export the model with an open batch`,
  );
}

const ONE_AT_A_TIME = { axes: new Map(), outputs: new Map(), size: 1 } as const;

class Probe {
  readonly #inputs: readonly InputSpec[];
  readonly #outputs: readonly string[];
  readonly #run: (batch: Batch) => Promise<Batch>;

  constructor(
    inputs: readonly InputSpec[],
    outputs: readonly string[],
    run: (batch: Batch) => Promise<Batch>,
  ) {
    this.#inputs = inputs;
    this.#outputs = outputs;
    this.#run = run;
  }

  async find(source: Ahead, first: Sample, single: boolean): Promise<Arrangement> {
    const candidates = this.#candidates(first);
    const [likeliest] = candidates;
    if (likeliest === undefined) return ONE_AT_A_TIME;
    for (const candidate of candidates) {
      const { axes, size } = candidate;
      if (size === 1) return { ...ONE_AT_A_TIME, axes };
      const sure = this.#inputs.some(({ batchAxis }) => batchAxis !== undefined);
      if (single) break;
      if (size === undefined) {
        const [, second] = await source.see(2);
        // One sample alone needs no axis that counts them.
        if (second === undefined) break;
        const outputs = await this.#together(axes, first, second);
        const warning = candidate === likeliest ? undefined : describe(likeliest, candidate);
        if (outputs) return { axes, outputs, size, warning };
      } else {
        checkRoom(first, size);
        const rows = await source.see(size);
        while (rows.length < size) rows.push(rows[rows.length - 1]);
        const outputs = await this.#independent(candidate, rows);
        if (outputs) return { axes, outputs, size };
        if (sure) return { axes, outputs: new Map(), size };
      }
    }
    if (this.#inputs.some(({ unranked }) => unranked)) {
      const alone = await this.#try(
        stackSamples({ inputs: this.#inputs, axes: new Map() }, [first]),
      );
      return alone ? ONE_AT_A_TIME : { ...ONE_AT_A_TIME, axes: likeliest.axes };
    }
    return likeliest.size === undefined
      ? { ...ONE_AT_A_TIME, axes: likeliest.axes }
      : { ...ONE_AT_A_TIME, rows: likeliest };
  }

  /** What the declared shapes leave open, the likeliest first. */
  #candidates(sample: Sample): Candidate[] {
    const fitting = (spec: InputSpec) => axesFor(sample.inputs[spec.name].dims, spec);
    const lead = this.#inputs.find((spec) => fitting(spec).length > 0);
    if (lead === undefined) return [];
    const candidates = fitting(lead).map((axis) => {
      const shared = lead.dims[axis], axes = new Map<string, number>();
      let named = 0;
      for (const spec of this.#inputs) {
        const choices = fitting(spec), same = choices.find((k) => spec.dims[k] === shared);
        const whole = isWhole(sample.inputs[spec.name].dims, spec);
        if (spec === lead) axes.set(spec.name, axis);
        else if (same !== undefined) axes.set(spec.name, same);
        else if (choices.length > 0 && !whole) axes.set(spec.name, choices[0]);
        named += Number(same !== undefined);
      }
      const sizes = new Set(this.#inputs.flatMap(({ name, dims }) => {
        const size = dims[axes.get(name) ?? -1];
        return typeof size === "number" ? [size] : [];
      }));
      return { axes, sizes, named };
    });
    const possible = candidates.filter(({ sizes }) => sizes.size <= 1);
    if (possible.length === 0) {
      const wants = this.#inputs.map((spec) => `"${spec.name}" ${formatSpec(spec)}`).join(", ");
      throw new AttuneError(
        "bad-data",
        `Cannot use sample "${sample.source}": the model takes another number of samples at each ` +
          `of its inputs (${wants}); give whole inputs`,
      );
    }
    return possible.sort((a, b) => b.named - a.named)
      .map(({ axes, sizes: [size] }) => ({ axes, size }));
  }

  /** The outputs' axes, if two samples that run together give what they give alone. */
  async #together(
    axes: ReadonlyMap<string, number>,
    first: Sample,
    second: Sample,
  ): Promise<Map<string, number> | undefined> {
    const stacked = (samples: Sample[]) => stackSamples({ inputs: this.#inputs, axes }, samples);
    const other = this.#other(axes, first, second);
    const one = await this.#try(stacked([first]));
    const two = one && await this.#try(stacked([other]));
    const both = two && await this.#try(stacked([first, other]));
    if (!one || !two || !both) return undefined;
    const outputs = new Map<string, number>();
    for (const name of this.#outputs) {
      const [a, b, ab] = [one[name], two[name], both[name]];
      if (!isTensor(a) || !isTensor(b) || !isTensor(ab)) continue;
      const axis = ab.dims.findIndex((size, k) =>
        size === a.dims[k] + b.dims[k] && sameShape(a, b, k) && sameShape(a, ab, k) &&
        sameValues(sliceAlong(ab, k, 0, a.dims[k]), a.data) &&
        sameValues(sliceAlong(ab, k, a.dims[k], size), b.data)
      );
      if (axis >= 0) outputs.set(name, axis);
      // What does not depend on samples, as a scale that was learned, says nothing.
      else if (!sameOutput(a, b) || !sameOutput(a, ab)) return undefined;
    }
    return outputs;
  }

  /** The outputs' axes, if changing some of `rows` changes no output of the others. */
  async #independent(
    { axes, size }: Candidate,
    rows: readonly Sample[],
  ): Promise<Map<string, number> | undefined> {
    const count = size!, changed = Math.floor(count / 2);
    const others = rows.map((row, i) => i < changed ? this.#changed(axes, row) : row);
    const stacked = (samples: readonly Sample[]) =>
      stackSamples({ inputs: this.#inputs, axes }, samples);
    const before = await this.#try(stacked(rows)), after = await this.#try(stacked(others));
    if (!before || !after) return undefined;
    const outputs = new Map<string, number>();
    for (const name of this.#outputs) {
      const a = before[name], b = after[name];
      if (!isTensor(a) || !isTensor(b)) continue;
      const axis = a.dims.findIndex((length, k) => {
        const from = length / count * changed;
        return length > 0 && length % count === 0 && sameShape(a, b) &&
          sameValues(sliceAlong(a, k, from, length), sliceAlong(b, k, from, length));
      });
      if (axis >= 0) outputs.set(name, axis);
      else if (!sameOutput(a, b)) return undefined;
    }
    return outputs;
  }

  /** A sample beside `first` that differs from it: `second`, where it has the same shape. */
  #other(axes: ReadonlyMap<string, number>, first: Sample, second: Sample): Sample {
    const shared = this.#inputs.filter(({ name }) => !axes.has(name)).map(({ name }) =>
      [name, first.inputs[name]] as const
    );
    const like = this.#inputs.every(({ name }) =>
      first.inputs[name].dims.join() === second.inputs[name].dims.join()
    );
    const differs = [...axes.keys()].some((name) =>
      like && !sameElements(first.inputs[name], second.inputs[name])
    );
    if (!differs) return this.#changed(axes, first);
    return { ...second, inputs: { ...second.inputs, ...Object.fromEntries(shared) } };
  }

  /** `sample` with other values, as lawful as its own, where `axes` has its inputs. */
  #changed(axes: ReadonlyMap<string, number>, sample: Sample): Sample {
    const inputs = this.#inputs.map(({ name, type }): [string, TensorValue] => {
      const { dims, data } = sample.inputs[name];
      if (!axes.has(name)) return [name, { dims, data }];
      const turned = data.slice().reverse() as typeof data;
      if (type !== "float32" && type !== "float64") return [name, { dims, data: turned }];
      return [name, { dims, data: (turned as Float32Array).map((value) => value / 2 + 0.25) }];
    });
    return { ...sample, inputs: Object.fromEntries(inputs) };
  }

  /** What the model says to `batch`; undefined where it cannot run it. */
  async #try(batch: Batch): Promise<Batch | undefined> {
    try {
      return await this.#run(batch);
    } catch (error) {
      if (error instanceof AttuneError && error.code === "bad-model") return undefined;
      throw error;
    }
  }
}

/** Whether an output is a tensor, not a sequence or a map. */
function isTensor(value: Value | undefined): value is Value {
  return value?.data !== undefined && value.dims !== undefined;
}

/** Whether two values have the same shape, `except` for one axis. */
function sameShape(a: Value, b: Value, except = -1): boolean {
  return a.dims.length === b.dims.length &&
    a.dims.every((size, axis) => axis === except || size === b.dims[axis]);
}

function sameOutput(a: Value, b: Value): boolean {
  return sizeOf(a.dims) === sizeOf(b.dims) && sameShape(a, b) && sameValues(a.data, b.data);
}

/** Whether two lists say the same, but for rounding. */
function sameValues(actual: ArrayLike<unknown>, expected: ArrayLike<unknown>): boolean {
  let error = 0, power = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = Number(actual[i]), b = Number(expected[i]);
    if (Object.is(a, b)) continue;
    if (!Number.isFinite(a) || !Number.isFinite(b)) return false;
    error += (a - b) ** 2;
  }
  if (error === 0) return true;
  for (let i = 0; i < expected.length; i++) {
    const b = Number(expected[i]);
    if (Number.isFinite(b)) power += b * b;
  }
  return error <= SAME * power;
}

/** Samples of which the first can be seen ahead of time. */
class Ahead {
  readonly #samples: AsyncGenerator<Sample>;
  readonly #seen: Sample[] = [];

  constructor(samples: AsyncGenerator<Sample>) {
    this.#samples = samples;
  }

  /** The first `count` samples, or as many as there are. */
  async see(count: number): Promise<Sample[]> {
    while (this.#seen.length < count) {
      const { done, value } = await this.#samples.next();
      if (done) break;
      this.#seen.push(value);
    }
    return this.#seen.slice(0, count);
  }

  /** All samples, those that were seen among them. */
  async *rest(): AsyncGenerator<Sample> {
    try {
      yield* this.#seen.splice(0);
      yield* this.#samples;
    } finally {
      await this.#samples.return(undefined);
    }
  }
}

/** Samples of which each is made of as many of `rows` as the model takes. */
async function* joined(
  rows: AsyncGenerator<Sample>,
  { inputs, axes, size }: Batching,
): AsyncGenerator<Sample> {
  let pending: Sample[] = [];
  for await (const row of rows) {
    pending.push(row);
    if (pending.length < size!) continue;
    yield joinSamples({ inputs, axes }, pending);
    pending = [];
  }
  if (pending.length === 0) return;
  throw new AttuneError(
    "bad-data",
    `Cannot make whole inputs of the samples: ${size} rows make up one, and ${pending.length} are ` +
      `left over at "${pending[0].source}"; give a multiple of ${size}`,
  );
}
