/**
 * The size of the loss's gradient with respect to each layer's weights, on a few samples: the
 * gradient graph of the whole float model, run by onnxruntime.
 *
 * There are no labels, so the loss is the cross-entropy of each output to its own answer, summed.
 *
 * @module
 */

import { AttuneError, checkAborted } from "../errors.ts";
import { isApart } from "../forward/batching.ts";
import { LANES } from "../engine/lanes.ts";
import type { LoadedBatches } from "../forward/loaded.ts";
import type { Batch, SampleAt } from "../engine/spool.ts";
import { differentiate, type GradientGraph, unsupported } from "../gradient/differentiate.ts";
import { extract } from "../graph/extract.ts";
import { nodeName } from "../graph/graph.ts";
import type { Model } from "../onnx/model.ts";
import { DataType } from "../onnx/tensor.ts";
import type { Plan } from "../plan/plan.ts";
import { opening } from "../runtime/opening.ts";
import type { EnginePool } from "../workers/pool.ts";
import type { Value } from "../runtime/session.ts";

/** Samples that gradients are found on, at most. */
const SAMPLES = 16;

/** The float model, and the gradient of its outputs' errors. */
export interface ModelGradient {
  /** What computes the outputs that have a gradient. */
  readonly forward: Model;
  /** The weight tensors that reach those; others have the gradient 0. */
  readonly weights: readonly string[];
  /** The gradients with respect to them. */
  readonly gradient: GradientGraph;
}

/**
 * The gradient of the model of `plan`.
 *
 * @throws {AttuneError} `bad-option` naming a node that has no gradient here.
 */
export function modelGradient(plan: Plan, { shapes, uniform }: LoadedBatches): ModelGradient {
  const { graph, model } = plan;
  const inputs = new Map(graph.inputs.map(({ name }) => [name, shapes.get(name)!.type]));
  const all = new Set(plan.layers.map(({ target }) => target.weight));
  const dims = new Map([...shapes].map(([name, info]) => [name, info.dims]));
  const refuse = (why: string, cause?: unknown) =>
    new AttuneError(
      "bad-option",
      `Cannot go by gradients of ${model.name}: ${why}; spread the budget in another way`,
      { cause },
    );
  if (!uniform) throw refuse("the samples have several shapes");
  const gradientOf = (outputs: readonly string[]): ModelGradient => {
    const forward = extract(model, { inputs, outputs });
    const weights = forward.proto.graph.initializer.map(({ name }) => name)
      .filter((name) => all.has(name));
    const node = unsupported(forward, weights);
    if (node) throw refuse(`node "${nodeName(node)}" (${node.opType}) has no gradient here`);
    try {
      return { forward, weights, gradient: differentiate(forward, dims, { wrt: weights }) };
    } catch (cause) {
      if (!(cause instanceof AttuneError) || cause.code !== "bad-model") throw cause;
      // "Cannot differentiate node …" says which and why.
      throw refuse(cause.message, cause);
    }
  };
  let refused = refuse("no output that a layer leads to is float32");
  const outputs = [...new Set(graph.outputs)].filter((output) => {
    if (shapes.get(output)?.type !== DataType.FLOAT) return false;
    try {
      return gradientOf([output]).weights.length > 0;
    } catch (error) {
      if (!(error instanceof AttuneError)) throw error;
      refused = error;
      return false;
    }
  });
  if (outputs.length === 0) throw refused;
  return gradientOf(outputs);
}

/** Σ |∂loss/∂w| of each weight tensor of `plan` by its name, averaged over samples. */
export async function gradientNorms(
  plan: Plan,
  loaded: LoadedBatches,
  pool: EnginePool,
  { forward, weights, gradient: derivative }: ModelGradient,
  { signal }: { readonly signal?: AbortSignal },
): Promise<Map<string, number>> {
  const { graph } = plan;
  const outputs = forward.proto.graph.output.map(({ name }) => name);
  await pool.open(...opening("forward", forward));
  await pool.open(...opening("gradient", derivative.model));
  const values: Batch = Object.fromEntries(weights.map((name) => {
    const { values, dims } = graph.floats(name)!;
    return [name, { type: "float32", dims, data: values }];
  }));
  const { batching } = loaded, size = isApart(batching) ? batching.size ?? 1 : 1;
  const inputs = graph.inputs.map(({ name }) => name);
  const places = placesOf(loaded, size);
  const norms = await pool.run(places.map(({ lane, samples }) => async (client) => {
    checkAborted(signal);
    const batch = await pool.ofLane(lane).call("pick", [lane, "inputs", samples, inputs]);
    const answers = await client.call("run", ["forward", batch]);
    const targets = outputs.map((output) =>
      [derivative.targets.get(output)!, targetOf(answers[output])] as const
    );
    const feeds = { ...batch, ...values, ...Object.fromEntries(targets) };
    const gradients = await client.call("run", ["gradient", feeds]);
    return weights.map((name) => sumOfSizes(gradients[derivative.gradients.get(name)!]));
  }));
  await pool.close();
  return new Map([
    ...plan.layers.map(({ target }) => [target.weight, 0] as const),
    ...weights.map((name, w) =>
      [name, norms.reduce((sum, portion) => sum + portion[w], 0) / norms.length] as const
    ),
  ]);
}

/** Where the first samples lie, in as many portions as models of a batch of `size` can run. */
function placesOf(
  { batches, batchSize, sizes }: LoadedBatches,
  size: number,
): { lane: number; samples: SampleAt[] }[] {
  const places: { lane: number; samples: SampleAt[] }[] = [];
  // From one batch of each lane after the other, so that all engines have work.
  for (let row = 0; row < batchSize; row += size) {
    for (let batch = 0; batch < batches && places.length * size < SAMPLES; batch++) {
      const of = sizes[batch];
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
