/**
 * Arrays as samples: the first axis counts the samples, the others are the model's input, whole or
 * without the axis that counts samples in it. Where that one is first and of fixed length, rows may
 * have to stay together, so that they do.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { canConvert, convertElements, kindOf } from "./convert.ts";
import { decodeElements, maxNpyHeader, type NpyHeader, parseNpy, parseNpyHeader } from "./npy.ts";
import {
  arrayFor,
  axesFor,
  checkSample,
  fitsInput,
  formatDims,
  formatSpec,
  type Sample,
  type SampleSet,
  sampleShapes,
  type SampleWarning,
} from "./sample.ts";
import type { InputSpec } from "../onnx/inputs.ts";
import type { TensorData, TensorValue } from "./sample.ts";
import type { ElementType } from "../onnx/inputs.ts";
import { chooseSpread } from "./sampling.ts";

/** How to read arrays. */
export interface ArrayOptions {
  /** The model's inputs. */
  readonly inputs: readonly InputSpec[];
  /** The bytes of a .npy file with one 0-based class per sample. Default: none. */
  readonly labels?: Blob;
  /** Take at most this many samples, spread evenly over the first axis. Default: all. */
  readonly limit?: number;
  /** Seed of that choice. Default: 0. */
  readonly seed?: number;
  /** Called for what is left out, once. Default: none. */
  readonly onWarning?: (warning: SampleWarning) => void;
  /** Stops the reading. Default: none. */
  readonly signal?: AbortSignal;
}

/** An array of samples that gives them one by one. */
interface Rows {
  readonly dims: readonly number[];
  readonly type: ElementType;
  /** Reads `count` rows, from row `index` on. */
  read(index: number, count: number): Promise<TensorData>;
}

/**
 * Opens a .npy file for a model with one input. In C order the file is read sample by sample, so it
 * may be larger than memory. float16 and float64 are turned to the model's float32, and integers to
 * its integer type, if they fit. `source` names the file in errors.
 *
 * Throws `AttuneError` `bad-data` if it cannot be read or does not fit the model.
 */
export async function openNpy(
  file: Blob,
  source: string,
  options: ArrayOptions,
): Promise<SampleSet> {
  if (options.inputs.length !== 1) {
    const names = options.inputs.map((input) => `"${input.name}"`).join(", ");
    throw new AttuneError(
      "bad-data",
      `Cannot feed "${source}": the model has ${options.inputs.length} inputs (${names}), ` +
        `a .npy file holds one array; save all of them by name with numpy.savez`,
    );
  }
  const rows = new Map([[options.inputs[0].name, await openRows(file, source)]]);
  const labels = options.labels && readLabels(await bytesOf(options.labels), "labels");
  return samplesOf(rows, labels, source, options);
}

/**
 * Opens a .npz file: each array is the input of its name, an array named `label` or `labels` that
 * is no input gives the labels. If there is one other array and one input, the names need not
 * match. `source` names the file in errors.
 *
 * Throws `AttuneError` `bad-data` if it cannot be read or does not fit the model.
 */
export async function openNpz(
  file: Blob,
  source: string,
  options: ArrayOptions,
): Promise<SampleSet> {
  // Pages that are given no .npz need not load what unpacks one.
  const { openZip } = await import("./npz.ts");
  const zip = await openZip(file, source), { inputs } = options;
  const isInput = (name: string) => inputs.some((input) => input.name === name);
  const isLabels = (name: string) => /^labels?$/.test(name) && !isInput(name);
  let labels = options.labels && readLabels(await bytesOf(options.labels), "labels");
  const named = zip.names.find(isLabels);
  if (named !== undefined) labels ??= readLabels(await zip.unpack(named), `${source}/${named}`);
  const arrays = zip.names.filter((name) => !isLabels(name));
  const open = async (name: string) =>
    await openRows(new Blob([await zip.unpack(name)]), `${source}/${name}`);
  if (arrays.length === 1 && inputs.length === 1) {
    return samplesOf(new Map([[inputs[0].name, await open(arrays[0])]]), labels, source, options);
  }
  const rows = new Map<string, Rows>();
  checkNames(arrays, inputs, source);
  for (const { name } of inputs) rows.set(name, await open(name));
  const unused = arrays.filter((name) => !isInput(name));
  const set = samplesOf(rows, labels, source, options);
  if (unused.length === 0) return set;
  const message = `no input of the model that has to be fed is called ${formatNames(unused)}`;
  const warning = { source: `an array of ${source}`, message };
  options.onWarning?.(warning);
  return { ...set, warnings: [warning] };
}

