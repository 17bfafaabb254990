/**
 * Operators over their attributes, each as a layer or other node of a graph that is quantized: all
 * that onnxruntime 1.30 has an integer form for between DequantizeLinear and QuantizeLinear, and
 * what only happens to stand between tensors on grids.
 */

import type { NodeProto, TensorProto } from "../../src/onnx/gen/onnx_pb.ts";
import { type AttributeValue, makeNode } from "../../src/onnx/model.ts";
import {
  bytesOf,
  DataType,
  floatTensor,
  int64Tensor,
  rawTensor,
  sizeOf,
} from "../../src/onnx/tensor.ts";
import type { KernelCase } from "./kernels.ts";
import { noise } from "./models.ts";

type Attributes = Record<string, AttributeValue>;

const ints = (...values: number[]) => values.map(BigInt);
const float = (name: string, dims: number[], scale = 0.5): TensorProto =>
  floatTensor(name, dims, noise(sizeOf(dims), dims.length + name.length).map((v) => v * scale));
const long = (name: string, values: number[], dims = [values.length]) =>
  int64Tensor(name, dims, values);

/** A case of one node that reads `x`, or `x` and `z`, and writes `y`. */
function one(
  op: string,
  inputs: Record<string, number[]>,
  attributes: Attributes = {},
  constants: TensorProto[] = [],
  more: Partial<KernelCase> & { read?: string[] } = {},
): KernelCase {
  const { read = [...Object.keys(inputs), ...constants.map(({ name }) => name)], ...rest } = more;
  return { nodes: [makeNode(op, op, read, ["y"], attributes)], inputs, constants, ...rest };
}

/** A case of a layer: `inside`, and with a Relu or Clip in between, or as what leaves the graph. */
function* layer(
  name: string,
  op: string,
  input: number[],
  weight: number[],
  attributes: Attributes = {},
  more: { bias?: number[]; left?: boolean; ends?: readonly string[] } = {},
): Generator<[string, KernelCase]> {
  const constants = [float("w", weight), ...(more.bias ? [float("b", more.bias)] : [])];
  const read = more.left ? ["w", "x"] : ["x", "w", ...(more.bias ? ["b"] : [])];
  const ends = more.ends ?? ["inside", "out"];
  for (const end of ends) {
    const nodes: NodeProto[] = [
      makeNode(op, op, read, [end === "relu" || end === "clip" ? "a" : "y"], attributes),
    ];
    const own = [...constants];
    if (end === "relu") nodes.push(makeNode("Relu", "relu", ["a"], ["y"]));
    if (end === "clip") {
      nodes.push(makeNode("Clip", "clip", ["a", "lo", "hi"], ["y"]));
      own.push(
        floatTensor("lo", [], Float32Array.of(0)),
        floatTensor("hi", [], Float32Array.of(0.8)),
      );
    }
    yield [`${name}, ${end}`, {
      nodes,
      inputs: { x: input },
      constants: own,
      inside: end !== "out",
    }];
  }
}

