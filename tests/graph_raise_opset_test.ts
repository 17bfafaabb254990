import { assertEquals } from "std/assert/equals.js";
import { ADAPTERS } from "../src/graph/opset/adapters.ts";
import { MAX_OPSET, raiseOpset } from "../src/graph/raise_opset.ts";
import type { NodeProto } from "../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, copyModel, makeNode, opsetOf } from "../src/onnx/model.ts";
import { DataType, floatTensor } from "../src/onnx/tensor.ts";
import type { Value } from "../src/runtime/session.ts";
import {
  assertSameValues,
  build,
  ints,
  noise,
  type Parts,
  runModel,
  value,
} from "./helpers/models.ts";

/** A model of an old opset, what it is fed, and the operators that its raised form must have. */
interface Case extends Partial<Parts> {
  name: string;
  opset: number;
  feeds: Record<string, Value>;
  nodes: NodeProto[];
  /** The operators at the last opset. */
  becomes: string[];
  /** The last opset of the operator that onnxruntime has. Default: 25. */
  last?: number;
}

/** A case of one node that reads `x` and perhaps more inputs, and writes `y`. */
function one(
  op: string,
  opset: number,
  feeds: Value[],
  attributes: Record<string, AttributeValue>,
  more: Partial<Case> = {},
): Case {
  const names = feeds.map((_, i) => `x${i}`);
  const given = more.initializers?.map((tensor) => tensor.name) ?? [];
  return {
    name: `${op} ${JSON.stringify(attributes, (_, v) => typeof v === "bigint" ? Number(v) : v)}`,
    opset,
    feeds: Object.fromEntries(names.map((name, i) => [name, feeds[i]])),
    nodes: [makeNode(op, "n", [...names, ...given], ["y"], attributes)],
    becomes: [op],
    ...more,
  };
}

const image = value([1, 2, 5, 7]);
const scales = (...values: number[]) => ({
  initializers: [floatTensor("s", [4], Float32Array.from(values))],
  becomes: ["Resize"],
});
const grid = value([1, 4, 3, 2]);
const wide = ["Shape", "Flatten", "Softmax", "Reshape"];

