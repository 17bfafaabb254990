/** Every rule of differentiation against central differences in float64. */

import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { differentiate, unsupported } from "../src/gradient/differentiate.ts";
import { AttuneError } from "../src/errors.ts";
import { type AttributeValue, makeNode } from "../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { build, noise, runModel } from "./helpers/models.ts";
import { type Case, checkGradients } from "./helpers/central_differences.ts";

type Attributes = Record<string, AttributeValue>;
const ints = (...values: number[]) => values.map(BigInt);

/** One node of the operator `op` with the tensors a, b, c, … as its inputs. */
function single(
  op: string,
  shapes: readonly (readonly number[])[],
  attributes: Attributes = {},
  more: Partial<Case> & { inputs?: string[] } = {},
): Case {
  const names = shapes.map((_, i) => "abcdef"[i]);
  return {
    nodes: [makeNode(op, op, more.inputs ?? names, more.outputs ?? ["y"], attributes)],
    tensors: Object.fromEntries(names.map((name, i) => [name, shapes[i]])),
    ...more,
  };
}

function suite(name: string, cases: Record<string, Case>): void {
  Deno.test(name, async () => {
    for (const [what, test] of Object.entries(cases)) await checkGradients(what, test);
  });
}

suite("convolutions: groups, strides, dilations, pads, one to three dimensions", {
  plain: single("Conv", [[2, 3, 6, 5], [4, 3, 3, 3], [4]]),
  "1 × 1": single("Conv", [[2, 5, 4, 4], [6, 5, 1, 1], [6]]),
  "1 × 1, stride 2": single("Conv", [[2, 5, 5, 4], [3, 5, 1, 1]], { strides: ints(2, 2) }),
  "stride 2": single("Conv", [[2, 3, 7, 8], [4, 3, 3, 3]], {
    strides: ints(2, 2),
    pads: ints(1, 1, 1, 1),
  }),
  "uneven pads": single("Conv", [[1, 2, 6, 6], [3, 2, 3, 2]], {
    strides: ints(2, 1),
    pads: ints(0, 1, 2, 0),
  }),
  dilated: single("Conv", [[2, 2, 9, 8], [3, 2, 3, 3]], {
    dilations: ints(2, 3),
    pads: ints(2, 3, 2, 3),
  }),
  grouped: single("Conv", [[2, 6, 5, 5], [4, 3, 3, 3], [4]], { group: 2n, pads: ints(1, 1, 1, 1) }),
  depthwise: single("Conv", [[2, 4, 6, 5], [4, 1, 3, 3], [4]], {
    group: 4n,
    pads: ints(1, 1, 1, 1),
  }),
  "depthwise, stride 2": single("Conv", [[2, 4, 8, 7], [4, 1, 3, 3]], {
    group: 4n,
    strides: ints(2, 2),
    pads: ints(1, 1, 1, 1),
  }),
  "depthwise, more pads than taps reach": single("Conv", [[1, 2, 5, 5], [2, 1, 2, 2]], {
    group: 2n,
    pads: ints(2, 2, 2, 2),
  }),
  "depthwise, dilated, strides": single("Conv", [[1, 3, 10, 9], [3, 1, 3, 2]], {
    group: 3n,
    strides: ints(3, 2),
    dilations: ints(2, 1),
  }),
  "depthwise, two outputs each": single("Conv", [[1, 3, 6, 6], [6, 1, 3, 3]], { group: 3n }),
  "SAME_UPPER": single("Conv", [[1, 2, 7, 6], [3, 2, 3, 4]], {
    auto_pad: "SAME_UPPER",
    strides: ints(2, 2),
  }),
  "SAME_LOWER": single("Conv", [[1, 2, 7, 6], [3, 2, 4, 3]], {
    auto_pad: "SAME_LOWER",
    strides: ints(2, 1),
  }),
  "one dimension": single("Conv", [[2, 3, 9], [4, 3, 3]], { strides: ints(2) }),
  "three dimensions": single("Conv", [[1, 2, 4, 5, 4], [2, 2, 2, 3, 2]], {
    strides: ints(1, 2, 2),
    pads: ints(0, 1, 0, 1, 1, 0),
  }),
});

