/**
 * How bits are spread over layers: every strategy at the same average, and one width for all.
 *
 * Of a model everything but the choice is done once: statistics, rounding of each layer to each
 * width (a sweep). Then jobs of their own, where each layer repairs the errors of those before it,
 * for the strategies that matter most.
 *
 * @module
 */

import { AttuneError } from "../src/errors.ts";
import { readModel } from "../src/onnx/file.ts";
import { STRATEGIES, type Strategy, strategyNames } from "../src/strategies/strategies.ts";
import { makePlan } from "../src/plan/plan.ts";
import type { Backend } from "../src/runtime/backends.ts";
import { startPool } from "../src/workers/start.ts";
import { openSamples } from "../src/samples/open.ts";
import { sweep } from "../src/quantize/sweep.ts";
import {
  type BenchOptions,
  FIGURES,
  figures,
  markdown,
  quantizeAndEvaluate,
  type Section,
  type Subject,
  subjects,
} from "./run.ts";

/** Bits on average. */
const AVERAGES = [3, 4];
/** Flags of the jobs of their own, by what decides. */
const JOBS: readonly (readonly [name: string, flags: (bits: number) => string[]])[] = [
  ["uniform", (bits) => ["--bits", `${bits}`]],
  ["coding-length", (bits) => ["--average-bits", `${bits}`]],
  ["measured", (bits) => ["--average-bits", `${bits}`, "--allocate", "measured"]],
];

/** All strategies at 3 and 4 bits on average, weights only, first and last layer 8 bits. */
export async function allocators(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [], jobs: string[][] = [];
  for (const subject of subjects(options)) {
    rows.push(...await sweepOf(subject, options));
    console.error(rows.map((row) => row.join("  ")).join("\n"));
    for (const bits of AVERAGES) {
      for (const [name, flags] of JOBS) {
        const all = [...flags(bits), "--activation-bits", "none", "--format", "float"];
        const { evaluation } = await quantizeAndEvaluate(subject, all, options);
        jobs.push([subject.name, `${bits}`, name, ...figures(evaluation)]);
        console.error(jobs.at(-1)!.join("  "));
      }
    }
  }
  const head = ["model", "average bits", "bits by", ...FIGURES];
  return {
    title: "Spreading bits over layers",
    body: [
      "All strategies from one calibration, layers rounded as if those before them were exact:",
      "",
      markdown(head, rows),
      "",
      "As jobs of their own, where each layer repairs the errors of those before it:",
      "",
      markdown(head, jobs),
    ].join("\n"),
  };
}

/** Every strategy at every average, from one calibration. */
async function sweepOf(subject: Subject, options: BenchOptions): Promise<string[][]> {
  const made = makePlan(readModel(subject.model), { activationBits: "none", format: "float" });
  const { inputs } = made.graph;
  const preset = subject.flags[subject.flags.indexOf("--preprocess") + 1] as "imagenet" | "signed";
  const open = (path: string, limit?: number) =>
    openSamples(path, { inputs, preprocess: { preset, resize: "none" }, limit });
  const calib = await open(subject.calib, options.samples), val = await open(subject.val);
  using pool = await startPool({ backend: options.backend as Backend });
  const compared = (strategies: readonly Strategy[]) =>
    sweep(made, calib.samples(), pool, {
      averages: AVERAGES,
      strategies,
      validation: val.samples(),
      rounding: { kind: "attention", candidates: 4 },
    });
  const { points } = await compared(strategyNames()).catch((error) => {
    // Not every operator has a gradient; known before any work is done.
    if (!(error instanceof AttuneError) || error.code !== "bad-option") throw error;
    console.error(error.message);
    return compared(strategyNames().filter((name) => STRATEGIES[name].needs !== "gradients"));
  });
  return points.toSorted((a, b) => a.asked - b.asked).map(({ strategy, asked, evaluation }) => [
    subject.name,
    `${asked}`,
    strategy,
    ...figures(evaluation),
  ]);
}
