/**
 * Gradients of element-wise operators: g times the derivative, from the inputs or the output that
 * the graph has computed anyway.
 *
 * @module
 */

import { floatAttribute, intAttribute, stringAttribute } from "../../onnx/model.ts";
import { DataType } from "../../onnx/tensor.ts";
import type { Rule, Site } from "../rule.ts";
import type { Tape } from "../tape.ts";

/** 1 where `a op b` holds, else 0; b may be a scalar. */
export function indicator(
  tape: Tape,
  op: "Equal" | "Greater" | "Less",
  a: string,
  b: string,
): string {
  return tape.node("Cast", [tape.map(op, a, b)], tape.shape(a), { to: 1n });
}

/** g where `a op b` holds, else 0. As a product: Where takes half as long again. */
function where({ tape, gradient: g }: Site, op: "Equal" | "Greater", a: string, b: string): string {
  return tape.map("Mul", g, indicator(tape, op, a, b));
}

/** A rule for an operator of one input: g · derivative. */
function unary(derivative: (site: Site, x: string, y: string) => string): Rule {
  return (site) =>
    site.give(
      0,
      () => site.tape.map("Mul", site.gradient, derivative(site, site.input(0), site.output)),
    );
}

/** Types that Cast differentiates between. */
const FLOATS = [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.BFLOAT16];

/** Gradient 1: what only passes a value on, or rounds it. */
const through: Rule = (site) => site.give(0, () => site.gradient);

/** d/dx of the normal distribution function: e^(−x²/2) / √(2π). */
function density(tape: Tape, x: string): string {
  const square = tape.times(tape.map("Mul", x, x), -0.5);
  return tape.times(tape.map("Exp", square), 1 / Math.sqrt(2 * Math.PI));
}

const gelu: Rule = unary(({ tape, node }, x) => {
  if (stringAttribute(node, "approximate", "none") === "tanh") {
    // y = x/2 · (1 + tanh u), u = √(2/π) (x + c x³).
    const c = 0.044715, k = Math.sqrt(2 / Math.PI), square = tape.map("Mul", x, x);
    const inner = tape.map("Add", tape.times(square, c), tape.scalar(1));
    const t = tape.map("Tanh", tape.times(tape.map("Mul", x, inner), k));
    const slope = tape.times(tape.map("Add", tape.times(square, 3 * c), tape.scalar(1)), k);
    const rest = tape.map("Sub", tape.scalar(1), tape.map("Mul", t, t));
    const bend = tape.map("Mul", tape.map("Mul", x, rest), slope);
    return tape.times(
      tape.map("Add", tape.map("Add", t, bend), tape.scalar(1)),
      0.5,
    );
  }
  // Φ(x) + x φ(x).
  const erf = tape.map("Erf", tape.times(x, Math.SQRT1_2));
  const share = tape.times(tape.map("Add", erf, tape.scalar(1)), 0.5);
  return tape.map("Add", share, tape.map("Mul", x, density(tape, x)));
});

/** The rules of Min and Max of two: all of g goes to the one that was chosen, ties to both. */
const chosen: Rule = (site) => {
  for (let i = 0; i < site.node.input.length; i++) {
    site.give(i, () => {
      const { tape } = site;
      const x = tape.expand(site.input(i), tape.shape(site.output));
      return where(site, "Equal", x, site.output);
    });
  }
};

