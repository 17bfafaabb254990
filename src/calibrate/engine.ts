/**
 * What a worker does: it keeps the spools of its lanes, runs models on them, and solves layers.
 *
 * A *lane* is a fixed share of the samples (batch i belongs to lane i mod {@linkcode LANES}). Sums are
 * made per lane and added in the order of the lanes, so that results do not depend on the number of
 * workers.
 *
 * @module
 */

import { Kernel } from "../kernel/kernel.ts";
import type { OpenOptions, Runtime, Session } from "../runtime/session.ts";
import type { OnDone } from "../runtime/rpc.ts";
import type { Problem } from "../round/problem.ts";
import { shiftErrors, type ShiftProblem } from "../round/shift.ts";
import { solveBlocked } from "../round/blocked.ts";
import { solveNested } from "../round/nested.ts";
import { codebookErrors } from "../round/scales.ts";
import { type Solution, solveLayer } from "../round/solve.ts";
import { chooseSpread, hash32 } from "../samples/sampling.ts";
import { type ColumnShape, gatherColumns, positionCount } from "./columns.ts";
import { RangeObserver, type RangeState } from "./range.ts";
import type { Batch, SampleAt, Spool, SpoolFactory } from "./spool.ts";
import type { LayerSums } from "./statistics.ts";

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
  /** The tensor of the float model that leaves. */
  readonly output: string;
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

/** The work of one worker. All methods can be called through `runtime/rpc.ts`. */
export class Engine {
  readonly #runtime: Runtime;
  readonly #newSpool: SpoolFactory;
  readonly #kernel: Kernel;
  readonly #lanes = new Map<number, Lane>();
  readonly #sessions = new Map<string, Session>();

  /** An engine that runs models by `runtime`, and the kernel's default build unless told otherwise. */
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
    onDone?: OnDone,
  ): Promise<Record<string, RangeState>> {
    const observers = names.map((name) => [name, new RangeObserver(this.#kernel)] as const);
    const spool = this.#lanes.get(lane)!.quantized;
    for (let i = 0; i < Math.min(batches, spool.length); i++) {
      const values = await this.#compute(key, spool.read(i));
      for (const [name, observer] of observers) observer.add(values[name].data as Float32Array);
      onDone?.(1);
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
    onDone?: OnDone,
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
        const x = await this.#compute(quantizedKey, quantized.read(i));
        layers.forEach((layer, l) => this.#accumulate(layer, x, y, i * LANES + lane, sums[l]));
        onDone?.(1);
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
    const input = x[layer.input], output = y[layer.output];
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

  /** Keeps what the model `key` computes from one side of `lane`, for the next segment. */
  async advance(
    lane: number,
    side: Side,
    key: string,
    names: readonly string[],
    onDone?: OnDone,
  ): Promise<void> {
    const spools = this.#lanes.get(lane)!;
    const next = (spools.next ??= {})[side] = this.#newSpool();
    const spool = spools[side] ?? spools.quantized;
    for (let i = 0; i < spool.length; i++) {
      const values = await this.#compute(key, spool.read(i));
      next.append(Object.fromEntries(names.map((name) => [name, values[name]])));
      onDone?.(1);
    }
  }

  /** Carries `lane` to the next segment, once all sides of it are computed. */
  turn(lane: number): void {
    const { next } = this.#lanes.get(lane)!;
    this.#dispose(lane, false);
    this.#lanes.set(lane, { ...next } as Lane);
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
    let error = 0, power = 0;
    for (const name of names) {
      const y = found[name].data as Float32Array, t = wanted[name].data as Float32Array;
      for (let i = 0; i < t.length; i++) {
        error += (y[i] - t[i]) ** 2;
        power += t[i] ** 2;
      }
    }
    return { error, power };
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

  /** How well each strength of the float-target shift does on other samples. */
  shiftErrors(problem: ShiftProblem): Float64Array {
    return shiftErrors(this.#kernel, problem);
  }

  /** How well each codebook suits the weights of a problem. */
  codebookErrors(problem: Problem, codebooks: readonly Int8Array[]): Float64Array {
    return codebookErrors(this.#kernel, problem, codebooks);
  }

  /** Rounds a layer, or some of its rows. */
  solve(problem: Problem, onDone?: OnDone): Solution {
    if (problem.cuts) return solveNested(this.#kernel, problem);
    const solve = problem.gramBlock < problem.depth ? solveBlocked : solveLayer;
    return solve(this.#kernel, problem, onDone);
  }

  /** What the model `key` computes from `batch`, beside what the batch holds already. */
  async #compute(key: string, batch: Batch): Promise<Batch> {
    const session = this.#sessions.get(key);
    return session ? { ...batch, ...await session.run(batch) } : batch;
  }

  /** Removes the spools of `lane`, and those of its next segment if they are not to be used. */
  #dispose(lane: number, andNext = true): void {
    const { next = {}, ...own } = this.#lanes.get(lane)!;
    const spools = [...Object.values(own), ...andNext ? Object.values(next) : []];
    for (const spool of new Set(spools)) spool?.[Symbol.dispose]();
  }
}

/** Replaces about half of the float32 values in `into` by those of `from`, by chance (QDrop). */
function mix(into: Batch, from: Batch, seed: number): void {
  let state = hash32(seed, 1) | 1;
  for (const [name, { type, data }] of Object.entries(into)) {
    if (type !== "float32") continue;
    const values = data as Float32Array, others = from[name].data as Float32Array;
    for (let i = 0; i < values.length; i++) {
      // A bit of xorshift32 (Marsaglia 2003).
      if ((i & 31) === 0) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
      }
      if ((state >>> (i & 31)) & 1) values[i] = others[i];
    }
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

/** Adds the sum of each row of `width` values to `sums`. */
function addRowSums(matrix: Float32Array, width: number, sums: Float32Array): void {
  for (let row = 0, at = 0; row < sums.length; row++) {
    let sum = 0;
    for (let j = 0; j < width; j++) sum += matrix[at++];
    sums[row] += sum;
  }
}
