/**
 * Learns one block: its outputs on the quantized model's inputs shall be those that the float model
 * has on its own. A step runs the block's gradient graph on a few samples, spread over the workers,
 * and moves what is learned; the result is kept only if it is better on samples that it did not
 * learn from.
 *
 * @module
 */

import { onGrid } from "../layer/bias.ts";
import type { BlockRequest } from "../engine/requests.ts";
import type { Batch } from "../engine/spool.ts";
import { checkAborted } from "../errors.ts";
import {
  type ActivationGrid,
  biasScales,
  type Parts,
  type Rounding,
  stepName,
} from "../emit/build.ts";
import { Kernel } from "../kernel/kernel.ts";
import { differentiate, shapeValues } from "../gradient/differentiate.ts";
import type { Model } from "../onnx/model.ts";
import { gridSource } from "../plan/activations.ts";
import type { LayerPlan } from "../weights/layer.ts";
import { readWeight } from "../weights/matrix.ts";
import type { BlockReport } from "../report/report.ts";
import { opening } from "../runtime/opening.ts";
import type { Job } from "../forward/job.ts";
import { SoftRoundingParameter } from "./adaround.ts";
import { notBySample } from "../engine/spool.ts";
import { type BlockModel, feedInitializers, withAllOutputs } from "./model.ts";
import {
  BiasParameter,
  type LearnTuning,
  type Pace,
  type Parameter,
  type RoundingParameter,
  StepParameter,
  WeightParameter,
} from "./parameters.ts";
import type { BlockSamples, Shard } from "./samples.ts";

/** How a block is learned. */
export interface LearnOptions extends LearnTuning {
  /** Iterations at most. */
  readonly iterations: number;
  /** Shards of a step. */
  readonly shards: number;
  /** Whether inputs lose about half of their quantization, by chance, in every step. */
  readonly drop: boolean;
  /** When to stop, by `performance.now()`, given the block's relative error at the start. */
  readonly deadline: (error: number) => number;
  /** The shape of a tensor for so many samples, if they lie along its first axis. */
  readonly dimsOf: (name: string, samples: number) => readonly number[] | undefined;
  /** Gets the gradient graph. */
  readonly onGraph: (model: Model) => void;
  /** Hears of the share of the work that is done. */
  readonly onShare: (share: number) => void;
}

/** What came of a block. */
export interface Learned {
  /** New roundings by the layer's output; none where nothing was gained. */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** New scales of activations. */
  readonly scales: ReadonlyMap<string, number>;
  /** What the report says. */
  readonly report: Omit<BlockReport, "layers">;
}

/** Steps that the step sizes are made for; with a quarter of them they are twice as long. */
const USUAL_STEPS = 500;
/** How much longer, or shorter, they get. */
const MOST_SPEED = 5;
/** Times that a block is judged while it learns, and the samples that it is judged by, at most. */
const JUDGEMENTS = 6, JUDGED_SAMPLES = 128;

/** Learns `block`, whose layers have been rounded in `parts`. */
export async function learnBlock(
  job: Job,
  block: BlockModel,
  parts: Parts,
  samples: BlockSamples,
  options: LearnOptions,
): Promise<Learned> {
  using kernel = Kernel.create();
  try {
    return await new Learning({ job, block, parts, samples, options, kernel }).run();
  } finally {
    await job.pool.close();
  }
}

/** What learning goes by. */
interface LearningInput {
  readonly job: Job;
  readonly block: BlockModel;
  readonly parts: Parts;
  readonly samples: BlockSamples;
  readonly options: LearnOptions;
  /** Where what is learned lies. */
  readonly kernel: Kernel;
}

/** A block stays as its layers were rounded. */
function nothing(report: Learned["report"]): Learned {
  return { roundings: new Map(), scales: new Map(), report };
}

class Learning {
  readonly #job: Job;
  readonly #block: BlockModel;
  readonly #parts: Parts;
  readonly #samples: BlockSamples;
  readonly #options: LearnOptions;
  /** By the tensor that each is fed to. */
  readonly #parameters = new Map<string, Parameter>();
  readonly #weights = new Map<string, RoundingParameter>();
  readonly #scales = new Map<string, StepParameter>();
  readonly #inputs: readonly string[];
  /** By output, the input of the gradient graph that takes its target. */
  #targets: ReadonlyMap<string, string> = new Map();

