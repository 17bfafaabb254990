/**
 * The size of the loss's gradient with respect to each layer's weights, on a few samples: the gradient
 * graph of the whole float model, run by onnxruntime.
 *
 * There are no labels, so the loss is the cross-entropy of the model's first output to its own answer.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { fixedBatch } from "../calibrate/batches.ts";
import { LANES } from "../calibrate/engine.ts";
import type { LoadedBatches } from "../calibrate/job.ts";
import type { Batch, SampleAt } from "../calibrate/spool.ts";
import { differentiate, type GradientGraph, unsupported } from "../gradient/differentiate.ts";
import { extract } from "../graph/extract.ts";
import { nodeName } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { Plan } from "../plan/plan.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../runtime/pool.ts";
import type { Value } from "../runtime/session.ts";

/** Samples that gradients are found on, at most. */
const SAMPLES = 16;

/** The float model, and the gradient of its first output's error. */
export interface ModelGradient {
  /** What computes the output. */
  readonly forward: Model;
  /** The weight tensors. */
  readonly weights: readonly string[];
  /** The gradients with respect to them. */
  readonly gradient: GradientGraph;
}

/**
 * The gradient of the model of `plan`.
 *
 * @throws {AttuneError} `bad-option` naming a node that has no gradient here.
 */
export function modelGradient(plan: Plan, { shapes }: LoadedBatches): ModelGradient {
  const { graph, model } = plan;
  const inputs = new Map(graph.inputs.map(({ name }) => [name, shapes.get(name)!.type]));
  const forward = extract(model, { inputs, outputs: [graph.outputs[0]] });
  const weights = [...new Set(plan.layers.map(({ target }) => target.weight))];
  const refuse = (why: string, cause?: unknown) =>
    new AttuneError(
      "bad-option",
      `Cannot go by gradients of ${model.name}: ${why}; spread the budget in another way`,
      { cause },
    );
  const node = unsupported(forward, weights);
  if (node) throw refuse(`node "${nodeName(node)}" (${node.opType}) has no gradient here`);
  const dims = new Map([...shapes].map(([name, info]) => [name, info.dims]));
  try {
    return { forward, weights, gradient: differentiate(forward, dims, { wrt: weights }) };
  } catch (cause) {
    if (!(cause instanceof AttuneError) || cause.code !== "bad-model") throw cause;
    // "Cannot differentiate node …" says which and why.
    throw refuse(cause.message, cause);
  }
}

/** Σ |∂loss/∂w| of each weight tensor of `plan` by its name, averaged over samples. */
export async function gradientNorms(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  { forward, weights, gradient: found }: ModelGradient,
  { signal }: { readonly signal?: AbortSignal },
): Promise<Map<string, number>> {
  const { graph } = plan;
  const [output] = graph.outputs;
  await pool.open(...opening("forward", forward));
  await pool.open(...opening("gradient", found.model));
  const values: Batch = Object.fromEntries(weights.map((name) => {
    const { values, dims } = graph.floats(name)!;
    return [name, { type: "float32", dims, data: values }];
  }));
  const size = fixedBatch(graph.inputs) ?? 1, inputs = graph.inputs.map(({ name }) => name);
  const places = placesOf(loaded, size);
  const norms = await pool.run(places.map(({ lane, samples }) => async (client) => {
    checkAborted(signal);
    const batch = await pool.ofLane(lane).call("pick", [lane, "inputs", samples, inputs]);
    const target = targetOf((await client.call("run", ["forward", batch]))[output]);
    const feeds = { ...batch, ...values, [found.targets.get(output)!]: target };
    const gradients = await client.call("run", ["gradient", feeds]);
    return weights.map((name) => sumOfSizes(gradients[found.gradients.get(name)!]));
  }));
  await pool.close();
  return new Map(
    weights.map((name, w) => [name, norms.reduce((sum, own) => sum + own[w], 0) / norms.length]),
  );
}

/** Where the first samples lie, in as many portions as models of a batch of `size` can run. */
function placesOf(
  { batches, batchSize, samples }: LoadedBatches,
  size: number,
): { lane: number; samples: SampleAt[] }[] {
  const places: { lane: number; samples: SampleAt[] }[] = [];
  // From one batch of each lane after the other, so that all engines have work.
  for (let row = 0; row < batchSize; row += size) {
    for (let batch = 0; batch < batches && places.length * size < SAMPLES; batch++) {
      const of = Math.min(batchSize, samples - batch * batchSize);
      if (row + size > of) continue;
      const at = { batch: Math.floor(batch / LANES), of };
      places.push({
        lane: batch % LANES,
        samples: Array.from({ length: size }, (_, r) => ({ ...at, row: row + r })),
      });
    }
  }
  return places;
}

/**
 * The target whose mean squared error has the gradient of the cross-entropy of `output` to its own
 * answer, softmax(y) − 1 at the largest: t = y − N/2 · (softmax(y) − 1 at the largest).
 */
function targetOf({ type, dims, data }: Value): Value {
  const y = data as Float32Array, target = y.slice(), width = dims[dims.length - 1] ?? 1;
  for (let from = 0; from < y.length; from += width) {
    const row = y.subarray(from, from + width);
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity), answer = row.indexOf(most);
    const shares = Float64Array.from(row, (value) => Math.exp(value - most));
    const total = shares.reduce((sum, value) => sum + value, 0);
    for (let i = 0; i < width; i++) {
      target[from + i] -= y.length / 2 * (shares[i] / total - Number(i === answer));
    }
  }
  return { type, dims, data: target };
}

function sumOfSizes({ data }: Value): number {
  let sum = 0;
  for (const value of data as Float32Array) sum += Math.abs(value);
  return sum;
}
