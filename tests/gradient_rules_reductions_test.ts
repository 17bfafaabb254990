/** Gradients of reductions, normalisations and pools against central differences in float64. */

import { floatTensor } from "../src/onnx/tensor.ts";
import { noise } from "./helpers/models.ts";
import { ints, moved, positive, single, suite } from "./helpers/gradient_cases.ts";

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
