/**
 * Gradients of operators that move, repeat or drop values.
 *
 * @module
 */

import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import type { Rule, Site } from "../rule.ts";
import type { Shape, Tape } from "../tape.ts";

/** `axis` counted from the front. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** All values stay, in their order. */
const reshaped: Rule = (site) =>
  site.give(0, () => site.tape.reshape(site.gradient, site.shape(0)));

/** Puts `part` back to where a Slice took it from; all else is 0. Steps must be 1. */
function padBack(site: Site, part: string, starts: Shape, shape: Shape): string {
  const inner = site.tape.shape(part);
  return site.tape.pad(part, starts, shape.map((size, axis) => size - inner[axis] - starts[axis]));
}

const slice: Rule = (site) =>
  site.give(0, () => {
    const shape = site.shape(0), rank = shape.length;
    const from = site.ints(1)!, axes = site.ints(3) ?? from.map((_, i) => i);
    const steps = site.ints(4);
    const starts = shape.map(() => 0), widths = [...site.tape.shape(site.gradient)];
    let part = site.gradient;
    axes.forEach((axis, i) => {
      const at = axisOf(axis, rank), size = shape[at], step = steps?.[i] ?? 1;
      const start = from[i] < 0 ? from[i] + size : from[i];
      const count = widths[at];
      if (step === 1) starts[at] = Math.min(size, Math.max(0, start));
      else {
        // Zeros between the values; a negative step has read them from the back.
        if (step < 0) part = flip(site.tape, part, at);
        part = spreadOut(site.tape, part, at, Math.abs(step));
        const first = Math.min(size - 1, Math.max(0, start));
        starts[at] = step > 0 ? first : first + step * (count - 1);
      }
    });
    return padBack(site, part, starts, shape);
  });

/** `x` with the order of `axis` turned around. */
export function flip(tape: Tape, x: string, axis: number): string {
  const shape = tape.shape(x);
  if (shape[axis] === 1) return x;
  const ends = tape.ints([-shape[axis] - 1]);
  return tape.node("Slice", [x, tape.ints([-1]), ends, tape.ints([axis]), tape.ints([-1])], shape);
}

/** `x` with step − 1 zeros between neighbours along `axis`. */
export function spreadOut(tape: Tape, x: string, axis: number, step: number): string {
  if (step === 1) return x;
  const shape = tape.shape(x), size = shape[axis];
  const split = [...shape.slice(0, axis + 1), 1, ...shape.slice(axis + 1)];
  const zeros = split.map(() => 0), after = [...zeros];
  after[axis + 1] = step - 1;
  const padded = tape.pad(tape.reshape(x, split), zeros, after);
  const joined = [...shape];
  joined[axis] = size * step;
  const spread = tape.reshape(padded, joined);
  const counts = [...joined];
  counts[axis] = (size - 1) * step + 1;
  return tape.slice(spread, counts.map(() => 0), counts);
}

const pad: Rule = (site) =>
  site.give(0, () => {
    if (stringAttribute(site.node, "mode", "constant") !== "constant") {
      throw new Error("only constant padding has a gradient here");
    }
    const shape = site.shape(0), pads = site.ints(1);
    if (pads === undefined) throw new Error("padding that is computed has no gradient here");
    const axes = site.ints(3) ?? shape.map((_, axis) => axis);
    const before = shape.map(() => 0), after = shape.map(() => 0);
    axes.forEach((axis, i) => {
      before[axisOf(axis, shape.length)] = pads[i];
      after[axisOf(axis, shape.length)] = pads[i + axes.length];
    });
    if ([...before, ...after].some((size) => size < 0)) {
      throw new Error("negative padding has no gradient here");
    }
    return site.tape.slice(site.gradient, before, shape);
  });

const concat: Rule = (site) => {
  const { tape, gradient: g } = site, whole = tape.shape(g);
  const axis = axisOf(intAttribute(site.node, "axis", 0), whole.length);
  let from = 0;
  site.node.input.forEach((_, i) => {
    const shape = site.shape(i), starts = whole.map((_, a) => a === axis ? from : 0);
    site.give(i, () => tape.slice(g, starts, shape));
    from += shape[axis];
  });
};

const split: Rule = (site) =>
  site.give(0, () => {
    const { tape } = site, shape = site.shape(0);
    const axis = axisOf(intAttribute(site.node, "axis", 0), shape.length);
    const parts = site.node.output.map((name, i) => {
      const partShape = tape.shape(name);
      return site.gradients[i] ?? tape.expand(tape.scalar(0), partShape);
    });
    return tape.concat(parts, axis);
  });

const transpose: Rule = (site) =>
  site.give(0, () => {
    const rank = site.shape(0).length;
    const order = intsAttribute(site.node, "perm") ??
      Array.from({ length: rank }, (_, i) => rank - 1 - i);
    const back = order.map((_, axis) => order.indexOf(axis));
    return site.tape.transpose(site.gradient, back);
  });

/** Channels and places exchanged back: `order` of the six axes that both shapes are made of. */
function places(
  apart: (shape: Shape, block: number) => Shape,
  order: (node: NodeProto) => Shape,
): Rule {
  return (site) =>
    site.give(0, () => {
      const { tape, gradient: g } = site, block = intAttribute(site.node, "blocksize", 1);
      const six = tape.reshape(g, apart(tape.shape(g), block));
      return tape.reshape(tape.transpose(six, order(site.node)), site.shape(0));
    });
}

const depthToSpace = places(
  ([n, c, h, w], b) => [n, c, h / b, b, w / b, b],
  (node) =>
    stringAttribute(node, "mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4],
);

const spaceToDepth = places(
  ([n, c, h, w], b) => [n, b, b, c / b ** 2, h, w],
  () => [0, 3, 4, 1, 5, 2],
);

/** Gradients of operators that move values, by operator. */
export const shape: Readonly<Record<string, Rule>> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transpose,
  Concat: concat,
  Slice: slice,
  Split: split,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Pad: pad,
  Expand: (site) => site.give(0, () => site.gradient),
};
