/** Gradients of whole blocks against central differences in float64. */

import { makeNode } from "../src/onnx/model.ts";
import { floatTensor, int64Tensor } from "../src/onnx/tensor.ts";
import { checkGradients } from "./helpers/central_differences.ts";

const pads = { pads: [1n, 1n, 1n, 1n] };

Deno.test("gradients of a residual block with a projection are central differences", () =>
  checkGradients("residual", {
    nodes: [
      makeNode("Conv", "one", ["x", "w1", "b1"], ["a"], { ...pads, strides: [2n, 2n] }),
      makeNode("Relu", "relu1", ["a"], ["b"]),
      makeNode("Conv", "two", ["b", "w2", "b2"], ["c"], pads),
      makeNode("Conv", "short", ["x", "w3"], ["d"], { strides: [2n, 2n] }),
      makeNode("Add", "add", ["c", "d"], ["e"]),
      makeNode("Relu", "relu2", ["e"], ["y"]),
    ],
    tensors: {
      x: [2, 3, 6, 6],
      w1: [4, 3, 3, 3],
      b1: [4],
      w2: [4, 4, 3, 3],
      b2: [4],
      w3: [4, 3, 1, 1],
    },
  }));

Deno.test("gradients of an inverted residual are central differences", () =>
  checkGradients("inverted residual", {
    nodes: [
      makeNode("Conv", "expand", ["x", "w1", "b1"], ["a"]),
      makeNode("Clip", "clip1", ["a", "zero", "six"], ["b"]),
      makeNode("Conv", "depthwise", ["b", "w2", "b2"], ["c"], { ...pads, group: 6n }),
      makeNode("Clip", "clip2", ["c", "zero", "six"], ["d"]),
      makeNode("Conv", "project", ["d", "w3", "b3"], ["e"]),
      makeNode("Add", "add", ["x", "e"], ["y"]),
    ],
    tensors: {
      x: [2, 3, 5, 5],
      w1: [6, 3, 1, 1],
      b1: [6],
      w2: [6, 1, 3, 3],
      b2: [6],
      w3: [3, 6, 1, 1],
      b3: [3],
    },
    constants: [
      floatTensor("zero", [], Float32Array.of(0)),
      floatTensor("six", [], Float32Array.of(0.7)),
    ],
  }));

Deno.test("gradients of a transformer layer are central differences", () => {
  const t = 4, e = 6;
  return checkGradients("transformer", {
    nodes: [
      makeNode("LayerNormalization", "norm1", ["x", "g1", "h1"], ["n1"]),
      makeNode("MatMul", "qkv", ["n1", "wqkv"], ["m"]),
      makeNode("Add", "qkv_bias", ["m", "bqkv"], ["all"]),
      makeNode("Split", "split", ["all", "thirds"], ["q", "k", "v"], { axis: -1n }),
      makeNode("Transpose", "turn", ["k"], ["kt"], { perm: [0n, 2n, 1n] }),
      makeNode("MatMul", "scores", ["q", "kt"], ["s"]),
      makeNode("Div", "temper", ["s", "root"], ["st"]),
      makeNode("Softmax", "attend", ["st"], ["p"]),
      makeNode("MatMul", "mix", ["p", "v"], ["o"]),
      makeNode("MatMul", "out", ["o", "wo"], ["oo"]),
      makeNode("Add", "residual1", ["x", "oo"], ["r1"]),
      makeNode("LayerNormalization", "norm2", ["r1", "g2", "h2"], ["n2"]),
      makeNode("MatMul", "up", ["n2", "wu"], ["u"]),
      makeNode("Div", "halved", ["u", "two"], ["ud"]),
      makeNode("Erf", "erf", ["ud"], ["ue"]),
      makeNode("Add", "plus", ["ue", "unit"], ["up1"]),
      makeNode("Mul", "gate", ["u", "up1"], ["gelu"]),
      makeNode("MatMul", "down", ["gelu", "wd"], ["dd"]),
      makeNode("Add", "residual2", ["r1", "dd"], ["y"]),
    ],
    tensors: {
      x: [2, t, e],
      g1: [e],
      h1: [e],
      wqkv: [e, 3 * e],
      bqkv: [3 * e],
      wo: [e, e],
      g2: [e],
      h2: [e],
      wu: [e, 2 * e],
      wd: [2 * e, e],
    },
    constants: [
      int64Tensor("thirds", [3], [e, e, e]),
      floatTensor("root", [], Float32Array.of(Math.sqrt(e))),
      floatTensor("two", [], Float32Array.of(Math.SQRT2)),
      floatTensor("unit", [], Float32Array.of(1)),
    ],
  });
});
