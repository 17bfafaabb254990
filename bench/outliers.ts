/**
 * Whether it pays to keep a few weights exact beside the levels: how much of a layer's loss that
 * takes away, against what the same bytes would take if they were spent on width (a factor of 4 per
 * bit).
 *
 * @module
 */

import { startPool } from "../src/workers/start.ts";
import type { Problem } from "../src/round/problem.ts";
import { problemsOf } from "./layers.ts";
import { type BenchOptions, markdown, type Section, subjects } from "./run.ts";

/** Shares of a layer's weights that are kept exact. */
const SHARES = [0.001, 0.005, 0.02];
/** Bits of an exact weight: its place, and its value. */
const BITS = 48;

/** The loss that is left, as geometric means over layers, and in how many layers it pays. */
export async function outliers(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    using pool = await startPool({ backend: options.backend as "web" | "node" });
    const problems = await problemsOf(subject, pool, options.samples);
    for (const bits of [4, 3]) {
      const left = await pool.run(problems.map((make) => async (client) => {
        const problem = make(bits, { kind: "attention", candidates: 4 });
        const loss = async (each: Problem) => (await client.call("solve", [each])).error.final;
        const all = await loss(problem);
        const ratios: number[] = [];
        for (const share of SHARES) {
          ratios.push(all > 0 ? await loss(withoutLargest(problem, share)) / all : 1);
        }
        return ratios;
      }));
      const cells = SHARES.map((share, s) => {
        const mean = Math.exp(left.reduce((sum, own) => sum + Math.log(own[s]), 0) / left.length);
        const pays = left.filter((own) => own[s] < byWidth(share)).length;
        return `${mean.toFixed(3)}, ${pays} of ${left.length}`;
      });
      rows.push([subject.name, `${bits}`, ...cells]);
      console.error(rows.at(-1)!.join("  "));
    }
  }
  const head = SHARES.map((share) =>
    `${100 * share} % exact (width: ${byWidth(share).toFixed(3)})`
  );
  return {
    title: "Outliers",
    body:
      "Loss left when the largest weights are kept exact at 48 bits each, what the same bytes " +
      "would leave if spent on width, and the layers in which it pays:\n\n" +
      markdown(["model", "bits", ...head], rows),
  };
}

/** The loss that is left where the bytes of `share` exact weights are spent on width. */
function byWidth(share: number): number {
  return 4 ** (-BITS * share);
}

/** `problem` without the weights that weigh most: what is left to the levels. */
function withoutLargest(problem: Problem, share: number): Problem {
  const { weight, gram, depth, rows } = problem;
  const size = weight.map((w, i) => {
    const group = Math.floor(i / depth / rows), j = i % depth;
    return Math.abs(w) * Math.sqrt(gram[(group * depth + j) * depth + j]);
  });
  const order = Array.from(size.keys()).sort((a, b) => size[b] - size[a]);
  const rest = weight.slice();
  for (const i of order.slice(0, Math.round(share * weight.length))) rest[i] = 0;
  return { ...problem, weight: rest };
}
