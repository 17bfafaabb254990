/**
 * Gradients of operators that take each element of an axis from elements of another: y = M x along
 * that axis with a constant matrix M, so the gradient is Mᵀ g.
 *
 * @module
 */

import { intAttribute, stringAttribute } from "../../onnx/model.ts";
import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import { sizeOf } from "../../onnx/tensor.ts";
import type { Rule } from "../rule.ts";
import type { Tape } from "../tape.ts";
import { axisOf } from "./shape.ts";

/** What an element is made of: indices and their shares. */
type Sources = readonly (readonly [index: number, share: number])[];

/** Mᵀ g along `axis`, which had `size` elements, where element i came from `sources[i]`. */
function giveBack(
  tape: Tape,
  g: string,
  axis: number,
  size: number,
  sources: readonly Sources[],
): string {
  const shape = tape.shape(g), count = sources.length, matrix = new Float32Array(size * count);
  sources.forEach((terms, i) =>
    terms.forEach(([index, share]) => matrix[index * count + i] += share)
  );
  const stack = tape.reshape(g, [
    sizeOf(shape.slice(0, axis)),
    count,
    sizeOf(shape.slice(axis + 1)),
  ]);
  const product = tape.matmul(tape.floats(matrix, [size, count]), stack);
  return tape.reshape(product, shape.with(axis, size));
}

const gather: Rule = (site) =>
  site.give(0, () => {
    const { tape, node } = site, shape = site.shape(0), indices = site.ints(1)!;
    const axis = axisOf(intAttribute(node, "axis", 0), shape.length), size = shape[axis];
    const sources = indices.map((index): Sources => [[axisOf(index, size), 1]]);
    const g = tape.reshape(site.gradient, shape.with(axis, indices.length));
    return giveBack(tape, g, axis, size, sources);
  });

/** Where on an axis of `size` elements the element `i` of `count` lies; scale is count / size. */
function position(node: NodeProto, i: number, size: number, count: number): number {
  const mapping = stringAttribute(node, "coordinate_transformation_mode", "half_pixel");
  switch (mapping) {
    case "asymmetric":
      return i * size / count;
    case "align_corners":
      return count === 1 ? 0 : i * (size - 1) / (count - 1);
    case "pytorch_half_pixel":
      return count === 1 ? 0 : (i + 0.5) * size / count - 0.5;
    case "half_pixel":
      return (i + 0.5) * size / count - 0.5;
    default:
      throw new Error(`Resize has no gradient here for coordinates by ${mapping}`);
  }
}

const NEAREST: ReadonlyMap<string, (x: number) => number> = new Map(Object.entries({
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
}));

/** What element `i` of `count` is made of, out of `size` elements. */
function sourcesOf(node: NodeProto, i: number, size: number, count: number): Sources {
  const x = position(node, i, size, count), mode = stringAttribute(node, "mode", "nearest");
  const inside = (index: number) => Math.min(size - 1, Math.max(0, index));
  if (mode === "nearest") {
    const rounding = stringAttribute(node, "nearest_mode", "round_prefer_floor");
    const nearest = NEAREST.get(rounding);
    if (nearest) return [[inside(nearest(x)), 1]];
    throw new Error(`Resize has no gradient here for ${rounding}`);
  }
  if (mode !== "linear") throw new Error(`Resize has no gradient here in mode ${mode}`);
  const low = Math.floor(x), share = x - low;
  return [[inside(low), 1 - share], [inside(low + 1), share]];
}

/** Linear and nearest neighbours, axis by axis; the scale is the ratio of the lengths. */
const resize: Rule = (site) =>
  site.give(0, () => {
    const { tape, node } = site, from = site.shape(0), to = tape.shape(site.gradient);
    if (intAttribute(node, "antialias", 0) === 1) {
      throw new Error("Resize with antialias has no gradient here");
    }
    return from.reduce((g, size, axis) => {
      const count = to[axis];
      if (count === size) return g;
      const sources = Array.from({ length: count }, (_, i) => sourcesOf(node, i, size, count));
      const factor = count / size;
      // Where each element is repeated, a sum does.
      const repeats = Number.isInteger(factor) &&
        sources.every((terms, i) => terms.length === 1 && terms[0][0] === Math.floor(i / factor));
      if (!repeats) return giveBack(tape, g, axis, size, sources);
      const apart = tape.shape(g).toSpliced(axis, 1, size, factor);
      const sum = tape.sum(tape.reshape(g, apart), [axis + 1]);
      return tape.reshape(sum, tape.shape(g).with(axis, size));
    }, site.gradient);
  });

/** Gradients of operators that resample an axis, by operator. */
export const resample: Readonly<Record<string, Rule>> = { Gather: gather, Resize: resize };
