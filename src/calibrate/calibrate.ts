/**
 * Runs a plan: segment by segment, each layer is observed on what the quantized model before it
 * computes, rounded, and put in place before the next is looked at.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import {
  type ActivationGrid,
  biasScales,
  buildModel,
  dequantize,
  type Parts,
  type Rounding,
  tensorAsRead,
} from "../emit/build.ts";
import { ancestors, extract, frontier } from "../graph/extract.ts";
import { sessionBytes } from "../onnx/session_bytes.ts";
import type { Model } from "../onnx/model.ts";
import { DataType, readFloats } from "../onnx/tensor.ts";
import type { RangeMethod } from "../plan/options.ts";
import type { LayerPlan, Plan } from "../plan/plan.ts";
import { readWeight } from "../plan/targets.ts";
import type { OnProgress } from "../progress.ts";
import { problemOf, type RoundingOptions, type Share, sharesOf } from "../round/problem.ts";
import { bestStrength } from "../round/shift.ts";
import type { Solution } from "../round/solve.ts";
import type { EnginePool } from "../runtime/pool.ts";
import { LANES } from "./engine.ts";
import { RangeObserver } from "./range.ts";
import type { TensorInfo } from "./batches.ts";
import { findSegments } from "./segments.ts";
import { addSums, copySums, finish, type LayerSums, type Statistics } from "./statistics.ts";

/** Samples that the ranges of activations are observed on, at most. */
const RANGE_SAMPLES = 256;
/** Columns that a layer's statistics are made of, over all samples: this many per unknown… */
const COLUMNS_PER_INPUT = 64;
/** …but at least and at most so many. */
const LEAST_COLUMNS = 16384, MOST_COLUMNS = 131072;
/** Output positions per sample, at least: what one sample shows is worth a few looks. */
const LEAST_POSITIONS = 16;

/** Every fourth lane is not learned from when the float-target shift is tried, but judged by. */
const VALIDATION_LANES = 4;
/** The shift's strength where there are too few samples to judge it. */
const UNTESTED_STRENGTH = 0.25;

/** The sums of a layer, apart for the lanes to learn from and those to judge by. */
interface SplitSums {
  training?: LayerSums;
  validation?: LayerSums;
}

/** How layers are calibrated and rounded. */
export interface CalibrateOptions extends RoundingOptions {
  /** How ranges of activations are found. */
  readonly range: RangeMethod;
  /** Decides every random choice. */
  readonly seed: number;
  /** Stops the job. */
  readonly signal?: AbortSignal;
  /** Hears of progress. */
  readonly onProgress?: OnProgress;
}

/** What is known of a layer after it was rounded. */
export interface LayerResult {
  /** The layer. */
  readonly layer: LayerPlan;
  /** Its levels, scales and bias. */
  readonly rounding: Rounding;
  /** Squared output error over calibration data, relative to the output's power. */
  readonly error: {
    /** Of nearest rounding. */ readonly nearest: number; /** Of the result. */
    readonly final: number;
  };
}

/** A calibrated model, ready to be built. */
export interface Calibrated {
  /** Weights and grids. */
  readonly parts: Parts;
  /** Every layer, in the order in which they were rounded. */
  readonly layers: readonly LayerResult[];
  /** Ranges of activations, by tensor. */
  readonly ranges: ReadonlyMap<
    string,
    ActivationGrid & { readonly lo: number; readonly hi: number }
  >;
  /** Seconds spent by kind of work. */
  readonly seconds: ReadonlyMap<string, number>;
  /** What the user should know. */
  readonly warnings: readonly string[];
}

/** Batches that were loaded into the engines of a pool. */
export interface LoadedBatches {
  /** Number of batches; batch i lies in lane i mod LANES. */
  readonly batches: number;
  /** Number of samples. */
  readonly samples: number;
  /** Shape and type of every tensor of the float model. */
  readonly shapes: ReadonlyMap<string, TensorInfo>;
}

/** Calibrates and rounds every layer of `plan` on the batches that `pool` holds. */
export async function calibrate(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  options: CalibrateOptions,
): Promise<Calibrated> {
  return await new Calibration(plan, loaded, pool, options).run();
}

class Calibration {
  readonly #plan: Plan;
  readonly #loaded: LoadedBatches;
  readonly #pool: EnginePool;
  readonly #options: CalibrateOptions;
  readonly #roundings = new Map<string, Rounding>();
  readonly #byWeight = new Map<string, LayerResult>();
  readonly #grids = new Map<string, ActivationGrid & { lo: number; hi: number }>();
  readonly #results: LayerResult[] = [];
  readonly #seconds = new Map<string, number>();
  readonly #warnings: string[] = [];
  #done = 0;
  #total = 0;

