/**
 * Learns one block: its outputs on the quantized model's inputs shall be those that the float model has
 * on its own. A step runs the block's gradient graph on a few samples, spread over the workers, and
 * moves what is learned; the result is kept only if it is better on samples that it did not learn from.
 *
 * @module
 */

import { differentiate } from "../gradient/differentiate.ts";
import { checkAborted } from "../errors.ts";
import type { Batch } from "../calibrate/spool.ts";
import type { BlockRequest } from "../calibrate/engine.ts";
import { type ActivationGrid, type Parts, type Rounding, stepName } from "../emit/build.ts";
import { sessionBytes } from "../onnx/session_bytes.ts";
import type { DataType } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import { readWeight } from "../plan/targets.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { Block } from "./cut.ts";
import { blockModel, feedInitializers, withAllOutputs } from "./model.ts";
import {
  BiasParameter,
  type LearnTuning,
  type Parameter,
  StepParameter,
  WeightParameter,
} from "./parameters.ts";
import type { BlockSamples, Shard } from "./samples.ts";

/** How a block is learned. */
export interface LearnOptions extends LearnTuning {
  /** Steps at most. */
  readonly steps: number;
  /** Shards of a step. */
  readonly shards: number;
  /** Samples that the block is judged by, at most. */
  readonly judged: number;
  /** When to stop, by `performance.now()`. */
  readonly deadline: number;
  /** Stops the job. */
  readonly signal?: AbortSignal;
  /** Hears of steps done. */
  readonly onStep?: (steps: number) => void;
}

/** What came of a block. */
export interface LearnedBlock {
  /** New roundings by layer name; empty where nothing was gained. */
  readonly roundings: ReadonlyMap<string, Rounding>;
  /** New grids by tensor. */
  readonly grids: ReadonlyMap<string, ActivationGrid>;
  /** Squared error on the judging samples, relative to the output's power. */
  readonly error: { readonly before: number; readonly after: number };
  /** Steps that were done. */
  readonly steps: number;
}

/** Times that a block is judged while it learns. */
const JUDGEMENTS = 6;

