/**
 * Batches of samples, and what a run of the float model tells about its tensors.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import { extract } from "../graph/extract.ts";
import { partition } from "../graph/partition.ts";
import { type DataType, sizeOf, type TypedArray, typeNamed } from "../onnx/tensor.ts";
import type { InputSpec, Sample } from "../samples/sample.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { Batch } from "./spool.ts";

/** Largest activation of a batch, in elements: batches are made as large as fits. */
const BATCH_ELEMENTS = 2 ** 22;
/** Samples in a batch, at most. */
const BATCH_SAMPLES = 32;

/** Shape and element type of a tensor, as seen in a run. */
export interface TensorInfo {
  /** The shape, batch axis included. */
  readonly dims: readonly number[];
  /** The element type. */
  readonly type: DataType;
  /** Bytes of all elements. */
  readonly bytes: number;
}

/** The batch that a model with `inputs` is made for, where it fixes one. */
export function fixedBatch(inputs: readonly InputSpec[]): number | undefined {
  const batch = inputs[0]?.dims[0];
  return typeof batch === "number" ? batch : undefined;
}

/** Stacks samples along a new first axis. */
export function stackSamples(inputs: readonly InputSpec[], samples: readonly Sample[]): Batch {
  return Object.fromEntries(inputs.map(({ name, type }) => {
    const values = samples.map((sample) => {
      const value = sample.inputs[name];
      if (value === undefined) {
        throw new AttuneError(
          "bad-data",
          `Cannot use sample ${sample.source}: it has no value for the model's input "${name}"`,
        );
      }
      return value;
    });
    const [first] = values;
    const { length } = first.data;
    const ArrayType = first.data.constructor as new (length: number) => TypedArray;
    const data = new ArrayType(length * values.length);
    values.forEach((value, i) => {
      if (value.dims.join() !== first.dims.join()) {
        throw new AttuneError(
          "bad-data",
          `Cannot stack sample ${samples[i].source}: its "${name}" has shape [${value.dims}], ` +
            `the one before it [${first.dims}]; give samples of one shape`,
        );
      }
      data.set(value.data as never, i * length);
    });
    return [name, { type, dims: [values.length, ...first.dims], data }];
  }));
}

/** Shape and type of every tensor of the float model, from a run on `example`. */
export async function profile(
  plan: Plan,
  example: Batch,
  pool: EnginePool,
): Promise<ReadonlyMap<string, TensorInfo>> {
  const { graph, model } = plan;
  const [client] = pool.clients, found = new Map<string, TensorInfo>();
  const add = (values: Batch) => {
    for (const [name, { type, dims, data }] of Object.entries(values)) {
      found.set(name, { dims, type: typeNamed(type), bytes: data.byteLength });
    }
  };
  add(example);
  let values = example;
  for (const { start, end, inputs } of partition(graph)) {
    // What no later part reads is forgotten.
    values = Object.fromEntries(inputs.map((name) => [name, values[name]]));
    const types = new Map(inputs.map((name) => [name, found.get(name)!.type]));
    const outputs = graph.nodes.slice(start, end).flatMap(({ output }) => output)
      .filter((name) => name !== "");
    const part = extract(model, { inputs: types, outputs });
    await client.call("open", opening("profile", part, { optimization: "basic" }));
    const computed = await client.call("run", ["profile", values]);
    await client.call("close", []);
    add(computed);
    values = { ...values, ...computed };
  }
  return found;
}

/** How many samples to run at a time, from a run on `samples` of them. */
export function batchSizeFor(
  shapes: ReadonlyMap<string, TensorInfo>,
  samples: number,
): number {
  const largest = Math.max(...[...shapes.values()].map(({ dims }) => sizeOf(dims))) / samples;
  return Math.min(BATCH_SAMPLES, Math.max(1, Math.floor(BATCH_ELEMENTS / largest)));
}

/** A digest of calibration data, to tell later whether two models saw the same: FNV-1a, 2 × 32 bits. */
export class Digest {
  #low = 0x811c9dc5;
  #high = 0x97c29b3a;

  /** Adds the values of `batch`. */
  add(batch: Batch): void {
    for (const { data } of Object.values(batch)) {
      // A word in 16 is enough to tell data sets apart, and costs no time.
      const words = new Uint32Array(data.buffer, data.byteOffset, data.byteLength >> 2);
      for (let i = 0; i < words.length; i += 16) {
        this.#low = Math.imul(this.#low ^ words[i], 0x01000193);
        this.#high = Math.imul(this.#high ^ this.#low, 0x01000193);
      }
    }
  }

  /** The digest so far, 16 hexadecimal digits. */
  get value(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}
