/**
 * Ways to compute the gradient of a convolution's weight: products of what the taps saw and the
 * gradient of the output, summed over samples and places. Which is fastest depends on the shape;
 * see `conv_choice.ts`.
 *
 * @module
 */

import { sizeOf } from "../../onnx/tensor.ts";
import type { Shape, Tape } from "../tape.ts";
import { framed, seen, tapsOf, type Window } from "./window.ts";

/** A convolution y = x ∗ w whose gradients are wanted. */
export interface Convolution {
  /** Where nodes are put. */
  readonly tape: Tape;
  /** Its input, N × C × size. */
  readonly x: string;
  /** Its weight, O × C/groups × kernel. */
  readonly w: string;
  /** The gradient of its output, N × O × places. */
  readonly g: string;
  /** How its windows slide. */
  readonly window: Window;
  /** Groups that the channels are split into. */
  readonly groups: number;
}

/** Puts the nodes of a gradient on the convolution's tape; returns the gradient's name. */
export type Formulation = (convolution: Convolution) => string;

/** `x` (N × C × image) with channels first, so that all samples are one dimension of a product. */
function channelsFirst(tape: Tape, x: string): string {
  return tape.transpose(x, [1, 0, ...tape.shape(x).slice(2).map((_, i) => i + 2)]);
}

/** g, groups × O/groups × (N·places), and what each tap saw, groups × C/groups × (N·places). */
function columns({ tape, x, g, window, groups }: Convolution): { right: string; taps: string[] } {
  const [n, outputs, ...places] = tape.shape(g), inputs = tape.shape(x)[1];
  const count = n * sizeOf(places), image = framed(tape, channelsFirst(tape, x), window);
  return {
    right: tape.reshape(channelsFirst(tape, g), [groups, outputs / groups, count]),
    taps: tapsOf(window).map((tap) =>
      tape.reshape(seen(tape, image, window, tap, places), [groups, inputs / groups, count])
    ),
  };
}

/** One product per tap: (O × N·places) · (N·places × C), per group. */
export const byTap: Formulation = (convolution) => {
  const { tape, w } = convolution, { right, taps } = columns(convolution);
  const [outputs, inputs] = tape.shape(w);
  // onnxruntime takes the transpose into the product.
  const products = taps.map((tap) => tape.matmul(right, tape.transpose(tap, [0, 2, 1])));
  const last = products.map((product) => tape.reshape(product, [outputs, inputs, 1]));
  return tape.reshape(tape.concat(last, 2), tape.shape(w));
};

/** One product for all taps: (O × N·places) · (N·places × taps·C), per group. */
export const allTaps: Formulation = (convolution) => {
  const { tape, w } = convolution, { right, taps } = columns(convolution);
  const [outputs, inputs] = tape.shape(w);
  const product = tape.matmul(right, tape.transpose(tape.concat(taps, 1), [0, 2, 1]));
  const apart = tape.reshape(product, [outputs, taps.length, inputs]);
  return tape.reshape(tape.transpose(apart, [0, 2, 1]), tape.shape(w));
};

/** One product per sample, for kernels of one tap: (O × places) · (places × C), then their sum. */
export const bySample: Formulation = ({ tape, x, w, g, window, groups }) => {
  const [n, outputs, ...places] = tape.shape(g), inputs = tape.shape(x)[1], area = sizeOf(places);
  const image = framed(tape, x, window);
  const tap = seen(tape, image, window, window.kernel.map(() => 0), places);
  const left = tape.reshape(g, [n, groups, outputs / groups, area]);
  const right = tape.reshape(tap, [n, groups, inputs / groups, area]);
  const products = tape.matmul(left, tape.transpose(right, [0, 1, 3, 2]));
  return tape.reshape(tape.sum(products, [0]), tape.shape(w));
};

/** Columns of the output that one product of {@linkcode byRows} covers. */
const BLOCK = 14;

