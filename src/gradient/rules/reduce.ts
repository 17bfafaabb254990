/**
 * Gradients of sums and means over axes, and of what is normalised by them.
 *
 * @module
 */

import { floatAttribute, intAttribute, intsAttribute } from "../../onnx/model.ts";
import type { Rule, Site } from "../rule.ts";
import type { Tape } from "../tape.ts";
import { indicator } from "./elementwise.ts";
import { axisOf } from "./shape.ts";

/**
 * What a reduction is over, and its output and gradient with the reduced axes as axes of length 1.
 */
interface Reduction {
  readonly axes: readonly number[];
  /** Elements that became one. */
  readonly count: number;
  readonly y: string;
  readonly g: string;
}

/** A rule for a reduction: the gradient of its input, which is spread over that. */
function reduced(gradient: (site: Site, reduction: Reduction) => string): Rule {
  return (site) =>
    site.give(0, () => {
      const { tape } = site, shape = site.shape(0);
      const given = site.ints(1) ?? intsAttribute(site.node, "axes") ?? [];
      if (given.length === 0 && intAttribute(site.node, "noop_with_empty_axes", 0) === 1) {
        return site.gradient;
      }
      const axes = given.length === 0
        ? shape.map((_, axis) => axis)
        : given.map((axis) => axisOf(axis, shape.length));
      const keptDims = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
      const count = axes.reduce((product, axis) => product * shape[axis], 1);
      const [y, g] = [site.output, site.gradient].map((name) => tape.reshape(name, keptDims));
      return tape.expand(gradient(site, { axes, count, y, g }), shape);
    });
}

/** g goes to the values that were chosen, in equal parts where several are. */
const extreme = reduced((site, { axes, y, g }) => {
  const { tape } = site, chosen = indicator(tape, "Equal", site.input(0), y);
  return tape.map("Mul", chosen, tape.map("Div", g, tape.sum(chosen, axes)));
});

const globalAverage: Rule = (site) =>
  site.give(0, () => {
    const shape = site.shape(0), area = shape.slice(2).reduce((a, b) => a * b, 1);
    return site.tape.expand(site.tape.times(site.gradient, 1 / area), shape);
  });

/** g goes to the largest value, in equal parts where several are. */
const globalMax: Rule = (site) =>
  site.give(0, () => {
    const { tape } = site, axes = site.shape(0).flatMap((_, axis) => axis < 2 ? [] : [axis]);
    const largest = indicator(tape, "Equal", site.input(0), site.output);
    return tape.map("Mul", largest, tape.map("Div", site.gradient, tape.sum(largest, axes)));
  });

/** y ∘ (g − Σ g∘y). */
const softmax: Rule = (site) =>
  site.give(0, () => {
    const { tape, gradient: g, output: y } = site;
    const axis = axisOf(intAttribute(site.node, "axis", -1), tape.shape(y).length);
    const sum = tape.sum(tape.map("Mul", g, y), [axis]);
    return tape.map("Mul", y, tape.map("Sub", g, sum));
  });

/** g − softmax · Σ g. */
const logSoftmax: Rule = (site) =>
  site.give(0, () => {
    const { tape, gradient: g, output: y } = site;
    const axis = axisOf(intAttribute(site.node, "axis", -1), tape.shape(y).length);
    return tape.map("Sub", g, tape.map("Mul", tape.map("Exp", y), tape.sum(g, [axis])));
  });

function mean(tape: Tape, x: string, axes: readonly number[]): string {
  const count = axes.reduce((product, axis) => product * tape.shape(x)[axis], 1);
  return tape.times(tape.sum(x, axes), 1 / count);
}

