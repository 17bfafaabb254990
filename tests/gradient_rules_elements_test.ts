/** Gradients of element-wise operators against central differences in float64. */

import { floatTensor } from "../src/onnx/tensor.ts";
import { noise } from "./helpers/models.ts";
import type { Case } from "./helpers/central_differences.ts";
import { type Attributes, positive, single, suite } from "./helpers/gradient_cases.ts";

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