/**
 * For depthwise kernels of two axes, per channel: the product of g's rows, (columns × N·rows), and
 * the image's rows below one row of taps, (N·rows × width), holds the sums for each pair of
 * columns. Those whose distance is that of a tap are added up, by a product with a constant of
 * zeros and ones. Most pairs are of no use, and still a product is faster than element-wise
 * operators; blocks of columns keep the waste small.
 */
export const byRows: Formulation = ({ tape, x, w, g, window }) => {
  const { kernel: [kernelRows, kernelColumns], strides: [down, right], dilations } = window;
  const [n, channels, rows, width] = tape.shape(g);
  const image = framed(tape, channelsFirst(tape, x), window);
  const output = channelsFirst(tape, g);
  const blocks = Math.ceil(width / BLOCK), most = Math.ceil(width / blocks);
  const sums: string[] = [];
  for (let first = 0; first < width; first += most) {
    const blockWidth = Math.min(most, width - first);
    const reach = (blockWidth - 1) * right + (kernelColumns - 1) * dilations[1] + 1;
    const gradients = tape.transpose(
      tape.reshape(
        tape.slice(output, [0, 0, 0, first], [channels, n, rows, blockWidth]),
        [channels, n * rows, blockWidth],
      ),
      [0, 2, 1],
    );
    const pairs = tape.floats(
      tapPairs(blockWidth, reach, kernelColumns, right, dilations[1]),
      [blockWidth * reach, kernelColumns],
    );
    const taps = Array.from({ length: kernelRows }, (_, tap) => {
      const below = tape.slice(
        image,
        [0, 0, tap * dilations[0], first * right],
        [channels, n, rows, reach],
        [1, 1, down, 1],
      );
      const product = tape.matmul(gradients, tape.reshape(below, [channels, n * rows, reach]));
      const added = tape.matmul(tape.reshape(product, [channels, blockWidth * reach]), pairs);
      return tape.reshape(added, [channels, 1, kernelColumns]);
    });
    sums.push(tape.concat(taps, 1));
  }
  return tape.reshape(tape.total(sums), tape.shape(w));
};

/** (columns·reach) × taps: 1 where a tap of the output's column lies on the image's column. */
function tapPairs(
  columns: number,
  reach: number,
  taps: number,
  stride: number,
  dilation: number,
): Float32Array {
  const ones = new Float32Array(columns * reach * taps);
  for (let column = 0; column < columns; column++) {
    for (let tap = 0; tap < taps; tap++) {
      ones[(column * reach + column * stride + tap * dilation) * taps + tap] = 1;
    }
  }
  return ones;
}

/** For depthwise kernels: a convolution of each channel of each sample, with g as its kernel. */
export const byChannel: Formulation = ({ tape, x, w, g, window }) => {
  const [n, channels, ...size] = tape.shape(x), places = tape.shape(g).slice(2);
  const image = tape.reshape(x, [1, n * channels, ...size]);
  const kernel = tape.reshape(g, [n * channels, 1, ...places]);
  // Places that the windows have left out at the end are seen by taps that there are not.
  const reach = window.kernel.map((taps, i) =>
    taps + Math.floor(Math.max(0, -window.after[i]) / window.dilations[i])
  );
  const sums = tape.node("Conv", [image, kernel], [1, n * channels, ...reach], {
    group: BigInt(n * channels),
    kernel_shape: places.map(BigInt),
    strides: window.dilations.map(BigInt),
    dilations: window.strides.map(BigInt),
    pads: [...window.before, ...window.after].map((length) => BigInt(Math.max(0, length))),
  });
  const taps = tape.slice(sums, [0, 0, ...reach.map(() => 0)], [1, n * channels, ...window.kernel]);
  const apart = tape.reshape(taps, [n, channels, sizeOf(window.kernel)]);
  return tape.reshape(tape.sum(apart, [0]), tape.shape(w));
};

/** Whether each group has one input and one output channel. */
export function isDepthwise(shape: Shape, groups: number): boolean {
  return groups > 1 && shape[0] === groups && shape[1] === 1;
}
