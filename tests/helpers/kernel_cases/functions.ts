/** Functions of one tensor, and of several element by element. */

import { makeNode } from "../../../src/onnx/model.ts";
import { bytesOf, DataType, floatTensor, rawTensor } from "../../../src/onnx/tensor.ts";
import type { KernelCase } from "../kernels.ts";
import { noise } from "../models.ts";
import { type Attributes, float, ints, long, one } from "./node.ts";

/** Operators of two tensors, element by element. */
export function* arithmetic(): Generator<[string, KernelCase]> {
  const image = [2, 4, 5, 6];
  for (const op of ["Add", "Mul", "Sub", "Div", "Max", "Min", "PRelu", "Mean", "Sum"]) {
    if (op !== "Div") {
      yield [`${op} of two`, one(op, { x: image, z: image })];
      yield [
        `${op}, channels`,
        one(op, { x: image, z: op === "PRelu" ? [4, 1, 1] : [2, 4, 1, 1] }),
      ];
    }
    yield [
      `${op} of a constant`,
      one(op, { x: image }, {}, [
        floatTensor("c", [4, 1, 1], noise(4, 3).map((v) => Math.abs(v) + 0.5)),
      ]),
    ];
    yield [
      `${op} of a scalar`,
      one(op, { x: image }, {}, [
        floatTensor("c", op === "PRelu" ? [1] : [], Float32Array.of(0.7)),
      ]),
    ];
  }
  for (const op of ["Add", "Mul"]) {
    yield [`${op} with itself`, one(op, { x: image }, {}, [], { read: ["x", "x"] })];
    yield [`${op}, small first`, one(op, { x: [6], z: image })];
    yield [`${op}, scalar side`, one(op, { x: image, z: [1, 1, 1, 1] })];
    yield [`${op}, both spread`, one(op, { x: [2, 1, 5, 6], z: [1, 4, 1, 6] })];
    yield [`${op} and Relu`, {
      nodes: [makeNode(op, op, ["x", "z"], ["a"]), makeNode("Relu", "relu", ["a"], ["y"])],
      inputs: { x: image, z: image },
    }];
  }
}

/** Choices between two tensors by a condition that is constant. */
export function* choices(): Generator<[string, KernelCase]> {
  const image = [2, 4, 5, 6];
  const bits = bytesOf(Uint8Array.from({ length: 30 }, (_, i) => i % 3 ? 1 : 0));
  const condition = rawTensor("c", DataType.BOOL, [1, 1, 5, 6], bits);
  const read = ["c", "x", "z"];
  yield ["Where", one("Where", { x: image, z: image }, {}, [condition], { read })];
  yield ["Where, spread", one("Where", { x: image, z: [1, 4, 1, 1] }, {}, [condition], { read })];
  const value = floatTensor("k", [], Float32Array.of(-0.25));
  yield [
    "Where with a constant",
    one("Where", { x: image }, {}, [condition, value], { read: ["c", "x", "k"] }),
  ];
}

/** Functions of one tensor that opset 13 has, with their attributes. */
const FUNCTIONS: readonly [string, Attributes][] = [
  ["Relu", {}],
  ["LeakyRelu", {}],
  ["LeakyRelu", { alpha: 0.3 }],
  ["LeakyRelu", { alpha: 2 }],
  ["LeakyRelu", { alpha: -0.5 }],
  ["LeakyRelu", { alpha: 0 }],
  ["Sigmoid", {}],
  ["Tanh", {}],
  ["Elu", { alpha: 0.7 }],
  ["Selu", {}],
  ["HardSigmoid", {}],
  ["Softplus", {}],
  ["Softsign", {}],
  ["Erf", {}],
  ["Exp", {}],
  ["Abs", {}],
  ["Neg", {}],
  ["Floor", {}],
  ["Round", {}],
  ["Sign", {}],
  ["ThresholdedRelu", { alpha: 0.2 }],
  ["Identity", {}],
  ["Softmax", {}],
  ["Softmax", { axis: 1n }],
  ["Softmax", { axis: -2n }],
  ["LogSoftmax", { axis: 1n }],
  ["Hardmax", { axis: 1n }],
  ["ReduceMean", { axes: ints(2, 3) }],
  ["ReduceMean", { axes: ints(1), keepdims: 0n }],
  ["ReduceMax", { axes: ints(2, 3) }],
  ["ReduceMin", { axes: ints(1), keepdims: 0n }],
  ["ReduceSum", {}],
  ["ReduceL2", { axes: ints(1) }],
  ["LpNormalization", { axis: 1n }],
  ["LRN", { size: 3n }],
  ["DepthToSpace", { blocksize: 2n }],
  ["InstanceNormalization", {}],
  ["MeanVarianceNormalization", {}],
];