function* convolutions(): Generator<[string, KernelCase]> {
  const image = [2, 4, 7, 6], all = ["inside", "relu", "clip", "out"];
  yield* layer("Conv", "Conv", image, [5, 4, 3, 3], {}, { bias: [5], ends: all });
  yield* layer("Conv without bias", "Conv", image, [5, 4, 3, 3], {}, { ends: all });
  yield* layer("Conv 1-D", "Conv", [2, 4, 9], [5, 4, 3], { pads: ints(1, 2), strides: ints(2) });
  yield* layer("Conv 1-D depthwise", "Conv", [2, 4, 9], [4, 1, 3], { group: 4n, pads: ints(2, 0) });
  yield* layer("Conv 3-D", "Conv", [1, 2, 4, 5, 4], [3, 2, 2, 3, 2], {
    pads: ints(0, 1, 1, 1, 0, 1),
  });
  yield* layer("Conv 3-D depthwise", "Conv", [1, 4, 4, 5, 4], [4, 1, 2, 3, 2], { group: 4n });
  yield* layer("Conv pads", "Conv", image, [5, 4, 3, 3], { pads: ints(0, 1, 2, 1) }, { bias: [5] });
  yield* layer("Conv strides", "Conv", image, [5, 4, 3, 2], { strides: ints(2, 3) });
  yield* layer("Conv dilations", "Conv", image, [5, 4, 3, 2], {
    dilations: ints(2, 3),
    pads: ints(2, 1, 2, 1),
  });
  yield* layer("Conv groups", "Conv", image, [6, 2, 3, 3], { group: 2n, pads: ints(1, 1, 1, 1) });
  yield* layer("Conv depthwise", "Conv", image, [4, 1, 3, 3], {
    group: 4n,
    pads: ints(1, 1, 1, 1),
    strides: ints(2, 2),
  }, { bias: [4] });
  yield* layer("Conv depthwise, dilated", "Conv", image, [4, 1, 3, 3], {
    group: 4n,
    dilations: ints(2, 2),
    pads: ints(2, 2, 2, 2),
  });
  yield* layer("Conv depthwise of many channels", "Conv", [1, 40, 6, 6], [40, 1, 5, 5], {
    group: 40n,
    pads: ints(2, 2, 2, 2),
  });
  yield* layer("Conv depthwise times two", "Conv", image, [8, 1, 3, 3], { group: 4n });
  yield* layer("Conv pointwise", "Conv", [2, 17, 5, 3], [19, 17, 1, 1]);
  yield* layer("Conv of one channel", "Conv", [1, 1, 8, 8], [3, 1, 3, 3], {}, { bias: [3] });
  for (const auto_pad of ["SAME_UPPER", "SAME_LOWER", "VALID"]) {
    yield* layer(`Conv ${auto_pad}`, "Conv", image, [5, 4, 3, 2], {
      auto_pad,
      strides: ints(2, 2),
    });
    yield* layer(`Conv depthwise ${auto_pad}`, "Conv", image, [4, 1, 2, 3], {
      auto_pad,
      group: 4n,
    });
  }
  yield* layer("ConvTranspose", "ConvTranspose", image, [4, 3, 2, 2], { strides: ints(2, 2) }, {
    bias: [3],
    ends: all,
  });
  yield* layer("ConvTranspose groups", "ConvTranspose", image, [4, 3, 3, 3], {
    group: 2n,
    pads: ints(1, 0, 1, 0),
    output_padding: ints(1, 1),
    strides: ints(2, 2),
  });
  yield* layer("ConvTranspose depthwise", "ConvTranspose", image, [4, 1, 3, 3], { group: 4n });
  yield* layer("ConvTranspose 1-D", "ConvTranspose", [2, 4, 5], [4, 3, 3], { dilations: ints(2) });
  yield* layer("ConvTranspose VALID", "ConvTranspose", image, [4, 3, 2, 2], { auto_pad: "VALID" });
}