suite("transposed convolutions", {
  plain: single("ConvTranspose", [[2, 3, 4, 5], [3, 2, 3, 3], [2]]),
  "stride, pads": single("ConvTranspose", [[1, 3, 4, 4], [3, 2, 3, 3]], {
    strides: ints(2, 2),
    pads: ints(1, 0, 1, 1),
  }),
  "output padding": single("ConvTranspose", [[1, 2, 3, 4], [2, 3, 3, 3]], {
    strides: ints(2, 3),
    output_padding: ints(1, 2),
    pads: ints(1, 1, 1, 1),
  }),
  grouped: single("ConvTranspose", [[1, 4, 4, 3], [4, 3, 2, 2], [6]], {
    group: 2n,
    strides: ints(2, 2),
  }),
  dilated: single("ConvTranspose", [[1, 2, 4, 4], [2, 2, 2, 2]], { dilations: ints(2, 2) }),
});

suite("matrix products", {
  matrices: single("MatMul", [[3, 4], [4, 5]]),
  "a stack times a matrix": single("MatMul", [[2, 3, 4], [4, 5]]),
  stacks: single("MatMul", [[2, 3, 4], [2, 4, 5]]),
  "broadcast stacks": single("MatMul", [[2, 1, 3, 4], [3, 4, 2]]),
  "a vector on the left": single("MatMul", [[4], [2, 4, 3]]),
  "a vector on the right": single("MatMul", [[2, 3, 4], [4]]),
  "two vectors": single("MatMul", [[5], [5]]),
  gemm: single("Gemm", [[3, 4], [4, 5], [5]]),
  "gemm, transposed": single("Gemm", [[4, 3], [5, 4], [3, 1]], {
    transA: 1n,
    transB: 1n,
    alpha: 0.5,
    beta: 2,
  }),
  "gemm, B transposed": single("Gemm", [[3, 4], [5, 4]], { transB: 1n }),
  "gemm, A transposed": single("Gemm", [[4, 3], [4, 5]], { transA: 1n }),
});

const positive = (length: number, seed: number) =>
  noise(length, seed).map((value) => 0.3 + Math.abs(value));
const pair = (op: string): Record<string, Case> => ({
  [op]: single(op, [[2, 3], [2, 3]], {}, { values: { b: positive(6, 3) } }),
  [`${op}, broadcast`]: single(op, [[2, 3, 4], [3, 1]], {}, { values: { b: positive(3, 3) } }),
  [`${op}, the first is broadcast`]: single(op, [[4], [2, 3, 4]], {}, {
    values: { b: positive(24, 3) },
  }),
});
const one = (op: string, attributes: Attributes = {}, factor = 3): Case =>
  single(op, [[3, 7]], attributes, { values: { a: noise(21, 4).map((value) => factor * value) } });

suite("element-wise operators of two inputs, with broadcasting", {
  ...pair("Add"),
  ...pair("Sub"),
  ...pair("Mul"),
  ...pair("Div"),
  ...pair("Min"),
  ...pair("Max"),
  PRelu: single("PRelu", [[2, 3, 4], [3, 1]]),
  Sum: single("Sum", [[2, 3], [3], [1, 3]]),
  Mean: single("Mean", [[2, 3], [2, 3], [2, 3]]),
  "Mul of one with itself": single("Mul", [[5]], {}, { inputs: ["a", "a"] }),
});

suite("element-wise operators of one input", {
  ...Object.fromEntries(
    [
      "Neg",
      "Abs",
      "Exp",
      "Erf",
      "Tanh",
      "Sigmoid",
      "Softplus",
      "Gelu",
      "Relu",
      "LeakyRelu",
      "Elu",
      "HardSigmoid",
      "HardSwish",
      "Identity",
    ].map((op) => [op, one(op)]),
  ),
  "Gelu by tanh": one("Gelu", { approximate: "tanh" }),
  "LeakyRelu, alpha": one("LeakyRelu", { alpha: 0.3 }),
  Sqrt: single("Sqrt", [[8]], {}, { values: { a: positive(8, 2) } }),
  Log: single("Log", [[8]], {}, { values: { a: positive(8, 2) } }),
  Reciprocal: single("Reciprocal", [[8]], {}, { values: { a: positive(8, 2) } }),
  Clip: single("Clip", [[3, 7]], {}, {
    inputs: ["a", "lo", "hi"],
    values: { a: noise(21, 4) },
    constants: [
      floatTensor("lo", [], Float32Array.of(-0.5)),
      floatTensor("hi", [], Float32Array.of(0.4)),
    ],
  }),
  "Clip, below only": single("Clip", [[3, 7]], {}, {
    inputs: ["a", "lo"],
    values: { a: noise(21, 4) },
    constants: [floatTensor("lo", [], Float32Array.of(-0.3))],
  }),
  "Clip, above only": single("Clip", [[3, 7]], {}, {
    inputs: ["a", "", "hi"],
    values: { a: noise(21, 4) },
    constants: [floatTensor("hi", [], Float32Array.of(0.3))],
  }),
  "HardSigmoid, alpha and beta": one("HardSigmoid", { alpha: 0.4, beta: 0.3 }),
  "Elu, alpha": one("Elu", { alpha: 0.6 }),
  Pow: single("Pow", [[6]], {}, {
    inputs: ["a", "e"],
    values: { a: positive(6, 2) },
    constants: [floatTensor("e", [], Float32Array.of(2.5))],
  }),
});

