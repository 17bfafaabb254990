/**
 * What a worker keeps: the spools of its lanes of samples, and the sessions that run models on them.
 *
 * A *lane* is a fixed share of the samples (batch i belongs to lane i mod {@linkcode LANES}). Sums are
 * made per lane and added in the order of the lanes, so that results do not depend on the number of
 * workers.
 *
 * @module
 */

import { Kernel } from "../kernel/kernel.ts";
import type { OpenOptions, Runtime, Session, Value } from "../runtime/session.ts";
import type { Task } from "../progress.ts";
import { chooseSpread } from "../samples/sampling.ts";
import { type ColumnShape, gatherColumns, positionCount } from "./columns.ts";
import { RangeObserver, type RangeState } from "./range.ts";
import type { Batch, SampleAt, Spool, SpoolFactory } from "./spool.ts";
import type { LayerSums } from "./statistics.ts";
import { addErrors, addRowSums, mix } from "./arithmetic.ts";

/** Shares of the samples; more workers than this would stay idle while samples are run. */
export const LANES = 8;
/** Elements of a gathered matrix at a time: 32 MiB of float32. */
const GATHER_LIMIT = 2 ** 23;

/** A layer whose statistics are wanted. */
export interface CollectLayer {
  /** How its columns are gathered. */
  readonly shape: ColumnShape;
  /** The tensor of the quantized model that enters. */
  readonly input: string;
  /** The tensor that leaves. */
  readonly output: string;
  /** Whether that is the float model's; otherwise the quantized one's, whose layer is still in float. */
  readonly paired: boolean;
  /** Inputs whose products are kept: the depth, or blocks that divide it. */
  readonly gramBlock: number;
  /** Whether products of float outputs and inputs are wanted. */
  readonly cross: boolean;
  /** Output positions to take of one batch, at most. */
  readonly positions: number;
  /** Decides which positions are taken. */
  readonly seed: number;
}

/**
 * The spools of a lane; one and the same until the first layer is quantized. Those of narrower widths
 * are the quantized one until they are computed.
 */
interface Lane {
  readonly float: Spool;
  readonly quantized: Spool;
  readonly [cut: `cut${number}`]: Spool;
  /** The samples, where the lane is to come back to them. */
  samples?: Spool;
  /** The float model's outputs on its first batches. */
  reference?: Batch[];
  /** Of the next segment, as far as they are computed. */
  next?: { [side in Side]?: Spool };
}

/** The models that run side by side: float, quantized, and where grids are nested, its narrower widths. */
export type Side = "float" | "quantized" | `cut${number}`;

/** A gradient, or a loss, of a block on some samples of a lane. */
export interface BlockRequest {
  /** The model to run. */
  readonly key: string;
  /** The samples. */
  readonly samples: readonly SampleAt[];
  /** Tensors of the quantized model that are fed. */
  readonly inputs: readonly string[];
  /** Tensors of the float model that the block should give, and the inputs that they are fed to. */
  readonly targets: readonly (readonly [output: string, input: string])[];
  /** What else is fed: weights, biases, steps. */
  readonly values: Batch;
  /** Decides which values of the inputs are the float model's: about half. Without it, none is. */
  readonly drop?: number;
}

/** Squared errors of a block's outputs, and the squares of what they should be. */
export interface BlockError {
  /** Σ (y − target)². */
  readonly error: number;
  /** Σ target². */
  readonly power: number;
}