function* products(): Generator<[string, KernelCase]> {
  const all = ["inside", "relu", "clip", "out"];
  for (const transB of [0n, 1n]) {
    const shape = transB ? [6, 11] : [11, 6], b = { transB };
    yield* layer(`Gemm transB ${transB}`, "Gemm", [4, 11], shape, b, { bias: [6], ends: all });
    yield* layer(`Gemm transB ${transB} without C`, "Gemm", [4, 11], shape, b);
    for (const bias of [[1], [1, 6], [1, 1], [], [4, 6], [4, 1]]) {
      yield* layer(`Gemm transB ${transB}, C [${bias}]`, "Gemm", [4, 11], shape, b, { bias });
    }
  }
  yield* layer("Gemm of one row", "Gemm", [1, 300], [300, 7], {}, { bias: [7] });
  for (const dims of [[11], [4, 11], [2, 4, 11], [2, 3, 4, 11]]) {
    yield* layer(`MatMul ${dims.length}-D by matrix`, "MatMul", dims, [11, 6], {}, {
      ends: dims.length > 1 ? all : ["out"],
    });
  }
  for (const dims of [[11], [11, 4], [2, 11, 4], [2, 3, 11, 4]]) {
    yield* layer(`MatMul matrix by ${dims.length}-D`, "MatMul", dims, [6, 11], {}, {
      left: true,
      ends: dims.length > 1 ? ["inside", "out"] : ["out"],
    });
  }
  // Products that are no layers.
  for (
    const [a, b] of [[[4, 11], [11, 6]], [[2, 4, 11], [2, 11, 6]], [[2, 3, 4, 5], [2, 3, 5, 4]]]
  ) {
    for (const inside of [true, false]) {
      yield [
        `MatMul of two, ${a.length}-D, ${inside}`,
        one("MatMul", { x: a, z: b }, {}, [], { inside }),
      ];
    }
  }
  yield ["Gemm of two", one("Gemm", { x: [4, 5], z: [6, 5] }, { transB: 1n, alpha: 0.5 })];
  yield ["MatMul and Add", {
    nodes: [
      makeNode("MatMul", "MatMul", ["x", "w"], ["a"]),
      makeNode("Add", "Add", ["a", "b"], ["y"]),
    ],
    inputs: { x: [4, 11] },
    constants: [float("w", [11, 6]), float("b", [6])],
  }];
  yield ["MatMul and Add, 3-D, out", {
    nodes: [
      makeNode("MatMul", "MatMul", ["x", "w"], ["a"]),
      makeNode("Add", "Add", ["a", "b"], ["y"]),
    ],
    inputs: { x: [2, 4, 11] },
    constants: [float("w", [11, 6]), float("b", [6])],
    inside: false,
  }];
  yield ["Conv and Add of a constant", {
    nodes: [
      makeNode("Conv", "Conv", ["x", "w"], ["a"]),
      makeNode("Add", "Add", ["a", "b"], ["y"]),
    ],
    inputs: { x: [2, 4, 7, 6] },
    constants: [float("w", [5, 4, 3, 3]), float("b", [1, 5, 1, 1])],
  }];
}

/** Layers that stay in float between tensors on grids. */
function* floatLayers(): Generator<[string, KernelCase]> {
  const skip = { overrides: [{ pattern: "float", bits: "skip" as const }] };
  const kinds: [string, string, number[], number[], Attributes, number[]?][] = [
    ["Conv", "Conv", [2, 4, 7, 6], [5, 4, 3, 3], {}, [5]],
    ["Conv without bias", "Conv", [2, 4, 7, 6], [5, 4, 3, 3], {}],
    ["Conv of one channel", "Conv", [2, 1, 7, 6], [5, 1, 3, 3], {}, [5]],
    ["ConvTranspose", "ConvTranspose", [2, 4, 7, 6], [4, 3, 2, 2], {}, [3]],
    ["ConvTranspose without bias", "ConvTranspose", [2, 4, 7, 6], [4, 3, 2, 2], {}],
    ["ConvTranspose, output_shape", "ConvTranspose", [2, 4, 7, 6], [4, 3, 2, 2], {
      output_shape: ints(7, 6),
    }, [3]],
    ["Gemm", "Gemm", [4, 11], [11, 6], {}, [6]],
    ["Gemm without C", "Gemm", [4, 11], [11, 6], {}],
    ["Gemm alpha", "Gemm", [4, 11], [11, 6], { alpha: 0.5 }, [6]],
    ["Gemm beta", "Gemm", [4, 11], [6, 11], { beta: 0.5, transB: 1n }, [6]],
    ["Gemm transA", "Gemm", [11, 4], [11, 6], { transA: 1n }, [6]],
    ["MatMul", "MatMul", [4, 11], [11, 6], {}],
  ];
  for (const [name, op, x, weight, attributes, bias] of kinds) {
    for (const after of ["", "Relu"]) {
      const constants = [float("w", weight), ...(bias ? [float("b", bias)] : [])];
      yield [`float ${name} ${after}`.trim(), {
        nodes: [
          makeNode(
            op,
            "float",
            ["x", ...constants.map(({ name }) => name)],
            [after ? "a" : "y"],
            attributes,
          ),
          ...(after ? [makeNode(after, "after", ["a"], ["y"])] : []),
        ],
        inputs: { x },
        constants,
        options: /alpha|beta|transA|output_shape/.test(name) ? {} : skip,
      }];
    }
  }
}