  constructor(plan: Plan, loaded: LoadedBatches, pool: EnginePool, options: CalibrateOptions) {
    this.#plan = plan;
    this.#loaded = loaded;
    this.#pool = pool;
    this.#options = options;
  }

  get #parts(): Parts {
    return { roundings: this.#roundings, grids: this.#grids };
  }

  async run(): Promise<Calibrated> {
    const { batches, shapes } = this.#loaded;
    const segments = findSegments(this.#plan, shapes);
    // One unit is one batch through one pass; a rounding counts as one pass.
    this.#total = batches * segments.reduce((sum, s) => sum + 2 * s.steps.length + 1, -1);
    for (const segment of segments) {
      const types = new Map(
        frontier(this.#plan.graph, segment.start).map((name) => [name, shapes.get(name)!.type]),
      );
      for (const step of segment.steps) {
        checkAborted(this.#options.signal);
        await this.#observe(types, step.map((layer) => layer.target.input));
        const sums = await this.#timed("statistics", () => this.#collect(types, step));
        for (let i = 0; i < step.length; i++) {
          checkAborted(this.#options.signal);
          await this.#timed("rounding", () => this.#round(step[i], sums[i]));
        }
        this.#advanceProgress(batches, step[0].target.name);
      }
      const last = segment === segments.at(-1);
      const crossing = last ? this.#plan.graph.outputs : frontier(this.#plan.graph, segment.end);
      await this.#observe(types, crossing);
      if (!last) await this.#timed("advance", () => this.#advance(types, crossing));
    }
    await this.#pool.close();
    return {
      parts: this.#parts,
      layers: this.#results,
      ranges: this.#grids,
      seconds: this.#seconds,
      warnings: this.#warnings,
    };
  }

  /** Opens what `outputs` need, computed from the tensors of `types`, under `key`. */
  async #open(key: string, model: Model, types: Types, outputs: readonly string[]): Promise<void> {
    const wanted = [...new Set(outputs)].filter((name) => !types.has(name));
    // Nothing to compute: the engine passes the spooled tensors on.
    if (wanted.length === 0) return;
    const part = extract(model, { inputs: types, outputs: wanted });
    await this.#pool.open(key, sessionBytes(part), { simulate: true });
  }

  #simulation(): Model {
    return buildModel(this.#plan, this.#parts, "float");
  }

  /** Finds the grids of the activations that `outputs` depend on and that have none yet. */
  async #observe(types: Types, outputs: readonly string[]): Promise<void> {
    const { own, shared } = this.#plan.activations;
    const nodes = ancestors(this.#plan.graph.nodes, outputs, new Set(types.keys()));
    const computed = new Set([...types.keys(), ...nodes.flatMap((node) => node.output)]);
    for (const [name, source] of shared) if (computed.has(name)) computed.add(source);
    const names = own.filter((name) => computed.has(name) && !this.#grids.has(name));
    if (names.length === 0) return;
    await this.#timed("ranges", async () => {
      await this.#open("quantized", this.#simulation(), types, names);
      const perLane = Math.ceil(
        RANGE_SAMPLES / this.#loaded.samples * this.#loaded.batches / this.#lanes,
      );
      const observers = new Map(names.map((name) => [name, new RangeObserver()]));
      const states = this.#pool.perLane(
        this.#lanes,
        (client, lane) => client.call("observe", [lane, "quantized", names, perLane]),
      );
      for await (const state of states) {
        for (const name of names) observers.get(name)!.merge(state[name]);
      }
      for (const [name, observer] of observers) {
        this.#grids.set(name, observer.grid(this.#options.range));
      }
      await this.#pool.close();
    });
  }

  get #lanes(): number {
    return Math.min(LANES, this.#loaded.batches);
  }

  /** The sums of every layer of `step` over all samples. */
  async #collect(types: Types, step: readonly LayerPlan[]): Promise<SplitSums[]> {
    const plan = this.#plan;
    const { batches, samples } = this.#loaded;
    const layers = step.map((layer) => {
      const { geometry, groups, rows, depth, input, output } = layer.target;
      const columns = Math.min(
        MOST_COLUMNS,
        Math.max(LEAST_COLUMNS, COLUMNS_PER_INPUT * depth, LEAST_POSITIONS * samples),
      );
      return {
        shape: { geometry, groups, rows, depth },
        input: tensorAsRead(plan, this.#parts, input),
        output,
        positions: Math.ceil(columns / batches),
        seed: this.#options.seed + 1000003 * plan.layers.indexOf(layer),
      };
    });
    await this.#open("float", plan.model, types, layers.map((layer) => layer.output));
    await this.#open("quantized", this.#simulation(), types, layers.map((layer) => layer.input));
    const name = step[0].target.name;
    const split: SplitSums[] = step.map(() => ({}));
    let lane = 0;
    const results = this.#pool.perLane(this.#lanes, (client, lane) =>
      client.call(
        "collect",
        [lane, "float", "quantized", layers],
        (done) => this.#advanceProgress(done, name),
      ));
    for await (const sums of results) {
      const part = lane++ % VALIDATION_LANES === VALIDATION_LANES - 1 ? "validation" : "training";
      sums.forEach((sum, l) => {
        const known = split[l][part];
        if (known === undefined) split[l][part] = sum;
        else addSums(known, sum);
      });
    }
    await this.#pool.close();
    return split;
  }