/** The methods of {@linkcode Lanes} that wait for the runtime; all others end by construction. */
export const RUNTIME_METHODS: ReadonlySet<string> = new Set<keyof Lanes>([
  ...["open", "close", "run", "observe", "collect", "advance"] as const,
  ...["remember", "outputErrors", "gradients", "blockError"] as const,
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
    return this.#sessions.get(key)!.run(batch);
  }

  /** Appends a batch of samples to `lane`. */
  load(lane: number, batch: Batch): void {
    let spools = this.#lanes.get(lane);
    if (spools === undefined) {
      const spool = this.#newSpool();
      this.#lanes.set(lane, spools = { float: spool, quantized: spool });
    }
    spools.float.append(batch);
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
    const spool = this.#lanes.get(lane)!.quantized;
    for (let i = 0; i < Math.min(batches, spool.length); i++) {
      const values = await this.#compute(key, spool.read(i));
      for (const [name, observer] of observers) observer.add(values[name].data as Float32Array);
      task?.onDone?.(1);
    }
    return Object.fromEntries(observers.map(([name, observer]) => [name, observer.state]));
  }

  /** The statistics of `layers` over `lane`: float outputs against quantized inputs, those of `side`. */
  async collect(
    lane: number,
    floatKey: string,
    quantizedKey: string,
    layers: readonly CollectLayer[],
    side: Exclude<Side, "float">,
    task?: Task,
  ): Promise<LayerSums[]> {
    const kernel = this.#kernel;
    const mark = kernel.mark();
    try {
      const sums = layers.map(({ shape: { groups, rows, depth }, gramBlock, cross }) => ({
        count: 0,
        gram: kernel.f32(groups * depth * gramBlock),
        cross: kernel.f32(cross ? groups * rows * depth : 0),
        inputSum: kernel.f32(groups * depth),
        outputSum: kernel.f32(groups * rows),
      }));
      const spools = this.#lanes.get(lane)!, { float } = spools;
      const quantized = spools[side] ?? spools.quantized;
      for (let i = 0; i < float.length; i++) {
        const y = await this.#compute(floatKey, float.read(i));
        const same = quantizedKey === floatKey && quantized === float;
        const x = same ? y : await this.#compute(quantizedKey, quantized.read(i));
        layers.forEach((layer, l) => this.#accumulate(layer, x, y, i * LANES + lane, sums[l]));
        task?.onDone?.(1);
      }
      return sums.map(({ count, gram, cross, inputSum, outputSum }) => ({
        count,
        gram: gram.view.slice(),
        cross: cross.view.slice(),
        inputSum: inputSum.view.slice(),
        outputSum: outputSum.view.slice(),
      }));
    } finally {
      kernel.reset(mark);
    }
  }

  #accumulate(layer: CollectLayer, x: Batch, y: Batch, batch: number, sums: KernelSums): void {
    const kernel = this.#kernel;
    const { shape: { groups, rows, depth }, gramBlock: d } = layer;
    const input = x[layer.input], output = (layer.paired ? y : x)[layer.output];
    const total = positionCount(layer.shape, output);
    // A different choice in every batch, the same for any number of workers.
    const chosen = chooseSpread(total, layer.positions, layer.seed + batch);
    const chunk = Math.max(1, Math.floor(GATHER_LIMIT / (groups * Math.max(depth, rows))));
    for (let from = 0; from < chosen.length; from += chunk) {
      const positions = chosen.slice(from, from + chunk), p = positions.length;
      const mark = kernel.mark();
      const columns = kernel.f32(groups * depth * p), results = kernel.f32(groups * rows * p);
      gatherColumns(layer.shape, input, output, positions, columns.view, results.view);
      const blocks = groups * depth / d;
      kernel.gram({ x: columns, h: sums.gram, sum: sums.inputSum, groups: blocks, d, p });
      if (layer.cross) {
        kernel.cross({ y: results, x: columns, r: sums.cross, groups, o: rows, d: depth, p });
      }
      addRowSums(results.view, p, sums.outputSum.view);
      kernel.reset(mark);
      sums.count += p;
    }
  }

  /**
   * Keeps what the model `key` computes from one side of `lane`, for the next segment; returns
   * their types and shapes in the first batch.
   */
  async advance(
    lane: number,
    side: Side,
    key: string,
    names: readonly string[],
    task?: Task,
  ): Promise<Record<string, Omit<Value, "data">>> {
    const types: Record<string, Omit<Value, "data">> = {};
    const spools = this.#lanes.get(lane)!;
    const next = (spools.next ??= {})[side] = this.#newSpool();
    const spool = spools[side] ?? spools.quantized;
    for (let i = 0; i < spool.length; i++) {
      const values = await this.#compute(key, spool.read(i));
      // Sequences and texts cannot be kept; where a part reads them, onnxruntime says that they are missing.
      const kept = names.filter((name) => ArrayBuffer.isView(values[name]?.data));
      next.append(Object.fromEntries(kept.map((name) => [name, values[name]])));
      for (const name of kept) {
        const { type, dims } = values[name];
        types[name] ??= { type, dims };
      }
      task?.onDone?.(1);
    }
    return types;
  }

  /** Carries `lane` to the next segment, once its sides are computed; a missing one is like the other. */
  turn(lane: number): void {
    const { next = {}, samples, reference } = this.#lanes.get(lane)!, float = next.float!;
    this.#dispose(lane, [...Object.values(next), samples]);
    this.#lanes.set(lane, { quantized: float, ...next, float, samples, reference });
  }

  /** Keeps the samples of `lane` while it goes through the model, for {@linkcode rewind}. */
  keep(lane: number): void {
    const spools = this.#lanes.get(lane)!;
    spools.samples = spools.float;
  }

  /** Brings `lane` back to its samples. */
  rewind(lane: number): void {
    const samples = this.#lanes.get(lane)!.samples!;
    this.#dispose(lane, [samples]);
    this.#lanes.set(lane, { float: samples, quantized: samples });
  }

  /** Remembers what the model `key` says to the first `batches` of `lane`. */
  async remember(lane: number, key: string, batches: number): Promise<void> {
    const spools = this.#lanes.get(lane)!, { float } = spools;
    spools.reference = [];
    for (let i = 0; i < Math.min(batches, float.length); i++) {
      // None is open where the model gives back what it is fed, and nothing else.
      spools.reference.push(await this.#sessions.get(key)?.run(float.read(i)) ?? {});
    }
  }

  /** How far the float32 outputs of the model `key` are from the remembered ones, by name. */
  async outputErrors(
    lane: number,
    key: string,
    task?: Task,
  ): Promise<Record<string, BlockError>> {
    const { float, reference } = this.#lanes.get(lane)!;
    const errors: Record<string, { error: number; power: number }> = {};
    for (const [i, wanted] of reference!.entries()) {
      const found = await this.#sessions.get(key)!.run(float.read(i));
      for (const [name, { type, data }] of Object.entries(found)) {
        if (type !== "float32") continue;
        const sums = errors[name] ??= { error: 0, power: 0 };
        addErrors(sums, data as Float32Array, wanted[name].data as Float32Array);
      }
      task?.onDone?.(1);
    }
    return errors;
  }

  /** The loss and its gradients on some samples of `lane`, by the model `key`. */
  async gradients(lane: number, request: BlockRequest): Promise<Batch> {
    const { float, quantized, next } = this.#lanes.get(lane)!;
    const { key, samples, inputs, targets, values, drop } = request;
    const wanted = next!.float!.pick(samples, targets.map(([output]) => output));
    const fed = quantized.pick(samples, inputs);
    if (drop !== undefined) mix(fed, float.pick(samples, inputs), drop);
    return await this.#sessions.get(key)!.run({
      ...fed,
      ...Object.fromEntries(targets.map(([output, input]) => [input, wanted[output]])),
      ...values,
    });
  }

  /** How far the outputs of the model `key` are from the float ones on some samples of `lane`. */
  async blockError(lane: number, request: BlockRequest): Promise<BlockError> {
    const { quantized, next } = this.#lanes.get(lane)!;
    const { key, samples, inputs, targets, values } = request;
    const names = targets.map(([output]) => output);
    const wanted = next!.float!.pick(samples, names);
    const found = await this.#sessions.get(key)!.run({
      ...quantized.pick(samples, inputs),
      ...values,
    });
    const sums = { error: 0, power: 0 };
    for (const name of names) {
      addErrors(sums, found[name].data as Float32Array, wanted[name].data as Float32Array);
    }
    return sums;
  }

  /** The tensors `names` of batch `index` of `lane`. */
  read(lane: number, index: number, names: readonly string[]): Batch {
    const batch = this.#lanes.get(lane)!.float.read(index);
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
    const { quantized, next } = this.#lanes.get(lane)!;
    return (what === "inputs" ? quantized : next!.float!).pick(samples, names);
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

  /** Removes the spools of `lane` except those in `kept`. */
  #dispose(lane: number, kept: readonly (Spool | undefined)[] = []): void {
    const { next = {}, reference: _, ...own } = this.#lanes.get(lane)!;
    const spools: (Spool | undefined)[] = [...Object.values(own), ...Object.values(next)];
    for (const spool of new Set(spools)) if (!kept.includes(spool)) spool?.[Symbol.dispose]();
  }
}

type KernelBuffer = ReturnType<Kernel["f32"]>;
interface KernelSums {
  count: number;
  readonly gram: KernelBuffer;
  readonly cross: KernelBuffer;
  readonly inputSum: KernelBuffer;
  readonly outputSum: KernelBuffer;
}