  constructor({ job, block, parts, samples, options, kernel }: LearningInput) {
    this.#job = job;
    this.#block = block;
    this.#parts = parts;
    this.#samples = samples;
    this.#options = options;
    this.#inputs = block.model.proto.graph.input.map(({ name }) => name);
    for (const { layer, weight, bias } of block.layers) {
      const rounding = parts.roundings.get(layer.target.output)!;
      const home = readWeight(job.plan.graph, layer.target);
      const learned = options.rule === "adaround"
        ? new SoftRoundingParameter(kernel, layer, rounding, home)
        : new WeightParameter(kernel, layer, rounding, home, options);
      this.#weights.set(layer.target.output, learned);
      this.#parameters.set(weight, learned);
      if (bias === undefined) continue;
      const steps = biasScales(layer, rounding.scales, this.#gridOf(layer));
      this.#parameters.set(bias, new BiasParameter(kernel, rounding.bias!, steps));
    }
    for (const name of block.activations) {
      const step = new StepParameter(kernel, parts.grids.get(name)!);
      this.#scales.set(name, step);
      this.#parameters.set(stepName(name), step);
    }
  }

  async run(): Promise<Learned> {
    const { iterations, deadline, onShare } = this.#options, { signal } = this.#job;
    const opened = performance.now();
    const gradients = await this.#open();
    const ready = performance.now();
    const before = await this.#judge();
    const started = performance.now();
    // The last judgement must be done by then, too.
    const end = deadline(before) - (started - ready);
    // What took as long to begin with as there is time left is not worth it.
    if (end - started < started - opened) {
      return nothing({ iterations: 0, outcome: "no time", note: "no time left" });
    }
    let best = { error: before, restore: this.#save(), iterations: 0 };
    let done = 0, share = 0, expected = iterations, judged = 0;
    while (share < 1) {
      checkAborted(signal);
      const speed = Math.sqrt(USUAL_STEPS / expected);
      const pace = {
        remaining: 1 - share,
        speed: Math.min(MOST_SPEED, Math.max(1 / MOST_SPEED, speed)),
      };
      await this.#step(done++, pace, gradients);
      // By time where that is what ends it, with time for one more step.
      const spent = performance.now() - started, each = spent / done;
      if (end !== Infinity) expected = Math.min(iterations, (end - started) / each);
      const byTime = end - started - spent < each ? 1 : spent / (end - started);
      share = Math.min(1, Math.max(done / iterations, byTime));
      onShare(share);
      if (share < 1 && Math.floor(share * JUDGEMENTS) === judged) continue;
      judged = Math.floor(share * JUDGEMENTS);
      const error = await this.#judge();
      if (error < best.error) best = { error, restore: this.#save(), iterations: done };
    }
    best.restore();
    const report = { iterations: done, error: { before, after: best.error } };
    if (best.iterations === 0) return nothing({ ...report, outcome: "no gain", note: "no gain" });
    return { ...this.#result(), report: { ...report, outcome: "learned" } };
  }

  /** Opens the gradient graph and the block in all workers; returns the gradients' outputs. */
  async #open(): Promise<ReadonlyMap<string, string>> {
    const { model } = this.#block, wrt = [...this.#parameters.keys()];
    const { shapes, values } = await this.#tensors();
    const { targets, gradients, model: graph } = differentiate(model, shapes, { wrt, values });
    this.#options.onGraph(graph);
    this.#targets = targets;
    await this.#job.pool.open(...opening("gradient", graph, { simulate: true }));
    const fed = feedInitializers(model, wrt);
    await this.#job.pool.open(...opening("block", fed, { simulate: true }));
    return gradients;
  }

  /**
   * The shape of every tensor that is computed from a shard, and the values that follow from
   * shapes.
   */
  async #tensors(): Promise<
    { shapes: Map<string, readonly number[]>; values: Map<string, number[]> }
  > {
    const { model } = this.#block;
    const [{ lane, samples }] = this.#samples.shards(0, 1);
    const client = this.#job.pool.ofLane(lane);
    const outputs = model.proto.graph.output.map(({ name }) => name);
    const feed = await client.call("pick", [lane, "inputs", samples, this.#inputs]);
    const targets = await client.call("pick", [lane, "targets", samples, outputs]);
    for (const [name, { dims }] of Object.entries({ ...feed, ...targets })) {
      if (dims.join() !== this.#options.dimsOf(name, samples.length)?.join()) {
        throw notBySample(name);
      }
    }
    const open = opening("shapes", withAllOutputs(model), { optimization: "basic" });
    await client.call("open", open);
    const computed = await client.call("run", ["shapes", feed]);
    const all = { ...feed, ...computed };
    for (const name of outputs) {
      if (all[name].dims.join() !== targets[name].dims.join()) throw notBySample(name);
    }
    const steady = shapeValues(model);
    return {
      shapes: new Map(Object.entries(all).map(([name, { dims }]) => [name, dims])),
      values: new Map(
        Object.entries(computed).filter(([name, { type }]) => steady.has(name) && type === "int64")
          .map(([name, { data }]) => [name, Array.from(data, Number)]),
      ),
    };
  }

  #request(shard: Shard, key: string, values: Batch): BlockRequest {
    const targets = [...this.#targets];
    return { key, samples: shard.samples, inputs: this.#inputs, targets, values };
  }

  /** What is learned, as it is fed; `final` is as it would be written. */
  #values(final: boolean): Batch {
    return Object.fromEntries([...this.#parameters].map(([name, it]) => [name, it.value(final)]));
  }

  /** The squared error of the block on the samples to judge by, relative to the outputs' power. */
  async #judge(): Promise<number> {
    const values = this.#values(true);
    const results = await Promise.all(
      this.#samples.judged(JUDGED_SAMPLES).map((shard) =>
        this.#job.pool.ofLane(shard.lane).call("blockError", [
          shard.lane,
          this.#request(shard, "block", values),
        ])
      ),
    );
    const power = results.reduce((sum, result) => sum + result.power, 0);
    return results.reduce((sum, result) => sum + result.error, 0) / Math.max(1e-30, power);
  }

  /** Step `step`, from 0. */
  async #step(step: number, pace: Pace, gradients: ReadonlyMap<string, string>): Promise<void> {
    const values = this.#values(false);
    const { shards, drop } = this.#options, { seed } = this.#job;
    const results = await Promise.all(
      this.#samples.shards(step, shards).map((shard, i) =>
        this.#job.pool.ofLane(shard.lane).call("gradients", [shard.lane, {
          ...this.#request(shard, "gradient", values),
          drop: drop ? seed + 4099 * (step * shards + i) : undefined,
        }])
      ),
    );
    for (const [name, parameter] of this.#parameters) {
      const output = gradients.get(name)!;
      // In the order of the shards, so that the number of workers changes no bit.
      const [sum, ...others] = results.map((result) => result[output].data as Float32Array);
      for (const other of others) for (let i = 0; i < sum.length; i++) sum[i] += other[i];
      parameter.step(sum, step, pace);
    }
  }

  /** The grid of the layer's input, where it has one. */
  #gridOf({ target: { input } }: LayerPlan): ActivationGrid | undefined {
    const source = gridSource(this.#job.plan.activations, input);
    const grid = this.#parts.grids.get(source);
    return grid && { ...grid, scale: this.#scales.get(source)?.scale ?? grid.scale };
  }

  #save(): () => void {
    const restores = [...this.#parameters.values()].map((parameter) => parameter.save());
    return () => restores.forEach((restore) => restore());
  }

  #result(): Pick<Learned, "roundings" | "scales"> {
    const roundings = this.#block.layers.map(({ layer, bias: parameter }) => {
      const { output } = layer.target;
      const { levels, scales, lows } = this.#weights.get(output)!.rounding();
      const learned = parameter === undefined ? undefined : this.#parameters.get(parameter);
      const bias = learned instanceof BiasParameter
        ? onGrid(learned.bias, biasScales(layer, scales, this.#gridOf(layer)))
        : this.#parts.roundings.get(output)!.bias;
      return [output, { levels, scales, lows, bias }] as const;
    });
    const scales = [...this.#scales].map(([name, { scale }]) => [name, scale] as const);
    return { roundings: new Map(roundings), scales: new Map(scales) };
  }
}