  async #round(layer: LayerPlan, { training, validation }: SplitSums): Promise<void> {
    const plan = this.#plan;
    const { target } = layer;
    const known = this.#byWeight.get(target.weight);
    const correctable = canCorrectBias(plan, layer);
    const centred = this.#options.biasCorrection && correctable;
    const sums = copySums(training!);
    if (validation) addSums(sums, validation);
    const statistics = finish(sums, target, centred);
    const means = { input: statistics.inputMean, output: statistics.outputMean };
    for (const [what, values] of Object.entries(means)) {
      if (values.every(Number.isFinite)) continue;
      throw new AttuneError(
        "bad-model",
        `Cannot quantize node "${target.name}": its ${what} is not finite on the calibration ` +
          `data; check the preprocessing, or use --override '${target.name}=skip'`,
      );
    }
    let levels: Int8Array, scales: Float32Array, error: LayerResult["error"];
    if (known) {
      // A shared weight keeps the rounding of the first layer that uses it.
      ({ rounding: { levels, scales }, error } = known);
    } else {
      const weight = readWeight(plan.graph, target);
      const shares = sharesOf(layer, this.#pool.clients.length);
      const strength = await this.#strength(shares, weight, layer, centred, {
        training,
        validation,
      });
      const options = { ...this.#options, index: plan.layers.indexOf(layer), strength };
      const solutions = await this.#pool.run(
        shares.map((share) => (client) =>
          client.call("solve", [problemOf(layer, share, weight, statistics, options)])
        ),
      );
      ({ levels, scales, error } = join(layer, solutions));
    }
    const grid = this.#grids.get(plan.activations.shared.get(target.input) ?? target.input);
    const rounding: Rounding = {
      levels,
      scales,
      bias: correctable
        ? this.#bias(layer, { levels, scales }, statistics, centred, grid)
        : undefined,
    };
    const result = { layer, rounding, error };
    this.#roundings.set(target.name, rounding);
    this.#byWeight.set(target.weight, known ?? result);
    this.#results.push(result);
  }

  /** The strength of the float-target shift that does best on the validation lanes. */
  async #strength(
    shares: readonly Share[],
    weight: Float32Array,
    { target }: LayerPlan,
    centred: boolean,
    { training, validation }: SplitSums,
  ): Promise<number> {
    if (!this.#options.floatTargetShift) return Infinity;
    if (!validation) return UNTESTED_STRENGTH;
    const seen = finish(training!, target, centred), unseen = finish(validation, target, centred);
    const errors = await this.#pool.run(shares.map((share) => (client) => {
      const moments = ({ gram, cross }: Statistics) => ({
        gram: share.ofGroups(gram),
        cross: share.ofRows(cross),
      });
      const { groups, rows } = share, { depth } = target;
      return client.call("shiftErrors", [{
        groups,
        rows,
        depth,
        weight: share.ofRows(weight),
        training: moments(seen),
        validation: moments(unseen),
      }]);
    }));
    return bestStrength(errors);
  }

  /** b = E[y] − Ŵ E[x̂], or the layer's own; on the integer grid where activations are quantized. */
  #bias(
    layer: LayerPlan,
    { levels, scales }: Rounding,
    statistics: Statistics,
    corrected: boolean,
    grid: ActivationGrid | undefined,
  ): Float32Array | undefined {
    const { groups, rows, depth, node } = layer.target;
    const old = node.input[2] ? this.#plan.graph.floats(node.input[2])!.values : undefined;
    if (!corrected && old === undefined) return undefined;
    const { inputMean, outputMean } = statistics;
    const weights = dequantize(layer, { levels, scales });
    const bias = Float32Array.from({ length: groups * rows }, (_, row) => {
      if (!corrected) return old!.length === 1 ? old![0] : old![row];
      const group = Math.floor(row / rows) * depth;
      let sum = 0;
      for (let j = 0; j < depth; j++) sum += weights[row * depth + j] * inputMean[group + j];
      return outputMean[row] - sum;
    });
    const steps = biasScales(layer, scales, grid);
    if (steps === undefined) return bias;
    const raised = raiseScales(layer, { levels, scales }, bias, steps);
    if (raised > 0) {
      this.#warnings.push(
        `${layer.target.name}: the scales of ${raised} channels with almost no weight were raised, ` +
          `so that their biases fit into 32 bits`,
      );
      return this.#bias(layer, { levels, scales }, statistics, corrected, grid);
    }
    return bias.map((value, c) => Math.round(value / steps[c]) * steps[c]);
  }

  /** Moves all lanes to the next segment. */
  async #advance(types: Types, names: readonly string[]): Promise<void> {
    await this.#open("float", this.#plan.model, types, names);
    await this.#open("quantized", this.#simulation(), types, names);
    const results = this.#pool.perLane(
      this.#lanes,
      (client, lane) =>
        client.call(
          "advance",
          [lane, "float", "quantized", names],
          (done) => this.#advanceProgress(done, "next segment"),
        ),
    );
    for await (const _ of results) checkAborted(this.#options.signal);
    await this.#pool.close();
  }

  #advanceProgress(done: number, detail: string): void {
    this.#done += done;
    this.#options.onProgress?.({
      stage: "quantize",
      done: this.#done,
      total: this.#total,
      detail,
    });
  }

  async #timed<T>(kind: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#seconds.set(kind, (this.#seconds.get(kind) ?? 0) + (performance.now() - start) / 1000);
    }
  }
}

