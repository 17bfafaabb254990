/**
 * Runs models side by side on the same batches, one after the other, and each of them part by part
 * where its weights are too many for a session: what crosses from part to part is spooled, so that
 * memory does not grow with the model or the number of samples.
 *
 * @module
 */

import { checkAborted } from "../errors.ts";
import { extract } from "../graph/extract.ts";
import { Graph } from "../graph/graph.ts";
import { partition } from "../graph/partition.ts";
import type { Model } from "../onnx/model.ts";
import { typeNamed } from "../onnx/tensor.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { OpenOptions, Value } from "../runtime/session.ts";
import { LANES } from "../engine/lanes.ts";
import { openPart, partsOf, type PartSource, type Types } from "./open_part.ts";
import type { Batch } from "../engine/spool.ts";

/** Element type and shape of what crosses into a part. */
type Fed = Omit<Value, "data">;

/** A model that is run in parts. */
export interface Runner {
  /** Its nodes, and what each reads. */
  readonly graph: Graph;
  /** Makes all of it, which knows more of its inputs than a part would. */
  readonly whole: () => Model;
  /** Cuts its parts out. */
  readonly parts: PartSource;
  /** What is wanted of it. */
  readonly outputs: readonly string[];
  /** What it is fed of a batch. Default: all of it. */
  readonly feeds?: (batch: Batch) => Batch;
  /** How its sessions are opened. Default: as a file would be. */
  readonly options?: Pick<OpenOptions, "simulate">;
}

/** Models, and what each computes of the batches. */
export class Relay {
  readonly #pool: EnginePool;
  readonly #runners: readonly Runner[];
  readonly #most: number | undefined;
  readonly #types: Map<string, Fed>[];
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
    this.#types = runners.map(() => new Map());
    this.#most = options.most;
  }

  /** Removes what the engines hold. */
  async clear(): Promise<void> {
    await this.#pool.close();
    await Promise.all(this.#pool.clients.map((client) => client.call("clear", [])));
  }

  /** Takes a batch along. */
  async load(batch: Batch): Promise<void> {
    for (const [runner, { feeds }] of this.#runners.entries()) {
      const lane = this.#lane(runner, this.#batches), fed = feeds ? feeds(batch) : batch;
      for (const [name, { type, dims }] of Object.entries(fed)) {
        this.#types[runner].set(name, { type, dims });
      }
      await this.#pool.ofLane(lane).call("load", [lane, fed]);
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
    for (const [r, { whole, parts: source, outputs, options: how }] of this.#runners.entries()) {
      let types: ReadonlyMap<string, Fed> = this.#types[r];
      for (const [p, { inputs }] of parts[r].entries()) {
        checkAborted(options.signal);
        const fed = typesOf(inputs, types);
        const names = [...new Set(parts[r][p + 1]?.inputs ?? outputs)];
        const open = { simulate: false, ...how };
        if (parts[r].length === 1) await this.#pool.open(...opening("part", whole(), open));
        else await openPart(this.#pool, "part", source, fed, names, open);
        types = await this.#advance(r, names, onDone);
        await this.#pool.close();
      }
    }
  }

  /**
   * What each model computed of batch `index`, of what is wanted of it; without sequences and
   * texts.
   */
  outputs(index: number): Promise<Batch[]> {
    return Promise.all(this.#runners.map(({ outputs }, runner) => {
      const lane = this.#lane(runner, index), at = Math.floor(index / LANES);
      return this.#pool.ofLane(lane).call("read", [lane, at, outputs]);
    }));
  }

  #lane(runner: number, batch: number): number {
    return runner * LANES + batch % LANES;
  }

  /**
   * Carries all lanes of a model through the part that is open; returns the types of what it gives.
   */
  async #advance(
    runner: number,
    names: readonly string[],
    onDone: (batches: number) => void,
  ): Promise<ReadonlyMap<string, Fed>> {
    const lanes = Math.min(LANES, this.#batches);
    const types = await Promise.all(Array.from({ length: lanes }, async (_, i) => {
      const lane = this.#lane(runner, i), client = this.#pool.ofLane(lane);
      const types = await client.call("advance", [lane, "float", "part", names, Infinity], onDone);
      await client.call("nextSegment", [lane]);
      return types;
    }));
    return new Map(Object.entries(types[0]));
  }
}

/**
 * Bytes of weights beyond which a model is not opened as a whole: every worker would hold some
 * copies.
 */
const WHOLE_BYTES = 2 ** 28;

/** Whether all of `graph` is opened in one session. */
export function fitsSession(graph: Graph): boolean {
  return partition(graph, WHOLE_BYTES).length === 1;
}

/** How `model` is run as it is. */
export function asItIs(model: Model): Pick<Runner, "graph" | "whole" | "parts"> {
  return { graph: new Graph(model), whole: () => model, parts: partsOf(model) };
}

/**
 * Runs `model` on one batch in the engine of `client`, part by part where it does not fit into a
 * session.
 */
export async function runOnce(
  model: Model,
  batch: Batch,
  client: EnginePool["clients"][number],
): Promise<Batch> {
  const graph = new Graph(model), parts = partition(graph);
  let values = batch;
  for (const [p, { inputs }] of parts.entries()) {
    const types = typesOf(inputs, new Map(Object.entries(values)));
    const names = new Set(parts[p + 1]?.inputs ?? graph.outputs);
    const outputs = [...names].filter((name) => !types.has(name));
    await client.call("open", opening("part", extract(model, { inputs: types, outputs })));
    const computed = { ...values, ...await client.call("run", ["part", values]) };
    values = Object.fromEntries([...names].map((name) => [name, computed[name]]));
  }
  return values;
}

function typesOf(names: readonly string[], values: ReadonlyMap<string, Fed>): Types {
  return new Map(names.map((name) => {
    const { type, dims } = values.get(name)!;
    return [name, { type: typeNamed(type), dims }];
  }));
}