/** The shape that most pools read. */
const IMAGE = [2, 4, 7, 6];

/** Average pools of every kind of window, which may reach beyond the input. */
function* averagePools(): Generator<[string, KernelCase]> {
  const kernel = { kernel_shape: ints(3, 3) };
  for (const ceil_mode of [0n, 1n]) {
    const windows: [string, number[], Attributes, Partial<KernelCase>?][] = [
      ["", IMAGE, kernel],
      [", strides", IMAGE, { ...kernel, strides: ints(2, 2) }],
      [", pads", IMAGE, { ...kernel, strides: ints(2, 2), pads: ints(1, 1, 1, 1) }],
      [", uneven pads", IMAGE, { ...kernel, strides: ints(2, 3), pads: ints(0, 2, 1, 0) }],
      [", 1-D", [2, 4, 8], { kernel_shape: ints(3), strides: ints(2), pads: ints(1, 1) }],
      // onnxruntime infers and computes different shapes where strides and pads both are uneven.
      [", 3-D", [1, 2, 4, 5, 6], {
        kernel_shape: ints(2, 3, 2),
        strides: ceil_mode ? ints(1, 1, 1) : ints(2, 2, 2),
        pads: ints(1, 1, 0, 0, 1, 1),
      }],
      ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad): [string, number[], Attributes] => [
        `, ${auto_pad}`,
        IMAGE,
        { ...kernel, auto_pad, strides: ints(2, 2) },
      ]),
      [", dilations", IMAGE, { ...kernel, dilations: ints(2, 2), pads: ints(1, 1, 1, 1) }, {
        opset: 19,
      }],
    ];
    for (const count_include_pad of [0n, 1n]) {
      const name = `AveragePool ceil ${ceil_mode} include ${count_include_pad}`;
      for (const [what, x, window, more] of windows) {
        const attributes = { ...window, ceil_mode, count_include_pad };
        yield [`${name}${what}`, one("AveragePool", { x }, attributes, [], more)];
      }
    }
  }
  yield ["AveragePool and Relu", {
    nodes: [
      makeNode("AveragePool", "pool", ["x"], ["a"], { kernel_shape: ints(2, 2) }),
      makeNode("Relu", "relu", ["a"], ["y"]),
    ],
    inputs: { x: IMAGE },
  }];
}

/** Max pools of every kind of window. */
function* maxPools(): Generator<[string, KernelCase]> {
  const kernel = { kernel_shape: ints(3, 3) };
  const windows: [string, number[], Attributes][] = [
    ["plain", IMAGE, kernel],
    ["strides", IMAGE, { ...kernel, strides: ints(2, 2) }],
    ["pads", IMAGE, { ...kernel, strides: ints(2, 2), pads: ints(1, 1, 1, 1) }],
    ["dilations", IMAGE, {
      ...kernel,
      dilations: ints(2, 2),
      pads: ints(1, 1, 1, 1),
      strides: ints(2, 2),
    }],
    ["SAME_UPPER", IMAGE, { ...kernel, auto_pad: "SAME_UPPER", strides: ints(2, 2) }],
    ["SAME_LOWER", IMAGE, { ...kernel, auto_pad: "SAME_LOWER", strides: ints(2, 2) }],
    ["column_major", IMAGE, { ...kernel, storage_order: 1n }],
    ["1-D", [2, 4, 8], { kernel_shape: ints(3), strides: ints(2), pads: ints(1, 1) }],
    ["3-D", [1, 2, 4, 5, 6], { kernel_shape: ints(2, 3, 2), strides: ints(2, 2, 2) }],
  ];
  for (const ceil_mode of [0n, 1n]) {
    for (const [what, x, window] of windows) {
      yield [`MaxPool ceil ${ceil_mode} ${what}`, one("MaxPool", { x }, { ...window, ceil_mode })];
    }
  }
  yield ["MaxPool with indices", {
    nodes: [makeNode("MaxPool", "MaxPool", ["x"], ["y", "at"], { kernel_shape: ints(2, 2) })],
    inputs: { x: IMAGE },
  }];
}

