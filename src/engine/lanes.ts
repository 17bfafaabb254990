/**
 * What a worker keeps: the spools of its lanes of samples, and the sessions that run models on
 * them.
 *
 * A *lane* is a fixed share of the samples (batch i belongs to lane i mod {@linkcode LANES}). Sums
 * are made per lane and added in the order of the lanes, so that results do not depend on the
 * number of workers.
 *
 * @module
 */

import { Kernel } from "../kernel/kernel.ts";
import { AttuneError } from "../errors.ts";
import type { OpenOptions, Runtime, Session, Value } from "../runtime/session.ts";
import type { Task } from "../progress.ts";
import { RangeObserver, type RangeState } from "./range.ts";
import { type Survey, type SurveyedBatches, type SurveyedPart, Surveyor } from "./survey.ts";
import type { Batch, SampleAt, Spool, SpoolFactory } from "./spool.ts";
import type { LayerSums } from "./statistics.ts";
import { addErrors, mix } from "./arithmetic.ts";
import { type CollectLayer, Collector } from "./collector.ts";
import type { BlockError, BlockRequest } from "./requests.ts";

/** Shares of the samples; more workers than this would stay idle while samples are run. */
export const LANES = 8;
/**
 * The models that run side by side: float, quantized, and where grids are nested, the quantized one
 * narrowed to so many bits.
 */
export type Side = "float" | "quantized" | number;

/** The spools of a lane. */
interface Lane {
  /**
   * Where each side is. They are one and the same until the first layer is quantized; a narrowed
   * one is missing until it differs from the quantized one.
   */
  readonly spools: ReadonlyMap<Side, Spool>;
  /** Of the next segment, as far as they are computed. */
  readonly next: Map<Side, Spool>;
  /** The samples, where the lane is to come back to them. */
  samples?: Spool;
  /** The float model's outputs on its first batches. */
  reference?: Batch[];
}

/** The methods of {@linkcode Lanes} that wait for the runtime; all others end by construction. */
export const RUNTIME_METHODS: ReadonlySet<string> = new Set<keyof Lanes>([
  ...["open", "close", "run", "observe", "survey", "collect", "advance"] as const,
  ...["recordReference", "outputErrors", "gradients", "blockError"] as const,
]);

/** The lanes of one worker, and its models. All methods can be called through `workers/rpc.ts`. */
export class Lanes {
  readonly #runtime: Runtime;
  readonly #newSpool: SpoolFactory;
  readonly #kernel: Kernel;
  readonly #lanes = new Map<number, Lane>();
  readonly #sessions = new Map<string, Session>();

  /** Lanes whose models run by `runtime`, and the kernel's default build unless told otherwise. */
  constructor(runtime: Runtime, newSpool: SpoolFactory, kernel: Kernel = Kernel.create()) {
    this.#kernel = kernel;
    this.#runtime = runtime;
    this.#newSpool = newSpool;
  }

  /** What computes: the runtime's name. Another one gives other last bits. */
  runtimeName(): string {
    return this.#runtime.name;
  }

  /** Opens a model under the name `key`. */
  async open(key: string, bytes: Uint8Array, options: OpenOptions): Promise<void> {
    await this.#sessions.get(key)?.release();
    this.#sessions.set(key, await this.#runtime.open(bytes, options));
  }

