/**
 * The twins of the kernel's functions for codes, in plain TypeScript; see {@linkcode
 * CodebookKernel}.
 *
 * @module
 */

import { scalesPerRow } from "../../src/kernel/arguments.ts";
import type { CodebookKernel } from "../../src/kernel/codebooks.ts";
import { normal, type Plain, streamKey } from "./kernel.ts";

/** What one weight's choice depends on, by width: values of codes, the best value, its price. */
interface Choice {
  readonly values: Float32Array;
  readonly codes: number;
  readonly wanted: readonly number[];
  readonly price: readonly number[];
}

/** Σ price · (value − wanted)² of `code`. */
function costOf({ values, codes, wanted, price }: Choice, code: number): number {
  return wanted.reduce((sum, t, b) => sum + price[b] * (values[b * codes + code] - t) ** 2, 0);
}

/** The code of least cost, the lowest of equal ones. */
function choose(choice: Choice): number {
  let best = 0, least = costOf(choice, 0);
  for (let code = 1; code < choice.codes; code++) {
    const cost = costOf(choice, code);
    if (cost < least) [best, least] = [code, cost];
  }
  return best;
}

/** Sequential rounding to codes: one row and one input at a time. */
export function codesSequential(args: Plain<CodebookKernel["codesSequential"]>): void {
  const { groups, rows, d, widths, values, offset, target, scale, groupSize, price, code } = args;
  const { u, spread, tau, candidate, seed, stream } = args;
  const all = groups * rows, perRow = scalesPerRow(d, groupSize), codes = values.length / widths;
  for (let row = 0; row < all; row++) {
    const group = Math.floor(row / rows), key = streamKey(seed, stream + row);
    const errors = Array.from({ length: widths }, () => new Float64Array(d));
    for (let i = d - 1; i >= 0; i--) {
      const z = tau === 0 ? 0 : tau * normal(key, candidate, i);
      const scales = errors.map((_, b) =>
        scale[(b * all + row) * perRow + Math.floor(i / groupSize)]
      );
      const factors = errors.map((_, b) => u.subarray(((b * groups + group) * d + i) * d));
      const chosen = choose({
        values,
        codes,
        wanted: errors.map((error, b) => {
          let c = target[(b * all + row) * d + i];
          for (let j = i + 1; j < d; j++) c -= factors[b][j] / factors[b][i] * error[j];
          return c / scales[b] - offset[row] + z * spread[(b * groups + group) * d + i];
        }),
        price: scales.map((s, b) => price[b * all + row] * (factors[b][i] * s) ** 2),
      });
      code[row * d + i] = chosen;
      errors.forEach((error, b) =>
        error[i] = scales[b] * (values[b * codes + chosen] + offset[row]) -
          target[(b * all + row) * d + i]
      );
    }
  }
}

/** Coordinate descent over codes: each weight in turn to its best code given all others. */
export function codesPolish(args: Plain<CodebookKernel["codesPolish"]>): void {
  const { groups, rows, d, widths, values, offset, target, scale, groupSize, price, code } = args;
  const { h, sweeps } = args;
  const all = groups * rows, perRow = scalesPerRow(d, groupSize), codes = values.length / widths;
  for (let row = 0; row < all; row++) {
    const group = Math.floor(row / rows);
    const each = Array.from({ length: widths }, (_, b) => b);
    const scaleOf = (b: number, i: number) =>
      scale[(b * all + row) * perRow + Math.floor(i / groupSize)];
    for (let sweep = 0, moved = true; sweep < sweeps && moved; sweep++) {
      moved = false;
      for (let i = 0; i < d; i++) {
        const old = code[row * d + i];
        const metrics = each.map((b) => h.subarray(((b * groups + group) * d + i) * d));
        const choice: Choice = {
          values,
          codes,
          wanted: each.map((b) => {
            let slope = 0;
            for (let j = 0; j < d; j++) {
              const value = scaleOf(b, j) * (values[b * codes + code[row * d + j]] + offset[row]);
              slope += metrics[b][j] * (value - target[(b * all + row) * d + j]);
            }
            return values[b * codes + old] - slope / (metrics[b][i] * scaleOf(b, i));
          }),
          price: each.map((b) => price[b * all + row] * metrics[b][i] * scaleOf(b, i) ** 2),
        };
        const next = choose(choice);
        const move = each.reduce(
          (sum, b) =>
            sum + choice.price[b] * (values[b * codes + next] - values[b * codes + old]) ** 2,
          0,
        );
        if (!(costOf(choice, old) - costOf(choice, next) > 1e-6 * move)) continue;
        code[row * d + i] = next;
        moved = true;
      }
    }
  }
}
