/**
 * Runs models side by side on the same batches, one after the other, and each of them part by part where
 * its weights are too many for a session: what crosses from part to part is spooled, so that memory does
 * not grow with the model or the number of samples.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { partition } from "../graph/partition.ts";
import { typeNamed } from "../onnx/tensor.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { OpenOptions } from "../runtime/session.ts";
import { LANES } from "./engine.ts";
import { openPart, type PartSource } from "./parts.ts";
import type { Batch } from "./spool.ts";

/** A model that is run in parts. */
export interface Runner {
  /** Its nodes, and what each reads. */
  readonly graph: Graph;
  /** Cuts its parts out. */
  readonly parts: PartSource;
  /** What is wanted of it. */
  readonly outputs: readonly string[];
  /** How its sessions are opened. Default: as a file would be. */
  readonly options?: Pick<OpenOptions, "simulate">;
}

/** Models, and what each computes of the batches. */
export class Relay {
  readonly #pool: EnginePool;
  readonly #runners: readonly Runner[];
  readonly #most: number | undefined;
  readonly #types = new Map<string, string>();
  #batches = 0;

  /** A relay in the engines of `pool`, whose lanes it clears. */
  constructor(
    pool: EnginePool,
    runners: readonly Runner[],
    options: { /** Bytes of weights in a session. Default: 128 MiB. */ readonly most?: number } =
      {},
  ) {
    this.#pool = pool;
    this.#runners = runners;
    this.#most = options.most;
  }

  /** Removes what the engines hold. */
  async clear(): Promise<void> {
    await this.#pool.close();
    await Promise.all(this.#pool.clients.map((client) => client.call("clear", [])));
  }

  /** Takes a batch along. */
  async load(batch: Batch): Promise<void> {
    for (const [name, { type }] of Object.entries(batch)) this.#types.set(name, type);
    for (const runner of this.#runners.keys()) {
      const lane = this.#lane(runner, this.#batches);
      await this.#pool.ofLane(lane).call("load", [lane, batch]);
    }
    this.#batches++;
  }

  /**
   * Runs all models on all batches.
   *
   * @param onDone hears of batches, as parts of the whole.
   */
  async run(options: { signal?: AbortSignal; onDone?: (batches: number) => void } = {}) {
    const parts = this.#runners.map(({ graph, outputs }) => partition(graph, this.#most, outputs));
    const passes = parts.flat().length;
    const onDone = (batches: number) => options.onDone?.(batches / passes);
    for (const [r, { parts: source, outputs, options: opened }] of this.#runners.entries()) {
      let types = this.#types as ReadonlyMap<string, string>;
      for (const [p, { inputs }] of parts[r].entries()) {
        checkAborted(options.signal);
        const fed = new Map(inputs.map((name) => [name, typeNamed(types.get(name)!)]));
        const names = [...new Set(parts[r][p + 1]?.inputs ?? outputs)];
        await openPart(this.#pool, "part", source, fed, names, { simulate: false, ...opened });
        types = await this.#advance(r, names, onDone);
        await this.#pool.close();
      }
    }
  }

  /** What model `runner` computed of batch `index`. */
  outputs(runner: number, index: number): Promise<Batch> {
    const lane = this.#lane(runner, index);
    const { outputs } = this.#runners[runner];
    return this.#pool.ofLane(lane).call("read", [lane, Math.floor(index / LANES), outputs]);
  }

  #lane(runner: number, batch: number): number {
    return runner * LANES + batch % LANES;
  }

  /** Carries all lanes of a model through the part that is open; returns the types of what it gives. */
  async #advance(
    runner: number,
    names: readonly string[],
    onDone: (batches: number) => void,
  ): Promise<ReadonlyMap<string, string>> {
    const lanes = Math.min(LANES, this.#batches);
    const types = await Promise.all(Array.from({ length: lanes }, async (_, i) => {
      const lane = this.#lane(runner, i), client = this.#pool.ofLane(lane);
      const types = await client.call("advance", [lane, "float", "part", names], onDone);
      await client.call("turn", [lane]);
      return types;
    }));
    return new Map(Object.entries(types[0]));
  }
}

/** Bytes of weights beyond which a model is not opened as a whole: every worker would hold some copies. */
const WHOLE_BYTES = 2 ** 28;

/** Whether all of `graph` is opened in one session. */
export function fitsSession(graph: Graph): boolean {
  return partition(graph, WHOLE_BYTES).length === 1;
}