/** Element types of the tensors that cross into a segment. */
type Types = ReadonlyMap<string, DataType>;

/** Whether the layer's node can take a bias of its own. */
function canCorrectBias(plan: Plan, { target }: LayerPlan): boolean {
  if (target.op === "MatMul") return false;
  const bias = target.node.input[2];
  if (!bias) return true;
  const tensor = plan.graph.constant(bias);
  if (tensor === undefined || tensor.dataType !== DataType.FLOAT) return false;
  const { length } = readFloats(tensor, plan.model.external);
  return length === target.groups * target.rows || length === 1;
}

/** Puts the rows that several engines rounded back together. */
function join(
  layer: LayerPlan,
  solutions: readonly Solution[],
): { levels: Int8Array; scales: Float32Array; error: LayerResult["error"] } {
  const { groups, rows, depth } = layer.target;
  const levels = new Int8Array(groups * rows * depth);
  const scales = new Float32Array(solutions.reduce((sum, s) => sum + s.scales.length, 0));
  let level = 0, scale = 0, nearest = 0, final = 0, power = 0;
  for (const solution of solutions) {
    levels.set(solution.levels, level);
    scales.set(solution.scales, scale);
    level += solution.levels.length;
    scale += solution.scales.length;
    nearest += solution.error.nearest;
    final += solution.error.final;
    power += solution.power;
  }
  const relative = (error: number) => power > 0 ? error / power : 0;
  return { levels, scales, error: { nearest: relative(nearest), final: relative(final) } };
}

/** Levels of a bias stay below this, half of what 32 bits hold. */
const MOST_BIAS = 2 ** 30;

/**
 * Raises the scales of rows whose bias would not fit into 32 bits at its scale (`steps`, input scale
 * times weight scale), and takes their levels along; returns how many were raised.
 */
function raiseScales(
  layer: LayerPlan,
  { levels, scales }: Rounding,
  bias: Float32Array,
  steps: Float32Array,
): number {
  const { depth } = layer.target;
  const factors = Float64Array.from(bias, (value, c) => Math.abs(value) / (MOST_BIAS * steps[c]));
  if (scales.length === 1) factors.fill(factors.reduce((a, b) => Math.max(a, b), 0));
  let raised = 0;
  for (let row = 0; row < bias.length; row++) {
    if (!(factors[row] > 1)) continue;
    // A little more, so that rounding to float32 cannot bring it back over the limit.
    const factor = factors[row] * 1.01;
    if (scales.length > 1) scales[row] *= factor;
    else if (row === 0) scales[0] *= factor;
    for (let i = row * depth; i < (row + 1) * depth; i++) {
      levels[i] = Math.round(levels[i] / factor);
    }
    raised++;
  }
  return raised;
}