const list = (name: string, ...values: number[]) => int64Tensor(name, [values.length], values);
const moved = (op: string, dims: number[], attributes: Attributes, ...lists: number[][]): Case =>
  single(op, [dims], attributes, {
    inputs: ["a", ...lists.map((_, i) => `list${i}`)],
    constants: lists.map((values, i) => list(`list${i}`, ...values)),
  });

suite("operators that move values", {
  Reshape: moved("Reshape", [2, 6], {}, [3, 4]),
  Flatten: moved("Flatten", [2, 3, 2], { axis: 1n }),
  Squeeze: moved("Squeeze", [2, 1, 3], {}, [1]),
  Unsqueeze: moved("Unsqueeze", [2, 3], {}, [1]),
  Transpose: moved("Transpose", [2, 3, 4], { perm: ints(2, 0, 1) }),
  "Transpose, reversed": moved("Transpose", [2, 3, 4], {}),
  Expand: moved("Expand", [3, 1], {}, [2, 3, 4]),
  Slice: moved("Slice", [5, 6], {}, [1, -4], [4, 6], [0, 1]),
  "Slice, steps": moved("Slice", [7, 6], {}, [1, 0], [7, 6], [0, 1], [2, 3]),
  "Slice, backwards": moved("Slice", [7, 4], {}, [-1], [-8], [0], [-2]),
  Pad: single("Pad", [[2, 3]], {}, {
    inputs: ["a", "list0"],
    constants: [list("list0", 1, 0, 2, 3)],
  }),
  Concat: single("Concat", [[2, 3], [2, 1], [2, 2]], { axis: -1n }),
  Split: single("Split", [[2, 6]], { axis: 1n }, {
    inputs: ["a", "list0"],
    constants: [list("list0", 2, 3, 1)],
    outputs: ["y", "z", "w"],
  }),
  "Split, equal parts": single("Split", [[5, 4]], { axis: 0n, num_outputs: 2n }, {
    outputs: ["y", "z"],
  }),
  "Slice, axes left out": moved("Slice", [5, 6], {}, [1, -5], [4, 6]),
  "Slice, beyond the ends": moved("Slice", [5, 6], {}, [-9, 2], [3, 99], [0, 1]),
  "Pad, some axes": single("Pad", [[2, 3, 2]], {}, {
    inputs: ["a", "list0", "", "list1"],
    constants: [list("list0", 1, 0, 2, 3), list("list1", 0, -1)],
  }),
  DepthToSpace: moved("DepthToSpace", [2, 8, 2, 3], { blocksize: 2n }),
  "DepthToSpace, CRD": moved("DepthToSpace", [1, 8, 2, 3], { blocksize: 2n, mode: "CRD" }),
  SpaceToDepth: moved("SpaceToDepth", [2, 2, 4, 6], { blocksize: 2n }),
  Resize: single("Resize", [[1, 2, 3, 4]], { mode: "nearest" }, {
    inputs: ["a", "", "scales"],
    constants: [floatTensor("scales", [4], Float32Array.of(1, 1, 2, 3))],
  }),
});

