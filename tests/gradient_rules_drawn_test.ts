/** Gradients over shapes and attributes by chance, against central differences in float64. */

import { noise } from "./helpers/models.ts";
import type { Case } from "./helpers/central_differences.ts";
import { ints, moved, positive, single, suite } from "./helpers/gradient_cases.ts";

/** Whole numbers from `low` to `high` that are the same at each run. */
function dice(seed: number): (low: number, high: number) => number {
  const draws = noise(64, seed);
  let next = 0;
  return (low, high) => low + Math.floor((draws[next++] + 1) / 2 * (high - low + 1));
}

/** Operators whose shapes are drawn; convolutions have a test of their own. */
const DRAWN: Record<string, (roll: ReturnType<typeof dice>) => Case> = {
  ConvTranspose: (roll) => {
    const groups = roll(1, 3), inputs = groups * roll(1, 2), outputs = roll(1, 2);
    const strides = [roll(1, 3), roll(1, 3)];
    return single("ConvTranspose", [
      [roll(1, 2), inputs, roll(2, 4), roll(2, 4)],
      [inputs, outputs, roll(1, 3), roll(1, 3)],
      [groups * outputs],
    ], {
      group: BigInt(groups),
      strides: ints(...strides),
      dilations: ints(roll(1, 2), roll(1, 2)),
      output_padding: ints(...strides.map((stride) => roll(0, stride - 1))),
    });
  },
  MatMul: (roll) => {
    const [m, k, n] = [roll(1, 4), roll(1, 4), roll(1, 4)], stack = [roll(1, 3), roll(1, 3)];
    // Each side leaves out axes of the stack, or has 1 in their place.
    const part = () => stack.slice(roll(0, 2)).map((size) => roll(0, 1) === 0 ? 1 : size);
    return single("MatMul", [[...part(), m, k], [...part(), k, n]]);
  },
  Gemm: (roll) => {
    const [m, k, n] = [roll(1, 4), roll(1, 4), roll(1, 4)], [a, b] = [roll(0, 1), roll(0, 1)];
    const c = [[n], [m, n], [1, n], [m, 1], [1]][roll(0, 4)];
    return single("Gemm", [a ? [k, m] : [m, k], b ? [n, k] : [k, n], c], {
      transA: BigInt(a),
      transB: BigInt(b),
      alpha: roll(1, 4) / 2,
      beta: roll(1, 4) / 2,
    });
  },
  ...Object.fromEntries(["Add", "Sub", "Mul", "Div"].map((op) => [op, (roll) => {
    const whole = [roll(1, 3), roll(1, 3), roll(1, 3), roll(1, 3)];
    const part = () => whole.slice(roll(0, 4)).map((size) => roll(0, 1) === 0 ? 1 : size);
    const shapes = [part(), part()];
    const count = shapes[1].reduce((a, b) => a * b, 1);
    return single(op, shapes, {}, { values: { b: positive(count, 3) } });
  }])),
  MaxPool: (roll) =>
    single("MaxPool", [[roll(1, 2), roll(1, 2), roll(4, 7), roll(4, 7)]], {
      kernel_shape: ints(roll(2, 3), roll(2, 3)),
      strides: ints(roll(1, 3), roll(1, 3)),
      pads: ints(roll(0, 1), roll(0, 1), roll(0, 1), roll(0, 1)),
      ceil_mode: BigInt(roll(0, 1)),
    }),
  AveragePool: (roll) =>
    single("AveragePool", [[roll(1, 2), roll(1, 2), roll(4, 7), roll(4, 7)]], {
      kernel_shape: ints(roll(2, 3), roll(2, 3)),
      strides: ints(roll(1, 3), roll(1, 3)),
      pads: ints(roll(0, 1), roll(0, 1), roll(0, 1), roll(0, 1)),
      count_include_pad: BigInt(roll(0, 1)),
    }),
  Softmax: (roll) => {
    const rank = roll(1, 4);
    return single("Softmax", [Array.from({ length: rank }, () => roll(2, 4))], {
      axis: BigInt(roll(-rank, rank - 1)),
    });
  },
  LayerNormalization: (roll) => {
    const shape = [roll(1, 3), roll(2, 4), roll(2, 4)], axis = roll(1, 2);
    return single("LayerNormalization", [shape, shape.slice(axis), shape.slice(axis)], {
      axis: BigInt(axis),
    });
  },
  Slice: (roll) => {
    const step = [1, 2, 3, -1, -2][roll(0, 4)], first = step > 0 ? roll(-6, 2) : roll(-2, 5);
    return moved("Slice", [6, roll(1, 3)], {}, [first], [step > 0 ? 6 : -9], [0], [step]);
  },
  ReduceMean: (roll) =>
    moved("ReduceMean", [roll(1, 3), roll(1, 3), roll(1, 3)], { keepdims: BigInt(roll(0, 1)) }, [
      roll(-3, 2),
    ]),
  Transpose: (roll) => {
    const perm = [0, 1, 2, 3].map((axis) => [roll(0, 1e6), axis]).sort(([a], [b]) => a - b);
    return moved("Transpose", perm.map(() => roll(1, 3)), { perm: perm.map(([, a]) => BigInt(a)) });
  },
  Concat: (roll) => {
    const shape = [roll(1, 3), roll(1, 3), roll(1, 3)], axis = roll(-3, 2);
    const parts = Array.from({ length: roll(1, 4) }, () => shape.with((axis + 3) % 3, roll(1, 3)));
    return single("Concat", parts, { axis: BigInt(axis) });
  },
};

suite(
  "shapes, strides, dilations, pads and broadcasting by chance",
  Object.fromEntries(
    Object.entries(DRAWN).flatMap(([op, draw]) =>
      Array.from({ length: 6 }, (_, i) => {
        const test = draw(dice(37 * i + op.length));
        const { tensors, nodes: [{ attribute }] } = test;
        const what = attribute.map(({ name, i, ints }) => `${name} ${ints.length ? ints : i}`);
        return [`${op} ${i}: ${JSON.stringify(tensors)} ${what}`, test];
      })
    ),
  ),
);