/** The gradient of x̂ = (x − mean) / √(variance + ε) over `axes`, given h, that of x̂. */
function normalised(
  tape: Tape,
  x: string,
  axes: readonly number[],
  epsilon: number,
): { hat: string; back: (h: string) => string } {
  const centred = tape.map("Sub", x, mean(tape, x, axes));
  const variance = mean(tape, tape.map("Mul", centred, centred), axes);
  const deviation = tape.map("Sqrt", tape.map("Add", variance, tape.scalar(epsilon)));
  const hat = tape.map("Div", centred, deviation);
  return {
    hat,
    // (h − mean(h) − x̂ mean(h x̂)) / deviation.
    back: (h) => {
      const along = tape.map("Mul", hat, mean(tape, tape.map("Mul", h, hat), axes));
      const rest = tape.map("Sub", tape.map("Sub", h, mean(tape, h, axes)), along);
      return tape.map("Div", rest, deviation);
    },
  };
}

const layerNormalization: Rule = (site) => {
  const { tape, gradient: g } = site, rank = site.shape(0).length;
  const first = axisOf(intAttribute(site.node, "axis", -1), rank);
  const axes = Array.from({ length: rank - first }, (_, i) => first + i);
  const epsilon = floatAttribute(site.node, "epsilon", 1e-5);
  const { hat, back } = normalised(tape, site.input(0), axes, epsilon);
  site.give(0, () => back(tape.map("Mul", g, site.input(1))));
  site.give(1, () => tape.map("Mul", g, hat));
  if (site.node.input.length > 2) site.give(2, () => g);
};

const instanceNormalization: Rule = (site) => {
  const { tape, gradient: g } = site, shape = site.shape(0);
  const axes = shape.flatMap((_, axis) => axis < 2 ? [] : [axis]);
  const epsilon = floatAttribute(site.node, "epsilon", 1e-5);
  const perChannel = shape.map((size, axis) => axis === 1 ? size : 1);
  const { hat, back } = normalised(tape, site.input(0), axes, epsilon);
  site.give(0, () => back(tape.map("Mul", g, tape.reshape(site.input(1), perChannel))));
  for (const [i, term] of [[1, () => tape.map("Mul", g, hat)], [2, () => g]] as const) {
    if (!site.wants(i)) continue;
    tape.add(site.input(i), tape.reshape(tape.sumTo(term(), perChannel), site.shape(i)));
  }
};

/** Inference: y = (x − mean) · scale / √(variance + ε) + bias, with constant statistics. */
const batchNormalization: Rule = (site) => {
  const { tape, gradient: g } = site, shape = site.shape(0);
  const perChannel = shape.map((size, axis) => axis === 1 ? size : 1);
  const channel = (i: number) => tape.reshape(site.input(i), perChannel);
  const epsilon = tape.scalar(floatAttribute(site.node, "epsilon", 1e-5));
  const deviation = tape.map("Sqrt", tape.map("Add", channel(4), epsilon));
  site.give(0, () => tape.map("Mul", g, tape.map("Div", channel(1), deviation)));
  const hat = () => tape.map("Div", tape.map("Sub", site.input(0), channel(3)), deviation);
  for (const [i, term] of [[1, () => tape.map("Mul", g, hat())], [2, () => g]] as const) {
    if (!site.wants(i)) continue;
    tape.add(site.input(i), tape.reshape(tape.sumTo(term(), perChannel), site.shape(i)));
  }
};

/** Gradients of reductions and normalisations, by operator. */
export const reduce: Readonly<Record<string, (site: Site) => void>> = {
  ReduceSum: reduced((_, { g }) => g),
  ReduceMean: reduced(({ tape }, { g, count }) => tape.times(g, 1 / count)),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceL1: reduced((site, { g }) => site.tape.map("Mul", g, site.tape.map("Sign", site.input(0)))),
  ReduceSumSquare: reduced((site, { g }) =>
    site.tape.map("Mul", site.tape.times(g, 2), site.input(0))
  ),
  // x / ‖x‖, and 0 where all are 0.
  ReduceL2: reduced((site, { y, g }) => {
    const { tape } = site, length = tape.map("Max", y, tape.scalar(1e-30));
    return tape.map("Mul", tape.map("Div", g, length), site.input(0));
  }),
  GlobalAveragePool: globalAverage,
  GlobalMaxPool: globalMax,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNormalization,
  InstanceNormalization: instanceNormalization,
  BatchNormalization: batchNormalization,
};
