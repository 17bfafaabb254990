/**
 * Gradients of pooling, tap by tap of its windows.
 *
 * @module
 */

import { intAttribute, intsAttribute } from "../../onnx/model.ts";
import type { Rule } from "../rule.ts";
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
    const counts = countsOf(window, size, places, padding);
    const share = tape.map("Div", g, tape.floats(counts, [1, 1, ...places]));
    return scattered(tape, window, size, () => share);
  });

/** How many values each window averages, places row-major. */
function countsOf(
  { kernel, strides, dilations, before, after }: Window,
  size: readonly number[],
  places: readonly number[],
  padding: boolean,
): Float32Array {
  const along = places.map((count, i) =>
    Array.from(
      { length: count },
      (_, place) =>
        Array.from({ length: kernel[i] }, (_, tap) =>
          place * strides[i] + tap * dilations[i] - before[i]).filter((at) =>
            padding ? at < size[i] + after[i] : at >= 0 && at < size[i]
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
