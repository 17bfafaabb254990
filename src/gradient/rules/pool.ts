/**
 * Gradients of pooling.
 *
 * @module
 */

import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import type { Rule, Site } from "../rule.ts";
import type { Shape } from "../tape.ts";
import { indicator } from "./elementwise.ts";
import { framed, scattered, seen, tapsOf, type Window, windowOf } from "./window.ts";

/** The first opset whose ScatterElements adds up what meets. */
const SCATTER_ADDS = 16;

/**
 * g goes to the largest value of each window, found by the indices that MaxPool gives: three times
 * as fast as tap by tap.
 */
const maxPool: Rule = (site) =>
  site.give(0, () => {
    const { tape, node, gradient: g } = site;
    if (tape.opset < SCATTER_ADDS) return maxPoolByTap(site);
    const count = tape.size(g), size = tape.size(site.input(0));
    // The forward pass shall give the indices, too. They count elements of the whole tensor.
    const indices = node.output[1] || tape.fresh(`${site.output}_indices`);
    node.output = [site.output, indices];
    const flat = tape.node("Reshape", [indices, tape.ints([count])], [count]);
    const parts = [tape.expand(tape.scalar(0), [size]), flat, tape.reshape(g, [count])];
    const sums = tape.node("ScatterElements", parts, [size], { axis: 0n, reduction: "add" });
    return tape.reshape(sums, site.shape(0));
  });

/** The same in older opsets; equal values of a window share its gradient. */
function maxPoolByTap(site: Site): string {
  const { tape, gradient: g, output: y } = site;
  const size = site.shape(0).slice(2), places = tape.shape(y).slice(2);
  const window = windowOf(site.node, intsAttribute(site.node, "kernel_shape")!, size, places);
  const x = framed(tape, site.input(0), window, -3e38);
  const chosen = tapsOf(window).map((tap) =>
    indicator(tape, "Equal", seen(tape, x, window, tap, places), y)
  );
  const share = tape.map("Div", g, tape.total(chosen));
  return scattered(tape, window, size, (_, i) => tape.map("Mul", chosen[i], share));
}

/** g, divided by the values of each window, goes to all of them. */
const averagePool: Rule = (site) =>
  site.give(0, () => {
    const { tape, gradient: g } = site;
    const size = site.shape(0).slice(2), places = tape.shape(g).slice(2);
    const window = windowOf(site.node, intsAttribute(site.node, "kernel_shape")!, size, places);
    const padding = intAttribute(site.node, "count_include_pad", 0) === 1;
    const counts = countsOf(window, size, places, padding ? paddingAfter(site.node, window) : []);
    const share = tape.map("Div", g, tape.floats(counts, [1, 1, ...places]));
    return scattered(tape, window, size, () => share);
  });

/** The declared padding at the end, which windows may reach beyond where ceil_mode is set. */
function paddingAfter(node: NodeProto, { kernel, after }: Window): Shape {
  if (stringAttribute(node, "auto_pad", "NOTSET") !== "NOTSET") return after;
  return intsAttribute(node, "pads")?.slice(kernel.length) ?? kernel.map(() => 0);
}

/**
 * How many values each window averages, places row-major. Those of the padding count where
 * `padding` says how long it is at the end.
 */
function countsOf(
  { kernel, strides, dilations, before }: Window,
  size: Shape,
  places: Shape,
  padding: Shape,
): Float32Array {
  const along = places.map((count, i) =>
    Array.from(
      { length: count },
      (_, place) =>
        Array.from({ length: kernel[i] }, (_, tap) =>
          place * strides[i] + tap * dilations[i] - before[i]).filter((at) =>
            padding.length > 0 ? at < size[i] + padding[i] : at >= 0 && at < size[i]
          ).length,
    )
  );
  const products = along.reduce<number[]>(
    (all, counts) => all.flatMap((value) => counts.map((count) => value * count)),
    [1],
  );
  return Float32Array.from(products);
}

/** Gradients of pooling, by operator. */
export const pool: Readonly<Record<string, Rule>> = { MaxPool: maxPool, AveragePool: averagePool };