suite("reductions and normalisations", {
  ReduceSum: moved("ReduceSum", [2, 3, 4], { keepdims: 0n }, [1]),
  ReduceMean: moved("ReduceMean", [2, 3, 4], {}, [0, -1]),
  "ReduceMean of all": moved("ReduceMean", [2, 3], { keepdims: 0n }),
  ReduceMax: moved("ReduceMax", [2, 3, 4], {}, [-1]),
  ReduceMin: moved("ReduceMin", [2, 3, 4], { keepdims: 0n }, [0, 2]),
  ReduceL1: moved("ReduceL1", [2, 3, 4], {}, [1]),
  ReduceL2: moved("ReduceL2", [2, 3, 4], { keepdims: 0n }, [1, 2]),
  ReduceSumSquare: moved("ReduceSumSquare", [2, 3, 4], {}, [0]),
  "ReduceSum of nothing": moved("ReduceSum", [2, 3], { noop_with_empty_axes: 1n }),
  GlobalAveragePool: moved("GlobalAveragePool", [2, 3, 4, 2], {}),
  GlobalMaxPool: moved("GlobalMaxPool", [2, 3, 4, 2], {}),
  Softmax: moved("Softmax", [3, 5], {}),
  "Softmax, first axis": moved("Softmax", [3, 5], { axis: 0n }),
  LogSoftmax: moved("LogSoftmax", [3, 5], {}),
  LayerNormalization: single("LayerNormalization", [[2, 3, 5], [5], [5]]),
  "LayerNormalization, two axes": single("LayerNormalization", [[2, 3, 5], [3, 5]], { axis: -2n }),
  InstanceNormalization: single("InstanceNormalization", [[2, 3, 4, 3], [3], [3]]),
  BatchNormalization: single("BatchNormalization", [[2, 3, 4], [3], [3]], {}, {
    inputs: ["a", "b", "c", "mean", "variance"],
    constants: [
      floatTensor("mean", [3], noise(3, 2)),
      floatTensor("variance", [3], positive(3, 5)),
    ],
  }),
});

suite("pooling", {
  MaxPool: moved("MaxPool", [2, 2, 6, 6], { kernel_shape: ints(2, 2), strides: ints(2, 2) }),
  "MaxPool, overlapping": moved("MaxPool", [1, 2, 7, 8], {
    kernel_shape: ints(3, 3),
    strides: ints(2, 2),
    pads: ints(1, 1, 1, 1),
  }),
  "MaxPool, ceil": moved("MaxPool", [1, 2, 6, 6], {
    kernel_shape: ints(3, 3),
    strides: ints(2, 2),
    ceil_mode: 1n,
  }),
  AveragePool: moved("AveragePool", [2, 2, 6, 6], { kernel_shape: ints(2, 3) }),
  "AveragePool, pads": moved("AveragePool", [1, 2, 7, 5], {
    kernel_shape: ints(3, 3),
    strides: ints(2, 2),
    pads: ints(1, 1, 1, 1),
  }),
  "AveragePool, pads counted": moved("AveragePool", [1, 2, 7, 5], {
    kernel_shape: ints(3, 3),
    strides: ints(2, 1),
    pads: ints(1, 1, 1, 1),
    count_include_pad: 1n,
  }),
});

/** Whole numbers from `low` to `high` that are the same at each run. */
function dice(seed: number): (low: number, high: number) => number {
  const draws = noise(64, seed);
  let next = 0;
  return (low, high) => low + Math.floor((draws[next++] + 1) / 2 * (high - low + 1));
}

