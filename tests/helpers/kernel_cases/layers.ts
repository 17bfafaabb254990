/** Layers over their attributes, quantized and in float. */

import type { NodeProto } from "../../../src/onnx/gen/onnx_pb.ts";
import { makeNode } from "../../../src/onnx/model.ts";
import { floatTensor } from "../../../src/onnx/tensor.ts";
import type { KernelCase } from "../kernels.ts";
import { type Attributes, float, ints, one } from "./node.ts";

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

/** Convolutions and transposed convolutions. */
export function* convolutions(): Generator<[string, KernelCase]> {
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

/** Matrix products, of weights and of two tensors. */
export function* products(): Generator<[string, KernelCase]> {
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
export function* floatLayers(): Generator<[string, KernelCase]> {
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