/** Pools over whole channels, and one of another norm. */
function* otherPools(): Generator<[string, KernelCase]> {
  for (const dims of [[2, 4, 9], IMAGE, [1, 2, 4, 5, 6], [1, 3, 40, 40], [2, 40, 1, 1]]) {
    yield [`GlobalAveragePool [${dims}]`, one("GlobalAveragePool", { x: dims })];
  }
  yield ["GlobalMaxPool", one("GlobalMaxPool", { x: IMAGE })];
  yield ["LpPool", one("LpPool", { x: IMAGE }, { kernel_shape: ints(2, 2) })];
}

/** Operators of two tensors, element by element. */
function* arithmetic(): Generator<[string, KernelCase]> {
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
function* choices(): Generator<[string, KernelCase]> {
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
function* functions(): Generator<[string, KernelCase]> {
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
function* composites(): Generator<[string, KernelCase]> {
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
function* extremes(): Generator<[string, KernelCase]> {
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

/** Values in other places or shapes, or some of them. */
function* moves(): Generator<[string, KernelCase]> {
  const image = [2, 4, 6, 6];
  yield ["Flatten", one("Flatten", { x: image })];
  yield ["Flatten axis 2", one("Flatten", { x: image }, { axis: 2n })];
  yield ["Reshape", one("Reshape", { x: image }, {}, [long("s", [0, -1, 9])])];
  yield ["Squeeze", one("Squeeze", { x: [2, 1, 6, 1, 3] }, {}, [long("a", [1, 3])])];
  yield ["Squeeze all", one("Squeeze", { x: [2, 1, 6, 1, 3] })];
  yield ["Unsqueeze", one("Unsqueeze", { x: [2, 5] }, {}, [long("a", [0, 3])], { inside: false })];
  yield ["Transpose", one("Transpose", { x: image }, { perm: ints(0, 2, 3, 1) })];
  yield ["Transpose reversed", one("Transpose", { x: image })];
  yield ["Expand", one("Expand", { x: [2, 1, 6] }, {}, [long("s", [2, 3, 6])])];
  yield ["Tile", one("Tile", { x: [2, 3, 4] }, {}, [long("r", [1, 2, 2])])];
  yield [
    "Slice",
    one("Slice", { x: image }, {}, [
      long("from", [1, -1]),
      long("to", [4, -7]),
      long("axes", [1, 3]),
      long("steps", [2, -2]),
    ]),
  ];
  yield ["Gather", one("Gather", { x: image }, { axis: 1n }, [long("i", [3, 0, -1])])];
  yield ["Gather of one", one("Gather", { x: image }, { axis: 1n }, [long("i", [2], [])])];
  yield [
    "GatherElements",
    one("GatherElements", { x: [3, 4] }, { axis: 1n }, [
      long("i", [0, 3, 1, 1, 2, 0], [3, 2]),
    ]),
  ];
  yield ["GatherND", one("GatherND", { x: [3, 4, 5] }, {}, [long("i", [0, 3, 2, 1], [2, 2])])];
  yield ["SpaceToDepth", one("SpaceToDepth", { x: image }, { blocksize: 2n })];
  yield ["pool, reshape, transpose", {
    nodes: [
      makeNode("MaxPool", "pool", ["x"], ["a"], { kernel_shape: ints(2, 2), strides: ints(2, 2) }),
      makeNode("Reshape", "reshape", ["a", "s"], ["b"]),
      makeNode("Transpose", "transpose", ["b"], ["y"], { perm: ints(0, 2, 1) }),
    ],
    inputs: { x: image },
    constants: [long("s", [0, 0, -1])],
  }];
}

/** Values with others around them. */
function* pads(): Generator<[string, KernelCase]> {
  const image = [2, 4, 6, 6];
  for (const mode of ["constant", "reflect", "edge"]) {
    yield [
      `Pad ${mode}`,
      one("Pad", { x: image }, { mode }, [long("p", [0, 0, 1, 2, 0, 0, 2, 1])]),
    ];
  }
  yield [
    "Pad with a value",
    one("Pad", { x: image }, {}, [
      long("p", [0, 0, 1, 2, 0, 0, 2, 1]),
      floatTensor("v", [], Float32Array.of(0.77)),
    ]),
  ];
}

/** Images in other sizes. */
function* resizes(): Generator<[string, KernelCase]> {
  const image = [2, 4, 6, 6];
  for (const mode of ["nearest", "linear", "cubic"]) {
    for (const coordinate_transformation_mode of ["half_pixel", "asymmetric", "align_corners"]) {
      for (
        const [what, scales] of Object.entries({
          up: [1, 1, 2, 2],
          down: [1, 1, 0.5, 0.7],
          odd: [1, 1, 1.5, 1],
        })
      ) {
        yield [
          `Resize ${mode} ${coordinate_transformation_mode} ${what}`,
          one(
            "Resize",
            { x: image },
            { mode, coordinate_transformation_mode },
            [floatTensor("s", [4], Float32Array.from(scales))],
            { read: ["x", "", "s"] },
          ),
        ];
      }
    }
  }
  yield [
    "Resize linear of three axes",
    one("Resize", { x: [1, 2, 3, 4, 5] }, { mode: "linear" }, [
      floatTensor("s", [5], Float32Array.of(1, 1, 2, 2, 2)),
    ], { read: ["x", "", "s"] }),
  ];
  yield [
    "Resize nearest, ceil",
    one(
      "Resize",
      { x: image },
      {
        mode: "nearest",
        nearest_mode: "ceil",
      },
      [long("n", [2, 4, 9, 5])],
      { read: ["x", "", "", "n"] },
    ),
  ];
  yield [
    "Upsample",
    one("Upsample", { x: image }, { mode: "linear" }, [
      floatTensor("s", [4], Float32Array.of(1, 1, 2, 2)),
    ], { opset: 9 }),
  ];
}

/** Tensors cut into several, and several joined into one. */
function* splitsAndJoins(): Generator<[string, KernelCase]> {
  const image = [2, 4, 6, 6];
  yield ["Split", {
    nodes: [makeNode("Split", "Split", ["x", "n"], ["y", "u"], { axis: 1n })],
    inputs: { x: image },
    constants: [long("n", [1, 3])],
    outputs: ["y", "u"],
  }];
  yield ["Split, one used", {
    nodes: [makeNode("Split", "Split", ["x", "n"], ["y", "u"], { axis: 1n })],
    inputs: { x: image },
    constants: [long("n", [1, 3])],
  }];
  for (const axis of [0n, 1n, 2n, -1n]) {
    yield [`Concat axis ${axis}`, one("Concat", { x: image, z: image }, { axis })];
  }
  yield ["Concat of three", one("Concat", { x: image, z: image, v: image }, { axis: 1n })];
  yield ["Concat with itself", one("Concat", { x: image }, { axis: 1n }, [], { read: ["x", "x"] })];
  yield ["Concat of one", one("Concat", { x: image }, { axis: 1n })];
  yield [
    "Concat with a constant",
    one("Concat", { x: image }, { axis: 1n }, [float("c", [2, 1, 6, 6])]),
  ];
  yield ["Concat and Relu", {
    nodes: [
      makeNode("Concat", "concat", ["x", "z"], ["a"], { axis: 1n }),
      makeNode("Relu", "relu", ["a"], ["y"]),
    ],
    inputs: { x: image, z: image },
  }];
}

/** Every case by its name. */
export const KERNEL_CASES: ReadonlyMap<string, KernelCase> = new Map([
  ...convolutions(),
  ...products(),
  ...floatLayers(),
  ...averagePools(),
  ...maxPools(),
  ...otherPools(),
  ...arithmetic(),
  ...choices(),
  ...functions(),
  ...composites(),
  ...extremes(),
  ...moves(),
  ...pads(),
  ...resizes(),
  ...splitsAndJoins(),
]);
