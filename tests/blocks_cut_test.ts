/** Where models are cut into blocks. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { batchesThatFit, cutBlocks, type CutOptions } from "../src/blocks/partition.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { makePlan } from "../src/plan/plan.ts";
import { build } from "./helpers/models.ts";
import { residual, scaled } from "./helpers/residual.ts";

const namesOf = (model: Model) =>
  cutBlocks(makePlan(model)).map(({ steps }) => steps.flat().map((layer) => layer.target.name));

Deno.test("cutBlocks: residual blocks stay whole, runs of layers are joined, all nodes are in one", () => {
  assertEquals(namesOf(residual()), [
    ["stem", "block1/one", "block1/two"],
    ["block2/one", "block2/two", "head"],
  ]);
  const { graph } = makePlan(residual());
  const blocks = cutBlocks(makePlan(residual()));
  assertEquals(blocks.map(({ start }) => start), [0, ...blocks.slice(0, -1).map(({ end }) => end)]);
  assertEquals(blocks.at(-1)!.end, graph.nodes.length);
  assertEquals(blocks.map(({ inputs, outputs }) => [inputs, outputs]), [
    [["x"], ["h1"]],
    [["h1"], ["y"]],
  ]);
});

Deno.test("cutBlocks: a chain is cut into threes where its tensors are small", () => {
  const widths = [3, 4, 16, 16, 4, 16, 16, 4];
  const model = build({
    opset: 13,
    inputs: { x: ["N", 3, 4, 4] },
    nodes: widths.slice(1).map((_, i) =>
      makeNode("Conv", `c${i + 1}`, [i === 0 ? "x" : `t${i}`, `w${i + 1}`], [`t${i + 1}`])
    ),
    initializers: widths.slice(1).map((width, i) =>
      scaled(`w${i + 1}`, [width, widths[i], 1, 1], i)
    ),
    outputs: ["t7"],
  });
  const made = makePlan(model);
  const shapes = new Map(
    ["x", "t1", "t2", "t3", "t4", "t5", "t6", "t7"].map((name, i) => [
      name,
      { dims: [1, widths[i], 4, 4], type: 1, bytes: 64 * widths[i] },
    ]),
  );
  const lengths = (options: CutOptions) =>
    cutBlocks(made, { shapes, ...options }).map(({ steps }) => steps.length);
  assertEquals(lengths({}), [1, 3, 3]);
  // The second block holds 64 · (16 + 16 + 4) bytes, four times over, per sample.
  const bytes = 4 * 64 * 36;
  assertEquals(lengths({ samples: 8, memory: 8 * bytes }), [1, 3, 3]);
  // A byte less, and it is split.
  const split = lengths({ samples: 8, memory: 8 * bytes - 1 });
  assert(split.length > 3 && split.every((length) => length < 3), `${split}`);
  assertEquals(lengths({ memory: 0 }), [1, 1, 1, 1, 1, 1, 1]);
  assertEquals(batchesThatFit(made, shapes, 4 * 64 * 16 * 5), 5);
  assertEquals(batchesThatFit(made, shapes, 1), 1);
});

Deno.test("cutBlocks: long skips make one block of what cannot be cut cleanly, up to a limit", () => {
  // Every layer is added to the first one's output in the end: nothing but the ends is clean.
  const n = 20;
  const model = build({
    opset: 13,
    inputs: { x: ["N", 4, 4, 4] },
    nodes: [
      ...Array.from(
        { length: n },
        (_, i) => makeNode("Conv", `c${i}`, [i === 0 ? "x" : `t${i - 1}`, `w${i}`], [`t${i}`]),
      ),
      makeNode("Add", "add", ["t0", `t${n - 1}`], ["y"]),
    ],
    initializers: Array.from({ length: n }, (_, i) => scaled(`w${i}`, [4, 4, 1, 1], i)),
    outputs: ["y"],
  });
  const blocks = cutBlocks(makePlan(model));
  assertEquals(blocks.reduce((sum, { steps }) => sum + steps.length, 0), n);
  assert(blocks.every(({ steps }) => steps.length <= 12));
  // What only passes a block is not its output.
  const middle = blocks.find(({ inputs }) => inputs.includes("t0"))!;
  assert(!middle.outputs.includes("t0"));
});