function samplesOf(
  arrays: ReadonlyMap<string, Rows>,
  labels: readonly number[] | undefined,
  source: string,
  options: ArrayOptions,
): SampleSet {
  const { inputs, limit = Infinity, seed = 0, signal } = options;
  const used = inputs.map((input) => ({ input, rows: arrays.get(input.name)! }));
  for (const { input, rows } of used) checkRows(rows, input, source);
  const { count, shares } = countsOf(used, labels, source);
  if (count === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find samples in "${source}": its first axis is empty`,
    );
  }
  if (labels !== undefined && labels.length !== count) {
    throw new AttuneError(
      "bad-data",
      `Cannot label "${source}": it has ${count} samples and ${labels.length} labels; ` +
        `give one label for each sample`,
    );
  }
  const together = Math.max(
    1,
    ...used.map(({ rows, input }, i) => shares[i] > 1 ? 1 : togetherOf(rows, input)),
  );
  const chosen = chooseTogether(count, limit, seed, together);

  async function* samples(): AsyncGenerator<Sample> {
    for (const index of chosen) {
      checkAborted(signal);
      const where = `${source}[${index}]`;
      const values: Record<string, TensorValue> = {};
      for (const [i, { input, rows }] of used.entries()) {
        const share = shares[i], rest = rows.dims.slice(1);
        const read = await rows.read(index * share, share);
        const data = convertElements(read, rows.type, input.type, where);
        values[input.name] = { dims: share === 1 ? rest : [share, ...rest], data };
      }
      yield checkSample({ inputs: values, label: labels?.[index], source: where }, inputs);
    }
  }
  return { count: chosen.length, warnings: [], samples };
}

/** Refuses a file with arrays `names` that lacks one for an input. */
function checkNames(names: readonly string[], inputs: readonly InputSpec[], source: string): void {
  const missing = inputs.find((input) => !names.includes(input.name));
  if (missing === undefined) return;
  throw new AttuneError(
    "bad-data",
    `Cannot feed "${source}": the model wants ${formatSpec(missing)} ${missing.type} at input ` +
      `"${missing.name}", the file has ${
        formatNames(names)
      }; save the array under the input's name`,
  );
}

function formatNames(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ") || "no array";
}

/** An array for an input. */
interface Used {
  readonly input: InputSpec;
  readonly rows: Rows;
}

/**
 * How many rows in turn may make up a whole input: those that a first axis of fixed length takes.
 */
function togetherOf(rows: Rows, input: InputSpec): number {
  const dims = rows.dims.slice(1), [length] = input.dims;
  const isRow = dims.length < input.dims.length && axesFor(dims, input)[0] === 0;
  return isRow && typeof length === "number" ? length : 1;
}

/**
 * The number of samples that all arrays (and labels) have, and how many rows of each make up one.
 */