/** Gradients of element-wise operators, by operator. */
export const elementwise: Readonly<Record<string, Rule>> = {
  Add: (site) => [0, 1].forEach((i) => site.give(i, () => site.gradient)),
  Sub: (site) => {
    site.give(0, () => site.gradient);
    site.give(1, () => site.tape.map("Neg", site.tape.sumTo(site.gradient, site.shape(1))));
  },
  Sum: (site) => site.node.input.forEach((_, i) => site.give(i, () => site.gradient)),
  Mean: (site) =>
    site.node.input.forEach((_, i, { length }) =>
      site.give(i, () => site.tape.times(site.gradient, 1 / length))
    ),
  Mul: (site) =>
    [0, 1].forEach((i) =>
      site.give(i, () => site.tape.map("Mul", site.gradient, site.input(1 - i)))
    ),
  Div: (site) => {
    const { tape, gradient: g } = site;
    site.give(0, () => tape.map("Div", g, site.input(1)));
    // −g a / b² = −g y / b, summed over what b is broadcast to before b divides it.
    site.give(1, () => {
      const sum = tape.sumTo(tape.map("Mul", g, site.output), site.shape(1));
      return tape.map("Neg", tape.map("Div", sum, site.input(1)));
    });
  },
  Pow: (site) =>
    site.give(0, () => {
      const { tape } = site, less = tape.map("Sub", site.input(1), tape.scalar(1));
      const slope = tape.map("Mul", site.input(1), tape.map("Pow", site.input(0), less));
      return tape.map("Mul", site.gradient, slope);
    }),
  Min: chosen,
  Max: chosen,
  Neg: (site) => site.give(0, () => site.tape.map("Neg", site.gradient)),
  Abs: unary(({ tape }, x) => tape.map("Sign", x)),
  Sqrt: unary(({ tape }, _, y) => tape.map("Div", tape.scalar(0.5), y)),
  Reciprocal: unary(({ tape }, _, y) => tape.map("Neg", tape.map("Mul", y, y))),
  Exp: unary((_, __, y) => y),
  Log: (site) => site.give(0, () => site.tape.map("Div", site.gradient, site.input(0))),
  Erf: unary(({ tape }, x) => {
    const square = tape.map("Neg", tape.map("Mul", x, x));
    return tape.times(tape.map("Exp", square), 2 / Math.sqrt(Math.PI));
  }),
  Tanh: unary(({ tape }, _, y) => tape.map("Sub", tape.scalar(1), tape.map("Mul", y, y))),
  Sigmoid: unary(({ tape }, _, y) => tape.map("Mul", y, tape.map("Sub", tape.scalar(1), y))),
  Softplus: unary(({ tape }, x) => tape.map("Sigmoid", x)),
  Gelu: gelu,
  Relu: (site) => site.give(0, () => where(site, "Greater", site.output, site.tape.scalar(0))),
  LeakyRelu: unary(({ tape, node }, x) => {
    const alpha = tape.scalar(floatAttribute(node, "alpha", 0.01));
    return tape.map("Where", tape.map("Greater", x, tape.scalar(0)), tape.scalar(1), alpha);
  }),
  Elu: unary(({ tape, node }, x, y) => {
    const alpha = floatAttribute(node, "alpha", 1);
    const below = tape.map("Add", y, tape.scalar(alpha));
    return tape.map("Where", tape.map("Greater", x, tape.scalar(0)), tape.scalar(1), below);
  }),
  PRelu: (site) => {
    const { tape, gradient: g } = site;
    const above = () => tape.map("Greater", site.input(0), tape.scalar(0));
    site.give(0, () => tape.map("Where", above(), g, tape.map("Mul", g, site.input(1))));
    site.give(
      1,
      () => tape.map("Where", above(), tape.scalar(0), tape.map("Mul", g, site.input(0))),
    );
  },
  HardSigmoid: unary(({ tape, node }, _, y) => {
    const alpha = floatAttribute(node, "alpha", Math.fround(0.2));
    const inside = tape.map(
      "Mul",
      indicator(tape, "Greater", y, tape.scalar(0)),
      indicator(tape, "Less", y, tape.scalar(1)),
    );
    return tape.times(inside, alpha);
  }),
  // x · clip(x/6 + ½, 0, 1): x/3 + ½ between −3 and 3.
  HardSwish: unary(({ tape }, x) => {
    const middle = tape.map("Add", tape.times(x, 1 / 3), tape.scalar(0.5));
    const low = tape.map("Where", tape.map("Less", x, tape.scalar(-3)), tape.scalar(0), middle);
    return tape.map("Where", tape.map("Greater", x, tape.scalar(3)), tape.scalar(1), low);
  }),
  // Nothing gets through where a bound took over.
  Clip: (site) => site.give(0, () => where(site, "Equal", site.input(0), site.output)),
  // Straight-through. A grid as round(x / s), Clip and · s then has LSQ's gradient for its step.
  Round: through,
  Identity: through,
  Cast: (site) => {
    const to = intAttribute(site.node, "to", DataType.FLOAT) as DataType;
    if (!FLOATS.includes(to)) throw new Error("Cast to a type of whole numbers has no gradient");
    site.give(0, () => site.gradient);
  },
  Dropout: through,
  Where: (site) => {
    const { tape, gradient: g } = site;
    site.give(1, () => tape.map("Where", site.input(0), g, tape.scalar(0)));
    site.give(2, () => tape.map("Where", site.input(0), tape.scalar(0), g));
  },
};