/** Functions of one tensor. */
export function* functions(): Generator<[string, KernelCase]> {
  const image = [2, 4, 5, 6];
  for (const [op, attributes] of FUNCTIONS) {
    const name = `${op} ${Object.entries(attributes).map(([k, v]) => `${k} ${v}`)}`.trim();
    const constants = op === "InstanceNormalization"
      ? [floatTensor("s", [4], noise(4, 2)), floatTensor("b", [4], noise(4, 5))]
      : [];
    yield [name, one(op, { x: image }, attributes, constants)];
  }
  yield ["Softmax of a matrix", one("Softmax", { x: [3, 7] })];
  yield ["Softmax, opset 11", one("Softmax", { x: image }, { axis: 1n }, [], { opset: 11 })];
  yield [
    "Clip",
    one("Clip", { x: image }, {}, [
      floatTensor("lo", [], Float32Array.of(-0.4)),
      floatTensor("hi", [], Float32Array.of(0.3)),
    ]),
  ];
  yield ["Clip above", {
    ...one("Clip", { x: image }, {}, [floatTensor("hi", [], Float32Array.of(0.3))], {
      read: ["x", "", "hi"],
    }),
  }];
  yield ["HardSwish", one("HardSwish", { x: image }, {}, [], { opset: 14 })];
  yield ["Gelu", one("Gelu", { x: image }, {}, [], { opset: 20 })];
  yield ["Mish", one("Mish", { x: image }, {}, [], { opset: 18 })];
  yield [
    "LayerNormalization",
    one("LayerNormalization", { x: image }, {}, [
      floatTensor("s", [6], noise(6, 2)),
      floatTensor("b", [6], noise(6, 5)),
    ], { opset: 17 }),
  ];
}

/** Functions that files spell out as several nodes. */
export function* composites(): Generator<[string, KernelCase]> {
  const image = [2, 4, 5, 6];
  yield ["SiLU", {
    nodes: [
      makeNode("Sigmoid", "sigmoid", ["x"], ["a"]),
      makeNode("Mul", "mul", ["x", "a"], ["y"]),
    ],
    inputs: { x: image },
  }];
  yield ["squeeze and excite", {
    nodes: [
      makeNode("GlobalAveragePool", "pool", ["x"], ["p"]),
      makeNode("Conv", "Conv", ["p", "w"], ["c"]),
      makeNode("Sigmoid", "sigmoid", ["c"], ["g"]),
      makeNode("Mul", "mul", ["x", "g"], ["y"]),
    ],
    inputs: { x: image },
    constants: [float("w", [4, 4, 1, 1])],
  }];
}

/** The largest and smallest values, and where they are. */
export function* extremes(): Generator<[string, KernelCase]> {
  const image = [2, 4, 5, 6];
  yield ["ArgMax", one("ArgMax", { x: image }, { axis: 1n }, [], { inside: false })];
  yield [
    "ArgMax, last",
    one("ArgMax", { x: image }, { axis: 1n, select_last_index: 1n }, [], {
      inside: false,
    }),
  ];
  yield ["ArgMin", one("ArgMin", { x: image }, { axis: 1n }, [], { inside: false })];
  yield ["TopK", {
    nodes: [makeNode("TopK", "TopK", ["x", "k"], ["y", "at"], { axis: 1n })],
    inputs: { x: image },
    constants: [long("k", [2])],
  }];
}
