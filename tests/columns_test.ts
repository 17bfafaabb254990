import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { gatherColumns, positionCount } from "../src/engine/columns.ts";
import { Graph } from "../src/graph/graph.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import { floatTensor, readFloats } from "../src/onnx/tensor.ts";
import { findTargets } from "../src/weights/targets.ts";
import { readWeight, toTensorOrder } from "../src/weights/matrix.ts";
import { build, noise, runModel, value } from "./helpers/models.ts";

interface Case {
  name: string;
  op: string;
  input: number[];
  weight: number[];
  attributes?: Record<string, AttributeValue>;
  /** The constant comes first, as in W·X. */
  left?: boolean;
}

const ints = (...values: number[]) => values.map(BigInt);

const CASES: Case[] = [
  { name: "1-D", op: "Conv", input: [2, 3, 11], weight: [4, 3, 3] },
  {
    name: "2-D, strides, dilations, uneven pads",
    op: "Conv",
    input: [2, 4, 9, 8],
    weight: [6, 4, 3, 2],
    attributes: { strides: ints(2, 1), dilations: ints(1, 2), pads: ints(1, 0, 2, 1) },
  },
  {
    name: "groups",
    op: "Conv",
    input: [2, 6, 5, 5],
    weight: [9, 2, 3, 3],
    attributes: { group: 3n, pads: ints(1, 1, 1, 1) },
  },
  {
    name: "depthwise, stride 2",
    op: "Conv",
    input: [3, 5, 7, 7],
    weight: [5, 1, 3, 3],
    attributes: { group: 5n, pads: ints(1, 1, 1, 1), strides: ints(2, 2) },
  },
  {
    name: "3-D",
    op: "Conv",
    input: [1, 2, 4, 5, 6],
    weight: [3, 2, 2, 3, 2],
    attributes: { pads: ints(0, 1, 0, 1, 1, 1) },
  },
  ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad) => ({
    name: auto_pad,
    op: "Conv",
    input: [2, 3, 7, 8],
    weight: [4, 3, 4, 3],
    attributes: { auto_pad, strides: ints(2, 3) },
  })),
  { name: "1-D", op: "ConvTranspose", input: [2, 3, 5], weight: [3, 4, 3] },
  {
    name: "strides, dilations, pads",
    op: "ConvTranspose",
    input: [2, 3, 4, 5],
    weight: [3, 4, 3, 2],
    attributes: { strides: ints(2, 3), dilations: ints(1, 2), pads: ints(1, 0, 1, 1) },
  },
  {
    name: "groups, output padding",
    op: "ConvTranspose",
    input: [2, 6, 3, 3],
    weight: [6, 2, 3, 3],
    attributes: { group: 3n, strides: ints(2, 2), output_padding: ints(1, 1) },
  },
  {
    name: "depthwise",
    op: "ConvTranspose",
    input: [2, 4, 3, 3],
    weight: [4, 1, 2, 2],
    attributes: { group: 4n, strides: ints(2, 2) },
  },
  { name: "as it is", op: "Gemm", input: [5, 4], weight: [4, 3] },
  { name: "transB", op: "Gemm", input: [5, 4], weight: [3, 4], attributes: { transB: 1n } },
  { name: "right, 2-D", op: "MatMul", input: [5, 4], weight: [4, 3] },
  { name: "right, 4-D", op: "MatMul", input: [2, 3, 5, 4], weight: [4, 3] },
  { name: "left, 2-D", op: "MatMul", input: [4, 6], weight: [3, 4], left: true },
  { name: "left, 3-D", op: "MatMul", input: [2, 4, 6], weight: [3, 4], left: true },
];

for (const { name, op, input, weight, attributes, left } of CASES) {
  Deno.test(`the columns of ${op} (${name}) give its output`, async () => {
    const w = noise(weight.reduce((a, b) => a * b), 7);
    const model = build({
      opset: 13,
      inputs: { x: input },
      nodes: [makeNode(op, "layer", left ? ["w", "x"] : ["x", "w"], ["y"], attributes)],
      initializers: [floatTensor("w", weight, w)],
      outputs: ["y"],
    });
    const graph = new Graph(model);
    const { targets: [target], skipped } = findTargets(graph);
    assertEquals(skipped, []);
    const x = value(input);
    const { y } = await runModel(model, { x });

    const { groups, rows, depth } = target;
    const matrix = readWeight(graph, target);
    assertEquals([...toTensorOrder(target, matrix)], [...readFloats(graph.constant("w")!)]);

    const count = positionCount(target, y);
    const positions = Array.from({ length: count }, (_, i) => i);
    const columns = new Float32Array(groups * depth * count);
    const results = new Float32Array(groups * rows * count);
    gatherColumns(target, x, y, positions, columns, results);
    assertEquals(results.toSorted(), (y.data as Float32Array).toSorted());
    for (let row = 0; row < groups * rows; row++) {
      const group = Math.floor(row / rows);
      for (let p = 0; p < count; p++) {
        let sum = 0;
        for (let j = 0; j < depth; j++) {
          sum += matrix[row * depth + j] * columns[(group * depth + j) * count + p];
        }
        const off = Math.abs(sum - results[row * count + p]);
        assert(off < 1e-4, `row ${row}, position ${p}: off by ${off}`);
      }
    }
  });
}
