/**
 * The time of gradients, relative to the forward pass, on one thread:
 * `deno run -A bench/gradient.ts [web | node] [conv | blocks]`. First every formulation of a
 * convolution's gradients, the chosen one marked by a star; then gradient graphs of typical blocks,
 * which hold the forward pass, too. The best of several runs is taken, and the contestants take
 * turns, so that a busy machine bends all alike.
 *
 * @module
 */

import { differentiate } from "../src/gradient/differentiate.ts";
import { extract } from "../src/graph/extract.ts";
import { copyModel } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { type Backend, loadBackend } from "../src/runtime/backends.ts";
import type { Runtime } from "../src/runtime/session.ts";
import { modelOf, noise, race } from "./gradient_race.ts";
import { type Block, BLOCKS } from "./gradient_blocks.ts";
import { CASES, convolutions } from "./gradient_conv.ts";

const SCALARS: Readonly<Record<string, number>> = {
  zero: 0,
  six: 6,
  fifteen: 15,
  one: 1,
  half: 0.5,
  root: Math.SQRT1_2,
  scale: 0.2,
};

/** The time of a block's gradient graph, which holds the forward pass, relative to that. */
async function block(runtime: Runtime, name: string, make: () => Block): Promise<void> {
  const { nodes, shapes, weights, constants, last } = make();
  const model = modelOf(["x"], nodes, [last]), { graph } = model.proto;
  // Small weights, so that nothing saturates.
  const scaled = (dims: readonly number[]) => {
    const { type, data } = noise(dims);
    return { type, dims, data: (data as Float32Array).map((value) => value / 10) };
  };
  for (const weight of weights) {
    const { dims, data } = scaled(shapes.get(weight)!);
    graph.initializer.push(floatTensor(weight, dims, data));
  }
  for (const [key, value] of Object.entries(SCALARS)) {
    if (shapes.has(key)) graph.initializer.push(floatTensor(key, [], Float32Array.of(value)));
  }
  for (const [key, list] of Object.entries(constants)) {
    graph.initializer.push(int64Tensor(key, [list.length], list));
  }
  // The forward pass takes its weights as inputs, too: as constants they would be laid out in
  // advance.
  const types = new Map(["x", ...weights].map((key) => [key, DataType.FLOAT] as const));
  const forward = extract(copyModel(model), { inputs: types, outputs: [last] });
  const gradient = differentiate(model, shapes, { wrt: weights });
  const feeds = Object.fromEntries([
    ["x", noise(shapes.get("x")!)],
    ...weights.map((key) => [key, scaled(shapes.get(key)!)]),
  ]);
  const targets = Object.fromEntries(
    [...gradient.targets].map(([output, target]) => [target, noise(shapes.get(output)!)]),
  );
  const [time, whole] = await race(runtime, [
    { model: forward, feeds },
    { model: gradient.model, feeds: { ...feeds, ...targets } },
  ], 2500);
  const figures = `${time.toFixed(1).padStart(6)} ms  ${(whole / time).toFixed(2)}`;
  console.log(`${name.padEnd(34)} ${figures}`);
}

if (import.meta.main) {
  const [backend = "web", only] = Deno.args;
  const runtime = await loadBackend(backend as Backend);
  if (only !== "blocks") { for (const test of CASES) await convolutions(runtime, test); }
  if (only !== "conv") {
    for (const [name, make] of Object.entries(BLOCKS)) await block(runtime, name, make);
  }
}
