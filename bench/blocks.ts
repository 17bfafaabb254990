/**
 * What learning blocks brings, and what it costs.
 *
 * @module
 */

import {
  type BenchOptions,
  FIGURES,
  figures,
  markdown,
  type Outcome,
  quantizeAndEvaluate,
  type Section,
  subjects,
} from "./run.ts";

/** Widths of weights and activations. */
const RESNET_WIDTHS = [["3", "none"], ["2", "none"], ["4", "4"], ["2", "4"]];
const BUDGET_WIDTHS = [["4", "8"], ["3", "8"], ["2", "8"], ["4", "4"]];

const called = (bits: string, activations: string) =>
  `W${bits}${activations === "none" ? "" : `A${activations}`}`;

/** Steps that most blocks took, and the median of what is left of their errors. */
function learned({ report }: Outcome): string[] {
  const tried = report.blocks.flatMap(({ error }) => error ? [error.after / error.before] : []);
  if (tried.length === 0) return ["–", "–"];
  const steps = report.blocks.map((block) => block.steps).sort((a, b) => a - b);
  const left = tried.sort((a, b) => a - b)[tried.length >> 1];
  return [`${steps[steps.length >> 1]}`, left.toFixed(3)];
}

/** ResNet20: layer by layer, and with its blocks learned. */
export async function blocks(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects({ ...options, models: ["resnet20"] })) {
    for (const [bits, activations] of RESNET_WIDTHS) {
      const widths = ["--bits", bits, "--activation-bits", activations];
      for (const more of [[], ["--blocks", "--steps", "500"]]) {
        const outcome = await quantizeAndEvaluate(subject, [...widths, ...more], options);
        rows.push([
          called(bits, activations),
          more.length > 0 ? "blocks" : "layers",
          ...figures(outcome.evaluation),
          ...learned(outcome),
          outcome.seconds.toFixed(0),
        ]);
        console.error(rows.at(-1)!.join("  "));
      }
    }
  }
  const head = ["widths", "learned", ...FIGURES, "steps", "block error left", "seconds"];
  return { title: "Blocks of ResNet20", body: markdown(head, rows) };
}

/** Other models under time budgets, beside rounding to nearest and rounding layer by layer. */
export async function budgets(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const ways: readonly (readonly string[])[] = [
    ["--rounding", "nearest"],
    [],
    ...(options.budgets ?? ["2m", "5m", "10m"]).map((budget) => ["--time-budget", budget]),
  ];
  for (const subject of subjects(options).filter(({ name }) => name !== "resnet20")) {
    for (const [bits, activations] of BUDGET_WIDTHS) {
      if (options.widths && !options.widths.includes(called(bits, activations))) continue;
      const widths = ["--bits", bits, "--activation-bits", activations];
      for (const more of ways) {
        const outcome = await quantizeAndEvaluate(subject, [...widths, ...more], options);
        rows.push([
          subject.name,
          called(bits, activations),
          more.join(" ") || "layer by layer",
          ...figures(outcome.evaluation),
          ...learned(outcome),
          outcome.seconds.toFixed(0),
        ]);
        console.error(rows.at(-1)!.join("  "));
      }
    }
  }
  const head = ["model", "widths", "way", ...FIGURES, "steps", "block error left", "seconds"];
  return { title: "Accuracy against time", body: markdown(head, rows) };
}