function countsOf(
  used: readonly Used[],
  labels: readonly number[] | undefined,
  source: string,
): { count: number; shares: number[] } {
  const possible = used.map(({ input, rows }) => {
    const together = togetherOf(rows, input), [length] = rows.dims;
    return together > 1 && length % together === 0
      ? [{ count: length, share: 1 }, { count: length / together, share: together }]
      : [{ count: length, share: 1 }];
  });
  const shared = (count: number) =>
    possible.map((ways) => ways.find((way) => way.count === count)?.share);
  const counts = possible[0]?.map(({ count }) => count) ?? [0];
  const fitting = counts.filter((count) => shared(count).every((share) => share !== undefined));
  if (fitting.length > 0) {
    const count = fitting.find((count) => labels?.length === count) ?? fitting[0];
    return { count, shares: shared(count) as number[] };
  }
  const other = used.findIndex(({ rows }) => rows.dims[0] !== used[0].rows.dims[0]);
  throw new AttuneError(
    "bad-data",
    `Cannot feed "${source}": "${used[other].input.name}" has ${
      used[other].rows.dims[0]
    } samples ` +
      `and "${used[0].input.name}" has ${
        used[0].rows.dims[0]
      }; give all arrays the same first axis`,
  );
}

/**
 * Chooses `limit` of `count` samples as `chooseSpread` does, in stretches of `together` neighbours.
 */
function chooseTogether(count: number, limit: number, seed: number, together: number): number[] {
  if (together === 1 || limit >= count) return chooseSpread(count, limit, seed);
  const stretches = chooseSpread(Math.floor(count / together), Math.ceil(limit / together), seed);
  return stretches.flatMap((at) => Array.from({ length: together }, (_, i) => at * together + i));
}

/** Opens one array; in C order each sample is read when it is asked for. */
async function openRows(file: Blob, source: string): Promise<Rows> {
  const head = await bytesOf(file.slice(0, maxNpyHeader));
  const header: NpyHeader = parseNpyHeader(head, file.size, source);
  const { dims, type, elementSize, dataOffset, fortranOrder } = header;
  if (dims.length === 0) {
    throw new AttuneError(
      "bad-data",
      `Cannot find samples in "${source}": it is a single number; its first axis must count samples`,
    );
  }
  const length = dims.slice(1).reduce((product, dim) => product * dim, 1);
  if (fortranOrder) {
    const { data } = parseNpy(await bytesOf(file), source);
    return {
      dims,
      type,
      read: (index, count) => Promise.resolve(data.slice(index * length, (index + count) * length)),
    };
  }
  const rowSize = length * elementSize;
  return {
    dims,
    type,
    async read(index, count) {
      const start = dataOffset + index * rowSize;
      return decodeElements(await bytesOf(file.slice(start, start + count * rowSize)), header);
    },
  };
}

/** Refuses an array whose samples do not fit the input or cannot be converted to its type. */
function checkRows(rows: Rows, input: InputSpec, source: string): void {
  const wants = `the model wants ${formatSpec(input)} ${input.type} at input "${input.name}"`;
  arrayFor(input);
  if (!fitsInput(rows.dims.slice(1), input)) {
    throw new AttuneError(
      "bad-data",
      `Cannot feed "${source}": ${wants}, the array has ${formatDims(rows.dims)}; the first axis ` +
        `counts the samples, the others must be ${sampleShapes(input)}`,
    );
  }
  if (!canConvert(rows.type, input.type)) {
    throw new AttuneError(
      "bad-data",
      `Cannot feed "${source}": ${wants}, the array has ${rows.type}; save it as ${input.type}, ` +
        `preprocessed as the model expects`,
    );
  }
}

/** Labels from the bytes of a .npy file of integers with one axis. */
function readLabels(bytes: Uint8Array, source: string): number[] {
  const { type, dims, data } = parseNpy(bytes, source);
  const labels = Array.from(data as ArrayLike<number | bigint>, Number);
  if (kindOf(type) !== "integer" || dims.length !== 1 || labels.some((label) => label < 0)) {
    throw new AttuneError(
      "bad-data",
      `Cannot read labels from "${source}": it has ${formatDims(dims)} ${type}; ` +
        `give one integer from 0 for each sample`,
    );
  }
  return labels;
}

async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await blob.arrayBuffer());
}
