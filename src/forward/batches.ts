/**
 * What a run of the float model tells about its tensors, and what follows for batches of samples.
 *
 * @module
 */

import type { Plan } from "../plan/plan.ts";
import { extract } from "../graph/extract.ts";
import { partition } from "../graph/partition.ts";
import { type DataType, sizeOf, typeNamed } from "../onnx/tensor.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { Batch } from "../engine/spool.ts";

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

/** Shape and type of every tensor of the float model, from a run on `example`. */
export async function profile(
  plan: Plan,
  example: Batch,
  pool: EnginePool,
): Promise<ReadonlyMap<string, TensorInfo>> {
  const { graph, model } = plan;
  const [client] = pool.clients, tensors = new Map<string, TensorInfo>();
  const add = (values: Batch) => {
    for (const [name, { type, dims, data }] of Object.entries(values)) {
      tensors.set(name, { dims, type: typeNamed(type), bytes: data.byteLength });
    }
  };
  add(example);
  let values = example;
  for (const { start, end, inputs } of partition(graph)) {
    // What no later part reads is forgotten.
    values = Object.fromEntries(inputs.map((name) => [name, values[name]]));
    const types = new Map(inputs.map((name) => [name, tensors.get(name)!]));
    const outputs = graph.nodes.slice(start, end).flatMap(({ output }) => output)
      .filter((name) => name !== "" && graph.isTensor(name));
    const part = extract(model, { inputs: types, outputs });
    await client.call("open", opening("profile", part, { optimization: "basic" }));
    const computed = await client.call("run", ["profile", values]);
    await client.call("close", []);
    add(computed);
    values = { ...values, ...computed };
  }
  return tensors;
}

/** How many samples to run at a time, from a run on `samples` of them. */
export function batchSizeFor(
  shapes: ReadonlyMap<string, TensorInfo>,
  samples: number,
): number {
  const largest = Math.max(...[...shapes.values()].map(({ dims }) => sizeOf(dims))) / samples;
  return Math.min(BATCH_SAMPLES, Math.max(1, Math.floor(BATCH_ELEMENTS / largest)));
}

/**
 * A digest of calibration data, to tell later whether two models saw the same: FNV-1a, 2 × 32 bits.
 */
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
