/**
 * Windows that slide over an image: what convolutions and pooling share.
 *
 * @module
 */

import { intAttribute, intsAttribute, stringAttribute } from "../../onnx/model.ts";
import type { NodeProto } from "../../onnx/gen/onnx_pb.ts";
import type { Shape, Tape } from "../tape.ts";

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

/** Tensors of one shape, whose elements take turns along `axis`. */
function interleaved(tape: Tape, parts: readonly string[], axis: number): string {
  const shape = tape.shape(parts[0]);
  const apart = parts.map((part) => tape.reshape(part, shape.toSpliced(axis + 1, 0, 1)));
  const length = shape[axis] * parts.length;
  return tape.reshape(tape.concat(apart, axis + 1), shape.with(axis, length));
}

/**
 * The adjoint of {@linkcode framed} and {@linkcode seen}: adds up what each tap's windows give
 * back. With a stride s, taps whose offsets differ by multiples of s meet the same pixels, every
 * s-th: they are added up before the s phases are put together.
 */
export function scattered(
  tape: Tape,
  window: Window,
  size: Shape,
  give: (tap: readonly number[], index: number) => string,
): string {
  const { strides, dilations, before, after } = window;
  const given = tapsOf(window).map((tap, index) => {
    const offset = tap.map((at, i) => at * dilations[i]);
    return {
      gradient: give(tap, index),
      phase: offset.map((at, i) => at % strides[i]).join(),
      start: offset.map((at, i) => Math.floor(at / strides[i])),
    };
  });
  const [n, c, ...places] = tape.shape(given[0].gradient);
  const frame = size.map((length, i) => length + before[i] + after[i]);
  const every = frame.map((length, i) => Math.ceil(length / strides[i]));
  const merged = (phase: readonly number[]): string => {
    const axis = phase.length;
    if (axis < strides.length) {
      const parts = Array.from({ length: strides[axis] }, (_, i) => merged([...phase, i]));
      return interleaved(tape, parts, axis + 2);
    }
    const terms = given.filter((term) => term.phase === phase.join()).map(({ gradient, start }) => {
      const rest = every.map((length, i) => length - places[i] - start[i]);
      return tape.pad(gradient, [0, 0, ...start], [0, 0, ...rest]);
    });
    return terms.length > 0 ? tape.total(terms) : tape.expand(tape.scalar(0), [n, c, ...every]);
  };
  const whole = tape.slice(merged([]), [0, 0, ...frame.map(() => 0)], [n, c, ...frame]);
  // What was cut off at the end had no part in the output.
  const cut = after.map((length) => Math.max(0, -length));
  const padded = tape.pad(whole, [0, 0, ...cut.map(() => 0)], [0, 0, ...cut]);
  return tape.slice(padded, [0, 0, ...before], [n, c, ...size]);
}
