/** Gradients of operators that move values against central differences in float64. */

import { floatTensor } from "../src/onnx/tensor.ts";
import { ints, list, moved, single, suite } from "./helpers/gradient_cases.ts";

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
