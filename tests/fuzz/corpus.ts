/** Sound models, of every kind of layer and of graph, from which mutations start. */

import { create } from "@bufbuild/protobuf";
import {
  FunctionProtoSchema,
  type NodeProto,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
} from "../../src/onnx/gen/onnx_pb.ts";
import { makeNode, type Model } from "../../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor, rawTensor } from "../../src/onnx/tensor.ts";
import { bodyAttribute, build, graphOf, noise } from "../helpers/models.ts";

/** Name of the file in which external tensors of the corpus lie. */
export const DATA_FILE = "weights.bin";
/** What lies in it. */
export const DATA: Float32Array<ArrayBuffer> = noise(600, 9);

const w = (name: string, ...dims: number[]) =>
  floatTensor(name, dims, noise(dims.reduce((a, b) => a * b, 1), name.length));

/** The nodes and weights of a chain of two matrix products, 8 to 12 to 5. */
const products = () => ({
  nodes: [
    makeNode("MatMul", "one", ["x", "w"], ["a"]),
    makeNode("Relu", "relu", ["a"], ["b"]),
    makeNode("Gemm", "two", ["b", "v", "c"], ["y"], { transB: 1n }),
  ],
  initializers: [w("w", 8, 12), w("v", 5, 12), w("c", 5)],
});

