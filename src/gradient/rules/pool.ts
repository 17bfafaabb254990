/**
 * Gradients of pooling, tap by tap of its windows.
 *
 * @module
 */

import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import type { Rule } from "../rule.ts";
import type { Shape } from "../tape.ts";
import { indicator } from "./elementwise.ts";
import { framed, scattered, seen, tapsOf, type Window, windowOf } from "./window.ts";

/** g goes to the largest value of a window, in equal parts where several are. */
const maxPool: Rule = (site) =>
  site.give(0, () => {
    const { tape, gradient: g, output: y } = site;
    const size = site.shape(0).slice(2), places = tape.shape(y).slice(2);
    const window = windowOf(site.node, intsAttribute(site.node, "kernel_shape")!, size, places);
    const x = framed(tape, site.input(0), window, -3e38);
    const chosen = tapsOf(window).map((tap) =>
      indicator(tape, "Equal", seen(tape, x, window, tap, places), y)
    );
    // Quantized values, and those behind a Relu, are often the same.
    const share = tape.map("Div", g, tape.total(chosen));
    return scattered(tape, window, size, (_, i) => tape.map("Mul", chosen[i], share));
  });

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
 * How many values each window averages, places row-major. Those of the padding count where `padding`
 * says how long it is at the end.
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
    (all, own) => all.flatMap((value) => own.map((count) => value * count)),
    [1],
  );
  return Float32Array.from(products);
}

/** Gradients of pooling, by operator. */
export const pool: Readonly<Record<string, Rule>> = { MaxPool: maxPool, AveragePool: averagePool };
