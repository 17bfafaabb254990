/** Compares gradient graphs with central differences in float64. */

import { assert } from "std/assert/assert.js";
import { differentiate } from "../../src/gradient/differentiate.ts";
import type { NodeProto, TensorProto } from "../../src/onnx/gen/onnx_pb.ts";
import { withAllOutputs } from "../../src/blocks/model.ts";
import type { Model } from "../../src/onnx/model.ts";
import { floatTensor } from "../../src/onnx/tensor.ts";
import { Float64Model, type Tensor64 } from "./float64.ts";
import { build, noise, runModel } from "./models.ts";

/** A small model whose gradients are checked. */
export interface Case {
  readonly nodes: NodeProto[];
  /** Shapes of inputs and float initializers: gradients are taken with respect to all of them. */
  readonly tensors: Readonly<Record<string, readonly number[]>>;
  /** Values of some of them; noise otherwise. */
  readonly values?: Readonly<Record<string, Float32Array>>;
  /** Other initializers. */
  readonly constants?: TensorProto[];
  readonly outputs?: string[];
}

const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/** Random single elements, and one direction in which all elements move. */
function directions(length: number, seed: number): Float64Array[] {
  const dense = Float64Array.from(noise(length, seed + 1));
  const single = Array.from({ length: Math.min(3, length) }, (_, i) => {
    const direction = new Float64Array(length);
    direction[(seed * 7919 + i * 104729) % length] = 1;
    return direction;
  });
  return [dense, ...single];
}

/** A case with its model, and what is fed to it. */
interface Problem {
  readonly model: Model;
  /** What gradients are taken with respect to: their shapes and values. */
  readonly tensors: Case["tensors"];
  readonly values: Readonly<Record<string, Float32Array>>;
  /** Shapes of all tensors. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** What the outputs should be: the loss is the mean square of what they lack, summed. */
  readonly targets: Readonly<Record<string, Float32Array>>;
}

/** The model of `test`, its values and targets; shapes are those that onnxruntime computes. */
async function problemOf(test: Case): Promise<Problem> {
  const { nodes, tensors, constants = [], outputs = ["y"] } = test;
  const names = Object.keys(tensors);
  const values = Object.fromEntries(names.map((name, i) => [
    name,
    test.values?.[name] ?? noise(size(tensors[name]), 17 * i + 5),
  ]));
  const model = build({
    opset: 21,
    // The first is an input, the others are initializers, as in a block.
    inputs: { [names[0]]: [...tensors[names[0]]] },
    nodes,
    initializers: [
      ...names.slice(1).map((name) => floatTensor(name, [...tensors[name]], values[name])),
      ...constants,
    ],
    outputs,
  });
  const feed = {
    [names[0]]: { type: "float32", dims: [...tensors[names[0]]], data: values[names[0]] },
  };
  const all = await runModel(withAllOutputs(model), feed, { optimization: "basic" });
  const shapes = new Map(Object.entries(all).map(([name, { dims }]) => [name, dims]));
  for (const name of names) shapes.set(name, tensors[name]);
  const targets = Object.fromEntries(
    outputs.map((name, i) => [name, noise(size(shapes.get(name)!), 91 + i)]),
  );
  return { model, tensors, values, shapes, targets };
}

/** The loss and the gradients that the gradient graph computes. */
async function differentiated({ model, tensors, values, shapes, targets }: Problem) {
  const names = Object.keys(tensors);
  const graph = differentiate(model, shapes, { wrt: names });
  const fed = Object.fromEntries([
    ...names.map((name) => [name, values[name], tensors[name]] as const),
    ...Object.entries(targets).map(([name, target]) =>
      [graph.targets.get(name)!, target, shapes.get(name)!] as const
    ),
  ].map(([name, data, dims]) => [name, { type: "float32", dims: [...dims], data }]));
  const results = await runModel(graph.model, fed);
  return {
    loss: Number(results[graph.loss].data[0]),
    gradients: new Map(names.map((name) => [name, results[graph.gradients.get(name)!]])),
  };
}

/** The loss in float64 where the tensor `name` has the values `moved`. */
async function lossAt(
  exact: Float64Model,
  { tensors, values, targets }: Problem,
  name: string,
  moved: Float64Array,
): Promise<number> {
  const feeds: Record<string, Tensor64> = Object.fromEntries(
    Object.entries(tensors).map(([n, dims]) => [n, { dims, data: Float64Array.from(values[n]) }]),
  );
  feeds[name] = { dims: tensors[name], data: moved };
  const results = await exact.run(feeds);
  return Object.entries(targets).reduce((sum, [output, target]) => {
    const y = results[output].data as Float64Array;
    return sum + y.reduce((total, value, i) => total + (value - target[i]) ** 2, 0) / y.length;
  }, 0);
}

/** Asserts that the gradient graph of `test` says what central differences of its loss say. */
export async function checkGradients(what: string, test: Case): Promise<void> {
  const problem = await problemOf(test), { model, tensors, values, shapes } = problem;
  const names = Object.keys(tensors);
  const computed = await differentiated(problem);

  await using exact = new Float64Model(model, shapes);
  const here = await lossAt(exact, problem, names[0], Float64Array.from(values[names[0]]));
  assert(
    Math.abs(computed.loss - here) <= 1e-4 * Math.abs(here),
    `${what}: loss ${computed.loss}, not ${here}`,
  );
  for (const [seed, name] of names.entries()) {
    const gradient = computed.gradients.get(name)!;
    assert(gradient.dims.join() === tensors[name].join(), `${what}: shape of ∂/∂${name}`);
    const slopes = Float64Array.from(gradient.data as Float32Array);
    const length = Math.sqrt(slopes.reduce((sum, value) => sum + value * value, 0));
    for (const direction of directions(slopes.length, seed)) {
      const step = 1e-5;
      const at = (sign: number) =>
        lossAt(exact, problem, name, direction.map((d, i) => values[name][i] + sign * step * d));
      const expected = (await at(1) - await at(-1)) / (2 * step);
      const actual = slopes.reduce((sum, value, i) => sum + value * direction[i], 0);
      const norm = Math.sqrt(direction.reduce((sum, value) => sum + value * value, 0));
      assert(
        Math.abs(actual - expected) <=
          1e-3 * Math.max(Math.abs(expected), 0.1 * length * norm) + 1e-7,
        `${what}: ∂/∂${name} is ${actual} along a direction where it should be ${expected}`,
      );
    }
  }
}