  /** Closes all models. */
  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
    this.#sessions.clear();
  }

  /** Runs the model `key` on one batch. */
  run(key: string, batch: Batch): Promise<Batch> {
    return this.#session(key).run(batch);
  }

  /** Appends a batch of samples to `lane`. */
  load(lane: number, batch: Batch): void {
    if (!this.#lanes.has(lane)) this.#lanes.set(lane, laneOf(this.#newSpool()));
    this.#spool(lane, "float").append(batch);
  }

  /** The ranges of what the model `key` computes from the quantized side of `lane`. */
  async observe(
    lane: number,
    key: string,
    names: readonly string[],
    batches: number,
    task?: Task,
  ): Promise<Record<string, RangeState>> {
    const observers = names.map((name) => [name, new RangeObserver(this.#kernel)] as const);
    const spool = this.#spool(lane, "quantized");
    for (let i = 0; i < Math.min(batches, spool.length); i++) {
      const values = await this.#compute(key, spool.read(i));
      for (const [name, observer] of observers) {
        observer.add(values[name].data as Float32Array, values[name].dims);
      }
      task?.onDone?.(1);
    }
    return Object.fromEntries(observers.map(([name, observer]) => [name, observer.state]));
  }

  /**
   * What the tensors of `parts`, a whole model one after another, are like over `lane`; in the
   * order of the parts and their tensors.
   */
  async survey(
    lane: number,
    parts: readonly SurveyedPart[],
    batches: SurveyedBatches,
    task?: Task,
  ): Promise<Survey[]> {
    const surveyors = parts.map(({ tensors }) =>
      tensors.map((tensor) => new Surveyor(tensor, batches, this.#kernel))
    );
    const spool = this.#spool(lane, "float");
    for (let i = 0; i < Math.min(batches.all, spool.length); i++) {
      let values = spool.read(i);
      for (const [p, { key, tensors, crossing }] of parts.entries()) {
        const computed = await this.#compute(key, values);
        tensors.forEach(({ name }, t) => surveyors[p][t].add(computed[name], i));
        values = Object.fromEntries(crossing.map((name) => [name, computed[name]]));
      }
      task?.onDone?.(1);
    }
    return surveyors.flat().map((surveyor) => surveyor.survey);
  }

  /**
   * The statistics of `layers` over `lane`: float outputs against quantized inputs, those of
   * `side`.
   */
  async collect(
    lane: number,
    floatKey: string,
    quantizedKey: string,
    layers: readonly CollectLayer[],
    side: Exclude<Side, "float">,
    task?: Task,
  ): Promise<LayerSums[]> {
    using collector = new Collector(this.#kernel, layers);
    const float = this.#spool(lane, "float"), quantized = this.#spool(lane, side);
    for (let i = 0; i < float.length; i++) {
      const y = await this.#compute(floatKey, float.read(i));
      const same = quantizedKey === floatKey && quantized === float;
      const x = same ? y : await this.#compute(quantizedKey, quantized.read(i));
      collector.add(x, y, i * LANES + lane);
      task?.onDone?.(1);
    }
    return collector.sums;
  }

  /**
   * Keeps what the model `key` computes from one side of `lane`, from as many `batches` of it, for
   * the next segment; returns their types and shapes in the first batch.
   */
  async advance(
    lane: number,
    side: Side,
    key: string,
    names: readonly string[],
    batches: number,
    task?: Task,
  ): Promise<Record<string, Omit<Value, "data">>> {
    const types: Record<string, Omit<Value, "data">> = {};
    const spool = this.#spool(lane, side), next = this.#newSpool();
    this.#lane(lane).next.set(side, next);
    for (let i = 0; i < Math.min(batches, spool.length); i++) {
      const values = await this.#compute(key, spool.read(i));
      // Sequences and texts cannot be kept; where a part reads them, onnxruntime says that they are
      // missing.
      const arrays = names.filter((name) => ArrayBuffer.isView(values[name]?.data));
      next.append(Object.fromEntries(arrays.map((name) => [name, values[name]])));
      for (const name of arrays) {
        const { type, dims } = values[name];
        types[name] ??= { type, dims };
      }
      task?.onDone?.(1);
    }
    return types;
  }

  /**
   * Carries `lane` to the next segment; a quantized side that was not computed is like the float
   * one.
   */
  nextSegment(lane: number): void {
    const { next, samples, reference } = this.#lane(lane);
    this.#dispose(lane, [...next.values(), samples]);
    const spools = new Map<Side, Spool>([["quantized", next.get("float")!], ...next]);
    this.#lanes.set(lane, { spools, next: new Map(), samples, reference });
  }

  /**
   * Keeps the samples of `lane` while it goes through the model, for {@linkcode rewindToSamples}.
   */
  keepSamples(lane: number): void {
    this.#lane(lane).samples = this.#spool(lane, "float");
  }

  /** Brings `lane` back to the samples that were kept. */
  rewindToSamples(lane: number): void {
    const samples = this.#lane(lane).samples!;
    this.#dispose(lane, [samples]);
    this.#lanes.set(lane, laneOf(samples));
  }

  /**
   * Records what the model `key` says to the first `batches` of `lane`, for
   * {@linkcode outputErrors}.
   */
  async recordReference(lane: number, key: string, batches: number): Promise<void> {
    const float = this.#spool(lane, "float"), reference: Batch[] = [];
    for (let i = 0; i < Math.min(batches, float.length); i++) {
      // None is open where the model gives back what it is fed, and nothing else.
      reference.push(await this.#sessions.get(key)?.run(float.read(i)) ?? {});
    }
    this.#lane(lane).reference = reference;
  }

  /** How far the float32 outputs of the model `key` are from the recorded ones, by name. */
  async outputErrors(
    lane: number,
    key: string,
    task?: Task,
  ): Promise<Record<string, BlockError>> {
    const float = this.#spool(lane, "float"), { reference } = this.#lane(lane);
    const errors: Record<string, { error: number; power: number }> = {};
    for (const [i, expected] of reference!.entries()) {
      const outputs = await this.#session(key).run(float.read(i));
      for (const [name, { type, data }] of Object.entries(outputs)) {
        if (type !== "float32") continue;
        const sums = errors[name] ??= { error: 0, power: 0 };
        addErrors(sums, data as Float32Array, expected[name].data as Float32Array);
      }
      task?.onDone?.(1);
    }
    return errors;
  }

  /** The loss and its gradients on some samples of `lane`, by the model `key`. */
  async gradients(lane: number, request: BlockRequest): Promise<Batch> {
    const { key, samples, inputs, targets, values, drop } = request;
    const outputs = this.#target(lane).pick(samples, targets.map(([output]) => output));
    const fed = this.#spool(lane, "quantized").pick(samples, inputs);
    if (drop !== undefined) mix(fed, this.#spool(lane, "float").pick(samples, inputs), drop);
    return await this.#session(key).run({
      ...fed,
      ...Object.fromEntries(targets.map(([output, input]) => [input, outputs[output]])),
      ...values,
    });
  }

  /** How far the outputs of the model `key` are from the float ones on some samples of `lane`. */
  async blockError(lane: number, request: BlockRequest): Promise<BlockError> {
    const { key, samples, inputs, targets, values } = request;
    const names = targets.map(([output]) => output);
    const expected = this.#target(lane).pick(samples, names);
    const outputs = await this.#session(key).run({
      ...this.#spool(lane, "quantized").pick(samples, inputs),
      ...values,
    });
    const sums = { error: 0, power: 0 };
    for (const name of names) {
      addErrors(sums, outputs[name].data as Float32Array, expected[name].data as Float32Array);
    }
    return sums;
  }

  /** The tensors `names` of batch `index` of `lane`. */
  read(lane: number, index: number, names: readonly string[]): Batch {
    const batch = this.#spool(lane, "float").read(index);
    // Copies: what is sent moves, and a spool in memory keeps its own.
    return Object.fromEntries(
      names.filter((name) => name in batch)
        .map((name) => [name, { ...batch[name], data: batch[name].data.slice() }]),
    );
  }

  /** Some samples of what a block of `lane` reads, or of what it should give. */
  pick(
    lane: number,
    what: "inputs" | "targets",
    samples: readonly SampleAt[],
    names: readonly string[],
  ): Batch {
    const spool = what === "inputs" ? this.#spool(lane, "quantized") : this.#target(lane);
    return spool.pick(samples, names);
  }

  /** Removes all spools. */
  clear(): void {
    for (const lane of this.#lanes.keys()) this.#dispose(lane);
    this.#lanes.clear();
  }

  /** What the model `key` computes from `batch`, beside what the batch holds already. */
  async #compute(key: string, batch: Batch): Promise<Batch> {
    const session = this.#sessions.get(key);
    return session ? { ...batch, ...await session.run(batch) } : batch;
  }

  #lane(lane: number): Lane {
    const held = this.#lanes.get(lane);
    if (held) return held;
    throw new AttuneError("internal", `Lane ${lane} holds no samples: load some first`);
  }

  /** Where one side of `lane` is. */
  #spool(lane: number, side: Side): Spool {
    const { spools } = this.#lane(lane);
    return (spools.get(side) ?? spools.get("quantized"))!;
  }

  /** The float model's tensors at the end of the segment. */
  #target(lane: number): Spool {
    const spool = this.#lane(lane).next.get("float");
    if (spool) return spool;
    throw new AttuneError("internal", `Lane ${lane} has no targets: advance its float side first`);
  }

  #session(key: string): Session {
    const session = this.#sessions.get(key);
    if (session) return session;
    throw new AttuneError("internal", `No model is open under the name "${key}"`);
  }

  /** Removes the spools of `lane` except those in `keep`. */
  #dispose(lane: number, keep: readonly (Spool | undefined)[] = []): void {
    const { spools, next, samples } = this.#lane(lane);
    for (const spool of new Set([...spools.values(), ...next.values(), samples])) {
      if (!keep.includes(spool)) spool?.[Symbol.dispose]();
    }
  }
}

/** A lane whose sides all are at `spool`. */
function laneOf(spool: Spool): Lane {
  return {
    spools: new Map<Side, Spool>([["float", spool], ["quantized", spool]]),
    next: new Map(),
  };
}
