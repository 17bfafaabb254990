/** Operators that move values, cut tensors or join them. */

import { makeNode } from "../../../src/onnx/model.ts";
import { floatTensor } from "../../../src/onnx/tensor.ts";
import type { KernelCase } from "../kernels.ts";
import { float, ints, long, one } from "./node.ts";

/** Values in other places or shapes, or some of them. */
export function* moves(): Generator<[string, KernelCase]> {
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
export function* pads(): Generator<[string, KernelCase]> {
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
export function* resizes(): Generator<[string, KernelCase]> {
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
export function* splitsAndJoins(): Generator<[string, KernelCase]> {
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