/** Operators whose shapes are drawn; convolutions have a test of their own. */
const DRAWN: Record<string, (roll: ReturnType<typeof dice>) => Case> = {
  ConvTranspose: (roll) => {
    const groups = roll(1, 3), inputs = groups * roll(1, 2), outputs = roll(1, 2);
    const strides = [roll(1, 3), roll(1, 3)];
    return single("ConvTranspose", [
      [roll(1, 2), inputs, roll(2, 4), roll(2, 4)],
      [inputs, outputs, roll(1, 3), roll(1, 3)],
      [groups * outputs],
    ], {
      group: BigInt(groups),
      strides: ints(...strides),
      dilations: ints(roll(1, 2), roll(1, 2)),
      output_padding: ints(...strides.map((stride) => roll(0, stride - 1))),
    });
  },
  MatMul: (roll) => {
    const [m, k, n] = [roll(1, 4), roll(1, 4), roll(1, 4)], stack = [roll(1, 3), roll(1, 3)];
    // Each side leaves out axes of the stack, or has 1 in their place.
    const part = () => stack.slice(roll(0, 2)).map((size) => roll(0, 1) === 0 ? 1 : size);
    return single("MatMul", [[...part(), m, k], [...part(), k, n]]);
  },
  Gemm: (roll) => {
    const [m, k, n] = [roll(1, 4), roll(1, 4), roll(1, 4)], [a, b] = [roll(0, 1), roll(0, 1)];
    const c = [[n], [m, n], [1, n], [m, 1], [1]][roll(0, 4)];
    return single("Gemm", [a ? [k, m] : [m, k], b ? [n, k] : [k, n], c], {
      transA: BigInt(a),
      transB: BigInt(b),
      alpha: roll(1, 4) / 2,
      beta: roll(1, 4) / 2,
    });
  },
  ...Object.fromEntries(["Add", "Sub", "Mul", "Div"].map((op) => [op, (roll) => {
    const whole = [roll(1, 3), roll(1, 3), roll(1, 3), roll(1, 3)];
    const part = () => whole.slice(roll(0, 4)).map((size) => roll(0, 1) === 0 ? 1 : size);
    const shapes = [part(), part()];
    const count = shapes[1].reduce((a, b) => a * b, 1);
    return single(op, shapes, {}, { values: { b: positive(count, 3) } });
  }])),
  MaxPool: (roll) =>
    single("MaxPool", [[roll(1, 2), roll(1, 2), roll(4, 7), roll(4, 7)]], {
      kernel_shape: ints(roll(2, 3), roll(2, 3)),
      strides: ints(roll(1, 3), roll(1, 3)),
      pads: ints(roll(0, 1), roll(0, 1), roll(0, 1), roll(0, 1)),
      ceil_mode: BigInt(roll(0, 1)),
    }),
  AveragePool: (roll) =>
    single("AveragePool", [[roll(1, 2), roll(1, 2), roll(4, 7), roll(4, 7)]], {
      kernel_shape: ints(roll(2, 3), roll(2, 3)),
      strides: ints(roll(1, 3), roll(1, 3)),
      pads: ints(roll(0, 1), roll(0, 1), roll(0, 1), roll(0, 1)),
      count_include_pad: BigInt(roll(0, 1)),
    }),
  Softmax: (roll) => {
    const rank = roll(1, 4);
    return single("Softmax", [Array.from({ length: rank }, () => roll(2, 4))], {
      axis: BigInt(roll(-rank, rank - 1)),
    });
  },
  LayerNormalization: (roll) => {
    const shape = [roll(1, 3), roll(2, 4), roll(2, 4)], axis = roll(1, 2);
    return single("LayerNormalization", [shape, shape.slice(axis), shape.slice(axis)], {
      axis: BigInt(axis),
    });
  },
  Slice: (roll) => {
    const step = [1, 2, 3, -1, -2][roll(0, 4)], first = step > 0 ? roll(-6, 2) : roll(-2, 5);
    return moved("Slice", [6, roll(1, 3)], {}, [first], [step > 0 ? 6 : -9], [0], [step]);
  },
  ReduceMean: (roll) =>
    moved("ReduceMean", [roll(1, 3), roll(1, 3), roll(1, 3)], { keepdims: BigInt(roll(0, 1)) }, [
      roll(-3, 2),
    ]),
  Transpose: (roll) => {
    const perm = [0, 1, 2, 3].map((axis) => [roll(0, 1e6), axis]).sort(([a], [b]) => a - b);
    return moved("Transpose", perm.map(() => roll(1, 3)), { perm: perm.map(([, a]) => BigInt(a)) });
  },
  Concat: (roll) => {
    const shape = [roll(1, 3), roll(1, 3), roll(1, 3)], axis = roll(-3, 2);
    const parts = Array.from({ length: roll(1, 4) }, () => shape.with((axis + 3) % 3, roll(1, 3)));
    return single("Concat", parts, { axis: BigInt(axis) });
  },
};

suite(
  "shapes, strides, dilations, pads and broadcasting by chance",
  Object.fromEntries(
    Object.entries(DRAWN).flatMap(([op, draw]) =>
      Array.from({ length: 6 }, (_, i) => {
        const test = draw(dice(37 * i + op.length));
        const { tensors, nodes: [{ attribute }] } = test;
        const what = attribute.map(({ name, i, ints }) => `${name} ${ints.length ? ints : i}`);
        return [`${op} ${i}: ${JSON.stringify(tensors)} ${what}`, test];
      })
    ),
  ),
);