/** A model by name; each call builds it anew. */
export const MODELS: Readonly<Record<string, () => Model>> = {
  products: () => build({ opset: 17, inputs: { x: ["N", 8] }, ...products(), outputs: ["y"] }),

  convolutions: () =>
    build({
      opset: 13,
      inputs: { x: ["N", 3, 8, 8] },
      nodes: [
        makeNode("Conv", "first", ["x", "w1", "b1"], ["a"], { pads: [1n, 1n, 1n, 1n] }),
        makeNode("BatchNormalization", "norm", ["a", "g", "b1", "m", "s"], ["n"], { epsilon: 0.1 }),
        makeNode("Clip", "clip", ["n", "lo", "hi"], ["r"]),
        makeNode("Conv", "depthwise", ["r", "w22"], ["d"], { group: 4n, strides: [2n, 2n] }),
        makeNode("AveragePool", "pool", ["d"], ["p"], { kernel_shape: [2n, 2n] }),
        makeNode("Flatten", "flat", ["p"], ["f"], { axis: 1n }),
        makeNode("Gemm", "head", ["f", "w333", "b4444"], ["y"], { transB: 1n }),
      ],
      initializers: [
        w("w1", 4, 3, 3, 3),
        w("b1", 4),
        w("g", 4),
        w("m", 4),
        floatTensor("s", [4], Float32Array.of(1, 2, 0.5, 1)),
        floatTensor("lo", [], Float32Array.of(0)),
        floatTensor("hi", [], Float32Array.of(6)),
        w("w22", 4, 1, 3, 3),
        w("w333", 5, 16),
        w("b4444", 5),
      ],
      outputs: ["y", "d"],
    }),

  transposed: () =>
    build({
      opset: 11,
      inputs: { x: ["N", 4, 5] },
      nodes: [
        makeNode("ConvTranspose", "", ["x", "w"], ["a"], { strides: [2n], group: 2n }),
        makeNode("Sigmoid", "", ["a"], ["g"]),
        makeNode("Mul", "", ["a", "g"], ["m"]),
        makeNode("Conv", "", ["m", "v"], ["y"], { dilations: [2n] }),
      ],
      initializers: [w("w", 4, 3, 3), w("v", 5, 6, 2)],
      outputs: ["y"],
    }),

  attention: () =>
    build({
      opset: 17,
      inputs: { x: ["N", "T", 8], mask: ["N", "T"] },
      nodes: [
        ...["q", "k", "v"].map((p) => makeNode("MatMul", p, ["x", `w${p}`], [p])),
        makeNode("Transpose", "turn", ["k"], ["kt"], { perm: [0n, 2n, 1n] }),
        makeNode("MatMul", "scores", ["q", "kt"], ["s"]),
        makeNode("Unsqueeze", "wide", ["mask", "axes"], ["wm"]),
        makeNode("Add", "masked", ["s", "wm"], ["ms"]),
        makeNode("Softmax", "soft", ["ms"], ["p"], { axis: -1n }),
        makeNode("MatMul", "mix", ["p", "v"], ["o"]),
        makeNode("Add", "skip", ["o", "x"], ["h"]),
        makeNode("LayerNormalization", "ln", ["h", "g", "beta"], ["y"], { axis: -1n }),
      ],
      initializers: [
        ...["wq", "wk", "wv"].map((name) => w(name, 8, 8)),
        int64Tensor("axes", [1], [1]),
        w("g", 8),
        w("beta", 8),
      ],
      outputs: ["y"],
    }),

  embedding: () =>
    build({
      opset: 21,
      inputs: { ids: ["N", 4] },
      types: { ids: DataType.INT64 },
      nodes: [
        makeNode("Mod", "wrap", ["ids", "count"], ["i"]),
        makeNode("Gather", "embed", ["table", "i"], ["e"]),
        makeNode("Transpose", "tied", ["table"], ["t"], { perm: [1n, 0n] }),
        makeNode("MatMul", "head", ["e", "t"], ["y"]),
      ],
      initializers: [w("table", 40, 16), int64Tensor("count", [], [40])],
      outputs: ["y"],
    }),

  expressions: () =>
    build({
      opset: 18,
      inputs: { x: ["N", 8] },
      nodes: [
        makeNode("Cast", "cast", ["half"], ["full"], { to: 1n }),
        makeNode("Reshape", "shape", ["full", "dims"], ["w"]),
        makeNode("MatMul", "one", ["x", "w"], ["a"]),
        makeNode("Shape", "size", ["a"], ["n"]),
        makeNode("Gather", "count", ["n", "zero"], ["rows"]),
        makeNode("Concat", "join", ["rows", "rest"], ["to"], { axis: 0n }),
        makeNode("Reshape", "back", ["a", "to"], ["r"]),
        makeNode("Dropout", "drop", ["r"], ["dr"]),
        makeNode("MatMul", "two", ["dr", "v"], ["y"]),
      ],
      initializers: [
        rawTensor("half", DataType.FLOAT16, [48], new Uint8Array(96).map((_, i) => i & 1 ? 56 : i)),
        int64Tensor("dims", [2], [8, -1]),
        int64Tensor("zero", [1], [0]),
        int64Tensor("rest", [1], [6]),
        w("v", 6, 4),
      ],
      outputs: ["y"],
    }),

  /** A weight in pieces, normalised, and one of low rank. */
  pieces: () =>
    build({
      opset: 13,
      inputs: { x: ["N", 8] },
      nodes: [
        makeNode("Slice", "part", ["store", "from", "to", "last"], ["p"]),
        makeNode("Split", "halves", ["p"], ["l", "r"], { axis: 1n }),
        makeNode("Concat", "turned", ["r", "l"], ["v"], { axis: 1n }),
        makeNode("ReduceL2", "norm", ["v"], ["n"], { axes: [1n] }),
        makeNode("Div", "unit", ["v", "n"], ["u"]),
        makeNode("ConstantOfShape", "ones", ["rows"], ["o"]),
        makeNode("Unsqueeze", "column", ["o", "last"], ["oc"]),
        makeNode("Add", "moved", ["u", "oc"], ["m"]),
        makeNode("Transpose", "turn", ["m"], ["w"]),
        makeNode("MatMul", "one", ["x", "w"], ["a"]),
        makeNode("MatMul", "low", ["down", "up"], ["k"]),
        makeNode("Gather", "some", ["k", "chosen"], ["g"], { axis: 1n }),
        makeNode("MatMul", "two", ["a", "g"], ["y"]),
      ],
      initializers: [
        w("store", 6, 16),
        int64Tensor("from", [1], [4]),
        int64Tensor("to", [1], [12]),
        int64Tensor("last", [1], [1]),
        int64Tensor("rows", [1], [6]),
        w("down", 6, 2),
        w("up", 2, 9),
        int64Tensor("chosen", [5], [0, 8, -1, 3, 3]),
      ],
      outputs: ["y"],
    }),

  branches: () => {
    const branch = (name: string, nodes: NodeProto[]) =>
      bodyAttribute(
        name,
        graphOf({ inputs: {}, nodes, initializers: [w(`${name}_w`, 12, 5)], outputs: [name] }),
      );
    const model = build({ opset: 16, inputs: { x: ["N", 8] }, ...products(), outputs: ["y", "z"] });
    const choose = makeNode("If", "choose", ["yes"], ["z"]);
    for (const name of ["then_branch", "else_branch"]) {
      choose.attribute.push(
        branch(name, [makeNode("MatMul", name, ["b", `${name}_w`], [name])]),
      );
    }
    model.proto.graph.node.push(
      makeNode("ReduceSum", "sum", ["a"], ["s"], { keepdims: 0n }),
      makeNode("Greater", "test", ["s", "limit"], ["yes"]),
      choose,
    );
    model.proto.graph.initializer.push(floatTensor("limit", [], Float32Array.of(0)));
    return model;
  },

  scan: () => {
    const scan = makeNode("Scan", "scan", ["start", "a"], ["end", "z"], { num_scan_inputs: 1n });
    scan.attribute.push(bodyAttribute(
      "body",
      graphOf({
        inputs: { state: [12], row: [12] },
        nodes: [
          makeNode("Add", "", ["state", "row"], ["next"]),
          makeNode("Identity", "", ["next"], ["out"]),
        ],
        outputs: ["next", "out"],
      }),
    ));
    const model = build({ opset: 17, inputs: { x: ["N", 8] }, ...products(), outputs: ["y", "z"] });
    model.proto.graph.node.push(scan);
    model.proto.graph.initializer.push(w("start", 12));
    return model;
  },

  functions: () => {
    const model = build({
      opset: 17,
      inputs: { x: ["N", 8] },
      nodes: [
        Object.assign(makeNode("Dense", "f", ["x", "w"], ["a"]), { domain: "local" }),
        Object.assign(makeNode("Dense", "g", ["a", "u"], ["y"]), { domain: "local" }),
      ],
      initializers: [w("w", 8, 12), w("u", 12, 5)],
      outputs: ["y"],
    });
    model.proto.opsetImport.push(
      create(OperatorSetIdProtoSchema, { domain: "local", version: 1n }),
    );
    model.proto.functions.push(create(FunctionProtoSchema, {
      name: "Dense",
      domain: "local",
      input: ["i", "k"],
      output: ["o"],
      node: [makeNode("MatMul", "m", ["i", "k"], ["t"]), makeNode("Tanh", "t", ["t"], ["o"])],
      opsetImport: [create(OperatorSetIdProtoSchema, { version: 17n })],
    }));
    return model;
  },

  external: () => {
    const outside = rawTensor("w", DataType.FLOAT, [8, 12], new Uint8Array());
    outside.dataLocation = TensorProto_DataLocation.EXTERNAL;
    outside.externalData = Object.entries({ location: DATA_FILE, offset: "64", length: "384" })
      .map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
    return build({
      opset: 17,
      inputs: { x: ["N", 8] },
      ...products(),
      initializers: [outside, ...products().initializers.slice(1)],
      outputs: ["y"],
    });
  },

  recurrent: () =>
    build({
      opset: 14,
      inputs: { x: [5, "N", 8] },
      nodes: [
        makeNode("LSTM", "lstm", ["x", "w", "r", "b"], ["h", "", "c"], { hidden_size: 4n }),
        makeNode("Squeeze", "flat", ["h", "one"], ["f"]),
        makeNode("MatMul", "head", ["f", "v"], ["y"]),
      ],
      initializers: [
        w("w", 1, 16, 8),
        w("r", 1, 16, 4),
        w("b", 1, 32),
        int64Tensor("one", [1], [1]),
        w("v", 4, 3),
      ],
      outputs: ["y"],
    }),
};