const cases: Case[] = [
  one("Slice", 9, [image], { starts: [1n, -9n], ends: [2n ** 63n - 1n, -1n], axes: [3n, 2n] }),
  one("Slice", 9, [image], { starts: [0n, 1n], ends: [1n, 2n] }),
  one("TopK", 9, [image], { axis: 2n, k: 3n }, {
    nodes: [makeNode("TopK", "n", ["x0"], ["y", "i"], { axis: 2n, k: 3n })],
    outputs: ["y", "i"],
  }),
  one("Upsample", 9, [image], { mode: "nearest" }, scales(1, 1, 2, 1.7)),
  one("Upsample", 9, [image], { mode: "linear" }, scales(1, 1, 2, 3)),
  one("Upsample", 9, [image, value([4], [1, 1, 2, 1.3])], {}, { becomes: ["Resize"] }),
  one("Resize", 10, [image], {}, scales(1, 1, 2, 1.3)),
  one("Resize", 10, [image], { mode: "nearest" }, scales(1, 1, 0.6, 0.5)),
  one("Resize", 10, [image], { mode: "linear" }, scales(1, 1, 0.6, 1.5)),
  one("Resize", 10, [image], {}, {
    ...scales(1, 1, 0.6, 2.5),
    becomes: ["Max", "Min", "Resize", "Resize"],
  }),
  one("Resize", 10, [image, value([4], [1, 1, 3, 0.4])], {}, {
    becomes: ["Max", "Min", "Resize", "Resize"],
  }),
  one("Resize", 11, [image], {
    mode: "nearest",
    nearest_mode: "floor",
    coordinate_transformation_mode: "tf_half_pixel_for_nn",
  }, {
    nodes: [
      makeNode("Resize", "n", ["x0", "roi", "s"], ["y"], {
        mode: "nearest",
        nearest_mode: "floor",
        coordinate_transformation_mode: "tf_half_pixel_for_nn",
      }),
    ],
    initializers: [
      floatTensor("roi", [0], new Float32Array(0)),
      floatTensor("s", [4], Float32Array.of(1, 1, 2, 0.7)),
    ],
  }),
  one("Clip", 9, [image], { min: -0.25, max: 0.5 }),
  one("Clip", 9, [image], { max: 0.5 }),
  one("Clip", 9, [image], { min: -0.25 }),
  one("Clip", 9, [image], {}),
  one("Pad", 9, [{ type: "float64", dims: [2], data: Float64Array.of(1, 2) }], {
    pads: [1n, 0n],
    value: 0.5,
  }, { types: { x0: DataType.DOUBLE }, becomes: ["Cast", "Pad"] }),
  one("Pad", 9, [image], { pads: [0n, 0n, 1n, 2n, 0n, 0n, 0n, -1n], value: 1.5 }),
  one("Pad", 9, [image], { pads: [0n, 0n, 1n, 2n, 0n, 0n, 3n, 1n], mode: "reflect" }),
  one("Pad", 9, [image], { pads: [0n, 0n, 1n, 2n, 0n, 0n, 3n, 1n] }),
  one("Scatter", 9, [value([3, 3]), ints([1, 2], [2, 0]), value([1, 2])], { axis: 1n }, {
    types: { x1: DataType.INT64 },
    becomes: ["ScatterElements"],
  }),
  one("Dropout", 9, [image], { ratio: 0.3 }, {
    nodes: [makeNode("Dropout", "n", ["x0"], ["y", "mask"], { ratio: 0.3 })],
  }),
  one("Squeeze", 11, [value([1, 3, 1])], { axes: [-1n] }),
  one("Squeeze", 11, [value([1, 3, 1])], {}),
  one("Unsqueeze", 11, [value([3, 2])], { axes: [0n, 2n] }),
  one("ReduceSum", 11, [image], { axes: [1n, -1n], keepdims: 0n }),
  one("ReduceSum", 11, [image], {}),
  ...["Max", "Min", "Mean", "Prod", "L1", "L2", "LogSumExp", "SumSquare"].flatMap((kind) => [
    one(`Reduce${kind}`, 12, [image], { axes: [2n, -1n], keepdims: 0n }),
    one(`Reduce${kind}`, 13, [image], { keepdims: 1n }),
  ]),
  one("ReduceLogSum", 13, [value([3], [1, 2, 3])], { axes: [0n] }),
  one("Split", 11, [value([6, 2])], { axis: 0n }, {
    nodes: [makeNode("Split", "n", ["x0"], ["y", "z", "w"], { axis: 0n })],
    outputs: ["y", "z", "w"],
  }),
  one("Split", 11, [value([2, 6])], { axis: 1n, split: [4n, 2n] }, {
    nodes: [makeNode("Split", "n", ["x0"], ["y", "z"], { axis: 1n, split: [4n, 2n] })],
    outputs: ["y", "z"],
  }),
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((op) => [
    one(op, 11, [value([2, 3])], {}),
    one(op, 11, [value([2, 3, 4])], { axis: 2n }),
    one(op, 11, [value([2, 3, 4])], { axis: -1n }),
    one(op, 11, [value([2, 3, 4])], { axis: -2n }, { becomes: wide.with(2, op) }),
    one(op, 9, [value([2, 3, 4])], {}, { becomes: wide.with(2, op) }),
    one(op, 9, [value([2, 3, 4])], { axis: 0n }, { becomes: wide.with(2, op) }),
  ]),
  one("BatchNormalization", 9, [image], {}, {
    initializers: ["a", "b", "c", "d"].map((name, i) =>
      floatTensor(name, [2], Float32Array.of(0.5 + i, 1 + i))
    ),
  }),
  one("RoiAlign", 10, [value([1, 2, 6, 6]), value([1, 4], [0, 0, 3, 4]), ints([1], [0])], {
    output_height: 2n,
    output_width: 3n,
    sampling_ratio: 2n,
  }, { types: { x2: DataType.INT64 }, last: 21 }),
  ...["bilinear", "bicubic", "nearest"].map((mode) =>
    one("GridSample", 16, [image, grid], { mode, padding_mode: "border", align_corners: 1n })
  ),
  one("GridSample", 16, [image, grid], {}),
  one("DFT", 17, [value([1, 4, 6, 1])], { axis: 2n, onesided: 1n }),
  one("DFT", 17, [value([1, 4, 6, 1])], {}),
  one("GroupNormalization", 18, [value([2, 6, 3])], { num_groups: 3n, epsilon: 1e-3 }, {
    initializers: ["scale", "bias"].map((name, i) => floatTensor(name, [3], noise(3, i + 5))),
    becomes: [
      ...["Shape", "Div", "Concat", "Unsqueeze", "Expand", "Reshape", "Unsqueeze", "Expand"],
      ...["Reshape", "GroupNormalization"],
    ],
  }),
];

for (const { name, opset, feeds, nodes, becomes, last = MAX_OPSET, ...rest } of cases) {
  Deno.test(`raiseOpset: ${name}, from opset ${opset}`, async () => {
    const inputs = Object.fromEntries(
      Object.entries(feeds).map(([key, { dims }]) => [key, dims.map((_, i) => `${key}_${i}`)]),
    );
    const model = build({ opset, inputs, nodes, outputs: ["y"], ...rest });
    const expected = await runModel(model, feeds);
    const targets = [13, 17, 21, MAX_OPSET].filter((target) => target > opset && target <= last);
    for (const target of targets) {
      const raised = copyModel(model);
      raiseOpset(raised, target);
      assertEquals(opsetOf(raised), target);
      assertSameValues(await runModel(raised, feeds), expected, `at opset ${target}`);
      if (target === last) assertEquals(raised.proto.graph.node.map((n) => n.opType), becomes);
    }
  });
}

Deno.test("raiseOpset: every operator of the table is tested", () => {
  const tested = new Set(cases.flatMap(({ nodes, opset }) => nodes.map((n) => [n.opType, opset])));
  const missing = ADAPTERS.flatMap(({ ops, to }) =>
    ops.filter((op) => ![...tested].some(([name, opset]) => name === op && Number(opset) < to))
  );
  assertEquals(missing, []);
});

Deno.test("raiseOpset: the table is in the order of the opsets", () => {
  const order = ADAPTERS.map((adapter) => adapter.to);
  assertEquals(order, order.toSorted((a, b) => a - b));
});
