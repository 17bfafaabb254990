/** Pools over their windows. */

import { makeNode } from "../../../src/onnx/model.ts";
import type { KernelCase } from "../kernels.ts";
import { type Attributes, ints, one } from "./node.ts";

/** The shape that most pools read. */
const IMAGE = [2, 4, 7, 6];

/** Average pools of every kind of window, which may reach beyond the input. */
export function* averagePools(): Generator<[string, KernelCase]> {
  const kernel = { kernel_shape: ints(3, 3) };
  for (const ceil_mode of [0n, 1n]) {
    const windows: [string, number[], Attributes, Partial<KernelCase>?][] = [
      ["", IMAGE, kernel],
      [", strides", IMAGE, { ...kernel, strides: ints(2, 2) }],
      [", pads", IMAGE, { ...kernel, strides: ints(2, 2), pads: ints(1, 1, 1, 1) }],
      [", uneven pads", IMAGE, { ...kernel, strides: ints(2, 3), pads: ints(0, 2, 1, 0) }],
      [", 1-D", [2, 4, 8], { kernel_shape: ints(3), strides: ints(2), pads: ints(1, 1) }],
      // onnxruntime infers and computes different shapes where strides and pads both are uneven.
      [", 3-D", [1, 2, 4, 5, 6], {
        kernel_shape: ints(2, 3, 2),
        strides: ceil_mode ? ints(1, 1, 1) : ints(2, 2, 2),
        pads: ints(1, 1, 0, 0, 1, 1),
      }],
      ...["SAME_UPPER", "SAME_LOWER", "VALID"].map((auto_pad): [string, number[], Attributes] => [
        `, ${auto_pad}`,
        IMAGE,
        { ...kernel, auto_pad, strides: ints(2, 2) },
      ]),
      [", dilations", IMAGE, { ...kernel, dilations: ints(2, 2), pads: ints(1, 1, 1, 1) }, {
        opset: 19,
      }],
    ];
    for (const count_include_pad of [0n, 1n]) {
      const name = `AveragePool ceil ${ceil_mode} include ${count_include_pad}`;
      for (const [what, x, window, more] of windows) {
        const attributes = { ...window, ceil_mode, count_include_pad };
        yield [`${name}${what}`, one("AveragePool", { x }, attributes, [], more)];
      }
    }
  }
  yield ["AveragePool and Relu", {
    nodes: [
      makeNode("AveragePool", "pool", ["x"], ["a"], { kernel_shape: ints(2, 2) }),
      makeNode("Relu", "relu", ["a"], ["y"]),
    ],
    inputs: { x: IMAGE },
  }];
}

/** Max pools of every kind of window. */
export function* maxPools(): Generator<[string, KernelCase]> {
  const kernel = { kernel_shape: ints(3, 3) };
  const windows: [string, number[], Attributes][] = [
    ["plain", IMAGE, kernel],
    ["strides", IMAGE, { ...kernel, strides: ints(2, 2) }],
    ["pads", IMAGE, { ...kernel, strides: ints(2, 2), pads: ints(1, 1, 1, 1) }],
    ["dilations", IMAGE, {
      ...kernel,
      dilations: ints(2, 2),
      pads: ints(1, 1, 1, 1),
      strides: ints(2, 2),
    }],
    ["SAME_UPPER", IMAGE, { ...kernel, auto_pad: "SAME_UPPER", strides: ints(2, 2) }],
    ["SAME_LOWER", IMAGE, { ...kernel, auto_pad: "SAME_LOWER", strides: ints(2, 2) }],
    ["column_major", IMAGE, { ...kernel, storage_order: 1n }],
    ["1-D", [2, 4, 8], { kernel_shape: ints(3), strides: ints(2), pads: ints(1, 1) }],
    ["3-D", [1, 2, 4, 5, 6], { kernel_shape: ints(2, 3, 2), strides: ints(2, 2, 2) }],
  ];
  for (const ceil_mode of [0n, 1n]) {
    for (const [what, x, window] of windows) {
      yield [`MaxPool ceil ${ceil_mode} ${what}`, one("MaxPool", { x }, { ...window, ceil_mode })];
    }
  }
  yield ["MaxPool with indices", {
    nodes: [makeNode("MaxPool", "MaxPool", ["x"], ["y", "at"], { kernel_shape: ints(2, 2) })],
    inputs: { x: IMAGE },
  }];
}

/** Pools over whole channels, and one of another norm. */
export function* otherPools(): Generator<[string, KernelCase]> {
  for (const dims of [[2, 4, 9], IMAGE, [1, 2, 4, 5, 6], [1, 3, 40, 40], [2, 40, 1, 1]]) {
    yield [`GlobalAveragePool [${dims}]`, one("GlobalAveragePool", { x: dims })];
  }
  yield ["GlobalMaxPool", one("GlobalMaxPool", { x: IMAGE })];
  yield ["LpPool", one("LpPool", { x: IMAGE }, { kernel_shape: ints(2, 2) })];
}
