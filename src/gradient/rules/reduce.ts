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

/** Spreads the gradient of a sum, or of a mean, over what was summed. */
function reduced(mean: boolean): Rule {
  return (site) =>
    site.give(0, () => {
      const { tape } = site, shape = site.shape(0);
      const axes = site.ints(1) ?? intsAttribute(site.node, "axes") ?? [];
      const all = axes.length === 0
        ? shape.map((_, axis) => axis)
        : axes.map((axis) => axisOf(axis, shape.length));
      const kept = shape.map((size, axis) => all.includes(axis) ? 1 : size);
      const count = all.reduce((product, axis) => product * shape[axis], 1);
      const g = tape.times(tape.reshape(site.gradient, kept), mean ? 1 / count : 1);
      return tape.expand(g, shape);
    });
}

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
  ReduceSum: reduced(false),
  ReduceMean: reduced(true),
  GlobalAveragePool: globalAverage,
  GlobalMaxPool: globalMax,
  Softmax: softmax,
  LogSoftmax: logSoftmax,
  LayerNormalization: layerNormalization,
  InstanceNormalization: instanceNormalization,
  BatchNormalization: batchNormalization,
};