/** Learns `block`, whose layers have been rounded in `parts`. */
export async function learnBlock(
  plan: Plan,
  block: Block,
  parts: Parts,
  types: ReadonlyMap<string, DataType>,
  samples: BlockSamples,
  pool: EnginePool,
  options: LearnOptions,
): Promise<LearnedBlock | undefined> {
  const { model, layers, activations } = blockModel(plan, block, parts, types);
  if (layers.length === 0) return undefined;
  const parameters = new Map<string, Parameter>();
  const weights = new Map<string, WeightParameter>(), steps = new Map<string, StepParameter>();
  for (const { layer, weight, bias } of layers) {
    const rounding = parts.roundings.get(layer.target.name)!;
    const home = readWeight(plan.graph, layer.target);
    const learned = new WeightParameter(layer, rounding, home, options);
    weights.set(layer.target.name, learned);
    parameters.set(weight, learned);
    if (bias !== undefined) parameters.set(bias, new BiasParameter(rounding.bias!, options));
  }
  for (const name of activations) {
    const step = new StepParameter(parts.grids.get(name)!, options);
    steps.set(name, step);
    parameters.set(stepName(name), step);
  }

  const inputs = [...types.keys()].filter((name) => block.inputs.includes(name));
  const [example] = samples.shards(0, 1);
  const shapes = await shapesOf(model, inputs, example, pool);
  const wrt = [...parameters.keys()];
  const gradient = differentiate(model, shapes, { wrt });
  await pool.open("gradient", sessionBytes(gradient.model), { simulate: true });
  await pool.open("block", sessionBytes(feedInitializers(model, wrt)), { simulate: true });
  const values = (): Batch =>
    Object.fromEntries([...parameters].map(([name, parameter]) => [name, parameter.value()]));
  const request = (shard: Shard, key: string, now: Batch): BlockRequest => ({
    key,
    samples: shard.samples,
    inputs,
    targets: [...gradient.targets],
    values: now,
  });
  const judging = samples.judged(options.judged);
  const judge = async () => {
    const now = values();
    const results = await Promise.all(
      judging.map((shard) =>
        pool.ofLane(shard.lane).call("blockError", [shard.lane, request(shard, "block", now)])
      ),
    );
    const error = results.reduce((sum, result) => sum + result.error, 0);
    return error / Math.max(1e-30, results.reduce((sum, result) => sum + result.power, 0));
  };

  const before = await judge();
  let best = { error: before, restore: saveAll(parameters.values()), steps: 0 };
  let done = 0;
  const total = options.steps, every = Math.max(1, Math.ceil(total / JUDGEMENTS));
  const started = performance.now();
  for (; done < total; done++) {
    checkAborted(options.signal);
    const now = values();
    const results = await Promise.all(
      samples.shards(done, options.shards).map((shard) =>
        pool.ofLane(shard.lane).call("gradients", [shard.lane, request(shard, "gradient", now)])
      ),
    );
    // Down to nothing, so that the last steps settle; by time where that is what ends it.
    const spent = (performance.now() - started) / Math.max(1, options.deadline - started);
    const decay = 0.5 * (1 + Math.cos(Math.PI * Math.min(1, Math.max(done / total, spent))));
    for (const [name, parameter] of parameters) {
      const [first, ...others] = results.map((result) =>
        result[gradient.gradients.get(name)!].data as Float32Array
      );
      for (const other of others) for (let i = 0; i < first.length; i++) first[i] += other[i];
      parameter.step(first, done, decay);
    }
    options.onStep?.(1);
    const last = done === total - 1 || performance.now() >= options.deadline;
    if (last || (done + 1) % every === 0) {
      const error = await judge();
      if (Deno.env.get("LEARN_DEBUG")) {
        console.error(`  ${done + 1}: ${error.toExponential(3)} of ${before.toExponential(3)}`);
      }
      if (error < best.error) {
        best = { error, restore: saveAll(parameters.values()), steps: done + 1 };
      }
    }
    if (last) break;
  }
  await pool.close();
  best.restore();
  const kept = best.steps > 0;
  return {
    roundings: new Map(
      (kept ? layers : []).map(({ layer: { target: { name } }, bias }) => {
        const data = bias === undefined ? undefined : parameters.get(bias)!.value().data;
        const own = data as Float32Array | undefined ?? parts.roundings.get(name)!.bias;
        return [name, { ...weights.get(name)!.rounding(), bias: own }];
      }),
    ),
    grids: new Map(
      (kept ? [...steps] : []).map((
        [name, { scale }],
      ) => [name, { ...parts.grids.get(name)!, scale }]),
    ),
    error: { before, after: best.error },
    steps: done + 1,
  };
}

function saveAll(parameters: Iterable<Parameter>): () => void {
  const restores = [...parameters].map((parameter) => parameter.save());
  return () => restores.forEach((restore) => restore());
}

/** The shape of every tensor of `model`, for as many samples as `example` has. */
async function shapesOf(
  model: Parameters<typeof withAllOutputs>[0],
  inputs: readonly string[],
  { lane, samples }: Shard,
  pool: EnginePool,
): Promise<Map<string, readonly number[]>> {
  const client = pool.ofLane(lane);
  const feed: Batch = await client.call("pick", [lane, samples, inputs]);
  await client.call("open", ["shapes", sessionBytes(withAllOutputs(model)), {
    optimization: "basic",
  }]);
  const all: Batch = { ...feed, ...await client.call("run", ["shapes", feed]) };
  const shapes = new Map(Object.entries(all).map(([name, { dims }]) => [name, dims]));
  for (const { name, dims } of model.proto.graph.initializer) shapes.set(name, dims.map(Number));
  return shapes;
}
