/**
 * Gradient rounding once more, in plain TypeScript; see kernel.ts.
 *
 * @module
 */

import { scalesPerRow } from "../../src/kernel/arguments.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { erf, level, loss, normal, type Plain, streamKey } from "./kernel.ts";

/** A run of gradient rounding on one row. */
interface Row {
  /** Levels, maybe not whole, for the variables `x`. */
  readonly forward: (x: Float64Array) => Float64Array;
  /** The derivative by each variable, where `slope` is that by its level. */
  readonly backward: (x: Float64Array, slope: Float64Array, step: number) => Float64Array;
}

/** Steps of Attention Round's layer form, from the first on. */
export function attentionLoop(args: Plain<Kernel["attentionLoop"]>): void {
  const { tau, lo, span, steps, d } = args;
  forRows(args, (row, ratio) => {
    const key = streamKey(args.seed, args.stream + row);
    const x = Float64Array.from({ length: d }, (_, j) => tau * normal(key, 0, j));
    const forward: Row["forward"] = (x) =>
      x.map((value, j) => level(ratio[j] + value, lo[row], lo[row] + span));
    const backward: Row["backward"] = (x, slope) =>
      x.map((value, j) =>
        slope[j] * (0.5 + Math.sign(slope[j]) * erf(value / Math.SQRT2 / tau) / 2)
      );
    descend(args, row, x, steps, { forward, backward }, forward);
  });
}

/** Steps of AdaRound, all of them. */
export function adaroundLoop(args: Plain<Kernel["adaroundLoop"]>): void {
  const { lo, span, totalSteps, regularisation } = args;
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const rectified = (x: number) => Math.max(0, Math.min(1, 1.2 * sigmoid(x) - 0.1));
  const warm = Math.floor(totalSteps / 5);
  forRows(args, (row, ratio) => {
    const x = ratio.map((t) => {
      const p = Math.min(0.999, Math.max(0.001, (t - Math.floor(t) + 0.1) / 1.2));
      return Math.log(p / (1 - p));
    });
    const clip = (value: number) => Math.max(lo[row], Math.min(lo[row] + span, value));
    const forward: Row["forward"] = (x) =>
      x.map((v, j) => clip(Math.floor(ratio[j]) + rectified(v)));
    const hard: Row["forward"] = (x) =>
      x.map((v, j) => clip(Math.floor(ratio[j]) + (rectified(v) >= 0.5 ? 1 : 0)));
    const backward: Row["backward"] = (x, slope, step) => {
      const beta = 11 + 9 * Math.cos(Math.PI * (step - warm) / Math.max(1, totalSteps - warm));
      return x.map((v, j) => {
        const h = rectified(v), off = 2 * h - 1;
        if (h <= 0 || h >= 1) return 0;
        const pull = 2 * beta * Math.abs(off) ** (beta - 1) * Math.sign(off);
        const outer = slope[j] - (step < warm ? 0 : regularisation * pull);
        return outer * 1.2 * sigmoid(v) * (1 - sigmoid(v));
      });
    };
    descend(args, row, x, totalSteps, { forward, backward }, undefined);
    keepBetter(args, row, hard(x));
  });
}

type Args = Plain<Kernel["attentionLoop"]> | Plain<Kernel["adaroundLoop"]>;

/** Calls `work` for each row, with its weights in steps of the grid. */
function forRows(args: Args, work: (row: number, ratio: Float64Array) => void): void {
  const { target, groups, rows, d } = args;
  for (let row = 0; row < groups * rows; row++) {
    work(row, Float64Array.from({ length: d }, (_, j) => target[row * d + j] / step(args, row, j)));
  }
}

function step({ scale, d, groupSize }: Args, row: number, j: number): number {
  return scale[row * scalesPerRow(d, groupSize) + Math.floor(j / groupSize)];
}

/** Adam on the variables `x` of a row; levels that `keep` gives are compared with the best. */
function descend(
  args: Args,
  row: number,
  x: Float64Array,
  steps: number,
  { forward, backward }: Row,
  keep: Row["forward"] | undefined,
): void {
  const { target, rows, d, learningRate } = args;
  const gram = args.h.subarray(Math.floor(row / rows) * d * d);
  let trace = 0;
  for (let j = 0; j < d; j++) trace += gram[j * d + j];
  const m = new Float64Array(d), v = new Float64Array(d);
  for (let t = 0; t < steps; t++) {
    if (keep) keepBetter(args, row, keep(x));
    const error = forward(x).map((q, j) => step(args, row, j) * q - target[row * d + j]);
    const slope = error.map((_, j) => {
      const sum = error.reduce((sum, e, i) => sum + e * gram[i * d + j], 0);
      return trace > 0 ? sum * d / trace / step(args, row, j) : 0;
    });
    const gradient = backward(x, slope, t);
    for (let j = 0; j < d; j++) {
      m[j] = 0.9 * m[j] + 0.1 * gradient[j];
      v[j] = 0.999 * v[j] + 0.001 * gradient[j] ** 2;
      const size = Math.sqrt(v[j] / (1 - 0.999 ** (t + 1))) + 1e-12;
      x[j] -= learningRate * m[j] / (1 - 0.9 ** (t + 1)) / size;
    }
  }
}

/** Takes over `levels` for a row if their loss is below the best so far. */
function keepBetter(args: Args, row: number, levels: Float64Array): void {
  const { target, scale, h, rows, d, groupSize } = args, perRow = scalesPerRow(d, groupSize);
  const one = {
    ...args,
    q: Float32Array.from(levels),
    target: target.subarray(row * d, (row + 1) * d),
    scale: scale.subarray(row * perRow, (row + 1) * perRow),
    h: h.subarray(Math.floor(row / rows) * d * d),
    rows: 1,
    groups: 1,
    loss: new Float32Array(1),
  };
  loss(one);
  if (!(one.loss[0] < args.loss[row])) return;
  args.loss[row] = one.loss[0];
  args.q.set(one.q, row * d);
}
