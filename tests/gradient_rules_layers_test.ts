/** Gradients of convolutions and matrix products against central differences in float64. */

import { ints, single, suite } from "./helpers/gradient_cases.ts";

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
