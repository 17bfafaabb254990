/**
 * Windows that slide over an image: what convolutions and pooling share.
 *
 * @module
 */

import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import type { Shape, Tape } from "../tape.ts";
import { spreadOut } from "./shape.ts";

/** How windows slide, per spatial axis. */
export interface Window {
  /** Taps of a window. */
  readonly kernel: Shape;
  /** Steps between windows. */
  readonly strides: Shape;
  /** Distance between taps. */
  readonly dilations: Shape;
  /** What is padded before the first value. */
  readonly before: Shape;
  /** What the windows reach beyond the last value; negative where they leave values out. */
  readonly after: Shape;
}

/** The windows of `node` with `kernel` taps, from an image of `input` to one of `output` places. */
export function windowOf(node: NodeProto, kernel: Shape, input: Shape, output: Shape): Window {
  const ones = kernel.map(() => 1);
  const strides = intsAttribute(node, "strides") ?? ones;
  const dilations = intsAttribute(node, "dilations") ?? ones;
  const reach = kernel.map((size, i) =>
    strides[i] * (output[i] - 1) + dilations[i] * (size - 1) + 1
  );
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  const pads = intsAttribute(node, "pads") ?? kernel.flatMap(() => [0, 0]);
  const before = kernel.map((_, i) => {
    const total = Math.max(0, reach[i] - input[i]);
    if (auto === "SAME_UPPER") return Math.floor(total / 2);
    if (auto === "SAME_LOWER") return Math.ceil(total / 2);
    return auto === "VALID" ? 0 : pads[i];
  });
  const after = reach.map((size, i) => size - input[i] - before[i]);
  return { kernel, strides, dilations, before, after };
}

/** The number of groups of a convolution. */
export function groupsOf(node: NodeProto): number {
  return intAttribute(node, "group", 1);
}

/** Every tap of a window, the last axis fastest. */
export function tapsOf({ kernel }: Window): number[][] {
  return kernel.reduce<number[][]>(
    (taps, size) => taps.flatMap((tap) => Array.from({ length: size }, (_, i) => [...tap, i])),
    [[]],
  );
}

/** `x` (two axes, then the image) such that all windows lie inside: padded, or cut at the end. */
export function framed(tape: Tape, x: string, { before, after }: Window, value = 0): string {
  const rest = after.map((size) => Math.max(0, size));
  const padded = tape.pad(x, [0, 0, ...before], [0, 0, ...rest], value);
  const counts = tape.shape(padded).map((size, axis) =>
    axis < 2 ? size : size + Math.min(0, after[axis - 2])
  );
  return tape.slice(padded, counts.map(() => 0), counts);
}

/** What the tap `tap` of every window sees of a framed image; `places` windows per axis. */
export function seen(tape: Tape, x: string, window: Window, tap: Shape, places: Shape): string {
  const [n, c] = tape.shape(x);
  const starts = tap.map((at, i) => at * window.dilations[i]);
  return tape.slice(x, [0, 0, ...starts], [n, c, ...places], [1, 1, ...window.strides]);
}

/** The adjoint of {@linkcode framed} and {@linkcode seen}: adds up what each tap's windows give back. */
export function scattered(
  tape: Tape,
  window: Window,
  size: Shape,
  give: (tap: readonly number[], index: number) => string,
): string {
  const frame = size.map((length, i) => length + window.before[i] + window.after[i]);
  const terms = tapsOf(window).map((tap, index) => {
    const spread = window.strides.reduce(
      (x, stride, i) => spreadOut(tape, x, i + 2, stride),
      give(tap, index),
    );
    const own = tape.shape(spread).slice(2);
    const start = tap.map((at, i) => at * window.dilations[i]);
    const rest = frame.map((length, i) => length - own[i] - start[i]);
    return tape.pad(spread, [0, 0, ...start], [0, 0, ...rest]);
  });
  const sum = tape.total(terms), [n, c] = tape.shape(sum);
  // What was cut off at the end had no part in the output.
  const cut = window.after.map((length) => Math.max(0, -length));
  const whole = tape.pad(sum, [0, 0, ...cut.map(() => 0)], [0, 0, ...cut]);
  return tape.slice(whole, [0, 0, ...window.before], [n, c, ...size]);
}