Deno.test("a grid of Div, Round, Clip and Mul has LSQ's gradient for its step", async () => {
  const step = 0.3, lo = -2, hi = 3, x = noise(64, 8).map((value) => 1.4 * value);
  const model = build({
    opset: 21,
    inputs: { x: [64] },
    nodes: [
      makeNode("Div", "div", ["x", "step"], ["ratio"]),
      makeNode("Round", "round", ["ratio"], ["whole"]),
      makeNode("Clip", "clip", ["whole", "lo", "hi"], ["level"]),
      makeNode("Mul", "mul", ["level", "step"], ["y"]),
    ],
    initializers: [
      floatTensor("step", [], Float32Array.of(step)),
      floatTensor("lo", [], Float32Array.of(lo)),
      floatTensor("hi", [], Float32Array.of(hi)),
    ],
    outputs: ["y"],
  });
  const shapes = new Map(["x", "ratio", "whole", "level", "y"].map((name) => [name, [64]]));
  shapes.set("step", []);
  const { model: graph, targets, gradients } = differentiate(model, shapes, { wrt: ["step", "x"] });
  const target = noise(64, 9);
  const found = await runModel(graph, {
    x: { type: "float32", dims: [64], data: x },
    step: { type: "float32", dims: [], data: Float32Array.of(step) },
    [targets.get("y")!]: { type: "float32", dims: [64], data: target },
  });
  // Esser et al. 2020: round(v) − v inside, the bound outside, v = x / s.
  let expected = 0;
  const passed = Array.from(x, (value, i) => {
    const v = value / step, level = Math.min(hi, Math.max(lo, Math.round(v)));
    const slope = 2 * (level * step - target[i]) / 64, inside = Math.round(v) === level;
    expected += slope * (inside ? level - v : level);
    return inside ? slope : 0;
  });
  const close = (a: number, b: number) => Math.abs(a - b) < 1e-5;
  assertEquals(close(Number(found[gradients.get("step")!].data[0]), expected), true);
  const slopes = found[gradients.get("x")!].data as Float32Array;
  assertEquals(passed.every((slope, i) => close(slope, slopes[i])), true);
});

Deno.test("what has no gradient is named; what does not matter is zero", async () => {
  const model = build({
    opset: 21,
    inputs: { x: [4] },
    nodes: [
      makeNode("CumSum", "running", ["x", "axis"], ["sums"]),
      makeNode("Mul", "scale", ["sums", "w"], ["y"]),
    ],
    initializers: [
      int64Tensor("axis", [], [0]),
      floatTensor("w", [4], noise(4)),
      floatTensor("unused", [2], noise(2)),
    ],
    outputs: ["y"],
  });
  const shapes = new Map([["x", [4]], ["sums", [4]], ["y", [4]], ["w", [4]], ["unused", [2]]]);
  assertEquals(unsupported(model, ["w"]), undefined);
  assertEquals(unsupported(model, ["x"])?.name, "running");
  const error = assertThrows(
    () => differentiate(model, shapes, { wrt: ["x"] }),
    AttuneError,
    'node "running": CumSum',
  );
  assertEquals(error.code, "bad-model");
  const { model: graph, gradients, targets } = differentiate(model, shapes, {
    wrt: ["w", "unused"],
  });
  const ones = { type: "float32", dims: [4], data: new Float32Array(4).fill(1) };
  const feeds = { x: ones, w: ones, unused: ones, [targets.get("y")!]: ones };
  const found = await runModel(graph, feeds);
  assertEquals([...found[gradients.get("unused")!].data], [0, 0]);
});

Deno.test("gradients that would be wrong are refused: of an exponent, of places in the data, of a second output", () => {
  const refuse = (message: string, op: string, inputs: string[], outputs = ["y"]) => {
    const model = build({
      opset: 21,
      inputs: { x: [4], i: [1] },
      types: { i: DataType.INT64 },
      nodes: [
        makeNode(op, "node", inputs, outputs),
        makeNode("Neg", "neg", [outputs.at(-1)!], ["z"]),
      ],
      initializers: [
        floatTensor("w", [4], noise(4)),
        floatTensor("g", [4], noise(4)),
        int64Tensor("one", [1], [1]),
      ],
      outputs: ["z"],
    });
    const shapes = new Map(["x", "w", "g", "y", "u", "v", "z"].map((name) => [name, [4]]));
    const error = assertThrows(
      () => differentiate(model, shapes, { wrt: ["w"] }),
      AttuneError,
      message,
    );
    assertEquals(error.code, "bad-model");
  };
  refuse("gradient of its input 1", "Pow", ["x", "w"]);
  refuse("input 1 depends on the data", "Slice", ["w", "i", "one"]);
  refuse("input 1 depends on the data", "Gather", ["w", "i"]);
  refuse("gradient of its output 1", "LayerNormalization", ["w", "g"], ["y", "u"]);
});
