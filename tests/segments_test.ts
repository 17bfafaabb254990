/** The order of work: which layers go together, and where the model is cut between them. */

import { assert } from "std/assert/assert.js";
import { assertAlmostEquals } from "std/assert/almost_equals.js";
import { assertEquals } from "std/assert/equals.js";
import {
  findSegments,
  findSteps,
  portionsOf,
  secondsOf,
  type Segment,
} from "../src/calibrate/segments.ts";
import type { TensorInfo } from "../src/forward/batches.ts";
import type { NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { makeNode } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import type { GramPlan, LayerPlan } from "../src/weights/layer.ts";
import { build, noise } from "./helpers/models.ts";

/** A plan of `nodes` on an input x of `width` columns; all layers read the same zeros. */
function planOf(nodes: NodeProto[], output: string, width = 4): Plan {
  return makePlan(build({
    opset: 17,
    inputs: { x: ["N", width] },
    nodes,
    initializers: [
      floatTensor("w", [width, width], new Float32Array(width * width)),
      int64Tensor("first", [], [0]),
    ],
    outputs: [output],
  }));
}

/** A layer from tensor `from` to tensor `to`, named after the latter. */
const layer = (from: string, to: string) => makeNode("MatMul", to, [from, "w"], [to]);
const relu = (from: string, to: string) => makeNode("Relu", to, [from], [to]);
/** Nodes that pass `from` on through a sequence, which is no tensor and cannot cross a cut. */
const sequence = (from: string, to: string) => [
  makeNode("SequenceConstruct", `${to}/put`, [from], [`${to}/all`]),
  makeNode("SequenceAt", `${to}/get`, [`${to}/all`, "first"], [to]),
];

const namesOf = (steps: readonly (readonly LayerPlan[])[]) =>
  steps.map((step) => step.map(({ target }) => target.name));

/** What is known of a tensor of `elements` that takes `bytes`, which need not go together here. */
const tensor = (elements: number, bytes: number): TensorInfo => ({
  dims: [elements],
  type: DataType.FLOAT,
  bytes,
});

/** Whole numbers below a limit that are the same at each run. */
function dice(seed: number): (limit: number) => number {
  const draws = noise(512, seed);
  let next = 0;
  return (limit) => Math.floor((draws[next++] + 1) / 2 * limit);
}

/**
 * A random graph of layers, activations, sums of two and sequences, and invented sizes of its
 * tensors.
 */
function randomPlan(seed: number): { plan: Plan; shapes: Map<string, TensorInfo> } {
  const draw = dice(seed), tensors = ["x"], nodes: NodeProto[] = [];
  const recent = () => tensors[Math.max(0, tensors.length - 1 - draw(3))];
  for (let i = 0; i < 14; i++) {
    const kind = draw(8), to = `t${i}`;
    if (kind < 4) nodes.push(layer(recent(), to));
    else if (kind < 6) nodes.push(relu(recent(), to));
    else if (kind < 7) nodes.push(makeNode("Add", to, [recent(), recent()], [to]));
    else nodes.push(...sequence(recent(), to));
    tensors.push(to);
  }
  nodes.push(makeNode("Sum", "y", tensors.slice(1), ["y"]));
  // Skips over the whole graph cross every cut, so that only some of them are read at the end.
  nodes.at(-1)!.input = tensors.filter((_, i) => i > 0 && draw(4) === 0).concat(tensors.at(-1)!);
  const random = planOf(nodes, "y");
  const names = ["x", ...random.graph.nodes.flatMap(({ output }) => output)];
  const shapes = new Map(
    names.map((name) => [name, tensor(10 ** (3 + draw(5)), 10 ** (3 + draw(6)))]),
  );
  return { plan: random, shapes };
}

/** The names of the layers that each layer of `plan` depends on, over any number of nodes. */
function dependencies({ graph, layers }: Plan): Map<string, Set<string>> {
  const nameOf = new Map(layers.map(({ target }) => [target.node, target.name]));
  const behind = new Map<string, Set<string>>(), result = new Map<string, Set<string>>();
  for (const node of graph.nodes) {
    const all = new Set(node.input.flatMap((name) => [...behind.get(name) ?? []]));
    const name = nameOf.get(node);
    if (name !== undefined) result.set(name, new Set(all)), all.add(name);
    for (const output of node.output) behind.set(output, all);
  }
  return result;
}

/** A model's order of work, told again from what the module says of it. */
class Costs {
  readonly #plan: Plan;
  readonly #shapes: ReadonlyMap<string, TensorInfo>;

  constructor(plan: Plan, shapes: ReadonlyMap<string, TensorInfo>) {
    this.#plan = plan;
    this.#shapes = shapes;
  }

  /** The tensors that nodes before `at` give to those from there on. */
  crossing(at: number): string[] {
    const { graph } = this.#plan;
    const read = new Set(graph.nodes.slice(at).flatMap(({ input }) => input));
    return ["x", ...graph.nodes.slice(0, at).flatMap(({ output }) => output)]
      .filter((name) => read.has(name));
  }

  bytesAt(at: number): number {
    return this.crossing(at).reduce((sum, name) => sum + this.#shapes.get(name)!.bytes, 0);
  }

  /** Where the model may be cut between `before` and `after`: only tensors cross. */
  places(before: readonly LayerPlan[], after: readonly LayerPlan[]): number[] {
    const { graph } = this.#plan;
    const positions = (layers: readonly LayerPlan[]) =>
      layers.map(({ target }) => graph.nodes.indexOf(target.node));
    const from = Math.max(...positions(before)), to = Math.min(...positions(after));
    return graph.nodes.map((_, at) => at).filter((at) =>
      at > from && at <= to && this.crossing(at).every((name) => !name.endsWith("/all"))
    );
  }

  /** Seconds of the nodes from `start` to before `end`. */
  seconds(start: number, end: number): number {
    return this.#plan.graph.nodes.slice(start, end)
      .reduce((sum, node) => sum + secondsOf(node, this.#plan, this.#shapes), 0);
  }

  /**
   * Each step runs both models from the segment's start to its last layer, and reads what is
   * spooled there; then both run once more to the segment's end, and what crosses is spooled.
   */
  of(segments: readonly Segment[]): number {
    const { graph } = this.#plan, count = graph.nodes.length;
    return segments.reduce((sum, { start, end, steps }) => {
      const runs = steps.map((step) =>
        Math.max(...step.map(({ target }) => graph.nodes.indexOf(target.node))) + 1
      );
      if (end < count) runs.push(end);
      const running = runs.reduce((all, stop) => all + this.seconds(start, stop), 0);
      const spooled = (steps.length + 1) * this.bytesAt(start) +
        (end < count ? this.bytesAt(end) : 0);
      return sum + 2 * running + 2 * spooled / 6e8;
    }, 0);
  }

  /** Every way to cut between the steps, at the narrowest place there, and the last of several. */
  *cuts(): Generator<Segment[]> {
    const steps = findSteps(this.#plan), count = this.#plan.graph.nodes.length;
    const narrowest = steps.map((_, k) => {
      if (k === 0) return 0;
      const places = this.places(steps.slice(0, k).flat(), steps.slice(k).flat());
      const least = Math.min(...places.map((at) => this.bytesAt(at)));
      return places.findLast((at) => this.bytesAt(at) === least);
    });
    for (let choice = 0; choice < 2 ** (steps.length - 1); choice++) {
      const at = steps.flatMap((_, k) => k === 0 || choice >> (k - 1) & 1 ? [k] : []);
      if (at.some((k) => narrowest[k] === undefined)) continue;
      yield at.map((k, i) => ({
        start: narrowest[k]!,
        end: i + 1 < at.length ? narrowest[at[i + 1]]! : count,
        steps: steps.slice(k, at[i + 1]),
      }));
    }
  }
}

Deno.test("findSteps: layers side by side are a step, one that reads another is in the next", () => {
  const branches = planOf([
    layer("x", "a"),
    layer("x", "b"),
    relu("b", "c"),
    layer("c", "d"),
    layer("a", "e"),
    makeNode("Add", "y", ["d", "e"], ["y"]),
  ], "y");
  assertEquals(namesOf(findSteps(branches)), [["a", "b"], ["d", "e"]]);
  const chain = planOf([layer("x", "a"), layer("a", "b"), layer("b", "y")], "y");
  assertEquals(namesOf(findSteps(chain)), [["a"], ["b"], ["y"]]);
});

Deno.test("findSteps: on random graphs no layer depends on one of its step, all stay in order", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const { plan } = randomPlan(seed);
    const needs = dependencies(plan), steps = findSteps(plan);
    assertEquals(steps.flat(), plan.layers, "each layer once, as they run");
    for (const [k, step] of namesOf(steps).entries()) {
      for (const name of step) {
        assert(!step.some((other) => needs.get(name)!.has(other)), `${seed}: ${name} waits`);
      }
      const before = namesOf(steps)[k - 1];
      assert(k === 0 || before.some((other) => needs.get(step[0])!.has(other)), `${seed}: no need`);
    }
  }
});

Deno.test("findSegments: on random graphs all layers are in one segment each, in order", () => {
  let sequences = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const { plan, shapes } = randomPlan(seed);
    const segments = findSegments(plan, shapes), { nodes } = plan.graph;
    assertEquals(segments.flatMap(({ steps }) => steps), findSteps(plan));
    assertEquals(segments.map(({ start }) => start), [
      0,
      ...segments.slice(0, -1).map(({ end }) => end),
    ]);
    assertEquals(segments.at(-1)!.end, nodes.length);
    const costs = new Costs(plan, shapes);
    for (const { start, end, steps } of segments) {
      const positions = steps.flat().map(({ target }) => nodes.indexOf(target.node));
      assert(positions.every((at) => start <= at && at < end), `${seed}: a layer lies outside`);
      assert(!costs.crossing(start).some((name) => name.endsWith("/all")), `${seed}: a sequence`);
    }
    if (nodes.some(({ opType }) => opType === "SequenceAt")) sequences++;
  }
  assert(sequences > 10, "there are sequences to cut at");
});

Deno.test("findSegments: on random graphs no other choice of cuts costs less", () => {
  const counts = new Set<number>(), lengths = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    const { plan, shapes } = randomPlan(seed);
    const costs = new Costs(plan, shapes), segments = findSegments(plan, shapes);
    const least = Math.min(...[...costs.cuts()].map((cut) => costs.of(cut)));
    assertAlmostEquals(costs.of(segments) / least, 1, 1e-9, `${seed}`);
    counts.add(segments.length);
    for (const { steps } of segments) lengths.add(steps.length);
  }
  assert(counts.size > 2 && lengths.size > 2, "graphs differ in what is best");
});

/** Four layers in a row whose outputs are costly to spool, `between` the second and the third. */
const row = (width: number, between: (from: string, to: string) => NodeProto[]) =>
  planOf(
    [layer("x", "a"), layer("a", "b"), ...between("b", "c"), layer("c", "d"), layer("d", "y")],
    "y",
    width,
  );

const costly = (plan: Plan) =>
  new Map(
    ["x", ...plan.graph.nodes.flatMap(({ output }) => output)].map((
      name,
    ) => [name, tensor(1, 1e9)]),
  );

Deno.test("findSegments: as many layers as have 64 MiB of weights, though spooling costs more", () => {
  const plain = (from: string, to: string) => [relu(from, to)];
  const weights = (segments: readonly Segment[], width: number) =>
    segments.map(({ steps }) => 4 * width ** 2 * steps.flat().length);
  const small = row(1024, plain);
  assertEquals(weights(findSegments(small, costly(small)), 1024), [2 ** 24]);
  const large = row(2880, plain);
  const each = 4 * 2880 ** 2;
  assert(2 * each <= 2 ** 26 && 3 * each > 2 ** 26);
  assertEquals(weights(findSegments(large, costly(large)), 2880), [2 * each, 2 * each]);
  const huge = row(4100, plain);
  assertEquals(findSegments(huge, costly(huge)).map(({ steps }) => steps.length), [1, 1, 1, 1]);
});

Deno.test("findSegments: where no cut is possible a segment is as heavy as it must be", () => {
  const around = planOf(
    [
      makeNode("SequenceConstruct", "put", ["x"], ["all"]),
      layer("x", "a"),
      layer("a", "b"),
      layer("b", "c"),
      makeNode("SequenceAt", "get", ["all", "first"], ["again"]),
      makeNode("Add", "y", ["c", "again"], ["y"]),
    ],
    "y",
    4100,
  );
  assertEquals(findSegments(around, costly(around)).map(({ steps }) => steps.length), [3]);
});

Deno.test("findSegments: a cut lies where least crosses, the last of places that are alike", () => {
  const narrow = planOf([
    layer("x", "a"),
    makeNode("Tanh", "b", ["a"], ["b"]),
    makeNode("Sigmoid", "c", ["b"], ["c"]),
    layer("c", "d"),
    layer("d", "y"),
  ], "y");
  const shapes = costly(narrow);
  // The first layer takes long, so that it is not run again for the last one.
  shapes.set("x", tensor(1, 1)).set("a", tensor(1e10, 1e9)).set("b", tensor(1, 100));
  const ends = () => findSegments(narrow, shapes).map(({ end }) => end);
  assertEquals(ends(), [2, 5]);
  shapes.set("c", tensor(1, 100));
  assertEquals(ends(), [3, 5]);
});

Deno.test("portionsOf: statistics of 256 MiB at a time, at least one layer's, in order", () => {
  const [one] = row(4, (from, to) => [relu(from, to)]).layers;
  const sized = (depth: number, rows: number, gram: GramPlan = { kind: "full" }): LayerPlan => ({
    ...one,
    target: { ...one.target, groups: 1, rows, depth },
    gram,
  });
  const portions = (...layers: LayerPlan[]) => {
    const parts = portionsOf(layers);
    assertEquals(parts.flat(), layers, "each layer once, in order");
    return parts.map((portion) => portion.length);
  };
  // A full H takes depth² floats, the products with the outputs depth·rows.
  const quarter = sized(2048, 6144), all = sized(8192, 0);
  assertEquals(portions(), []);
  assertEquals(portions(quarter, quarter, quarter, quarter, quarter), [4, 1]);
  assertEquals(portions(quarter, all, quarter), [1, 1, 1]);
  assertEquals(portions(sized(16384, 0), one), [1, 1], "what is larger comes alone");
  assertEquals(portions(...new Array(3).fill(sized(16384, 9, { kind: "tiles", size: 2048 }))), [
    2,
    1,
  ]);
});
