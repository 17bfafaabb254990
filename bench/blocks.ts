/**
 * What learning blocks brings, and what it costs.
 *
 * @module
 */

import {
  type Backend,
  type BlockReconstruction,
  evaluate,
  openSamples,
  plan,
  quantize,
  readModel,
  type RoundingMethod,
  startPool,
} from "../mod.ts";
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

/** Iterations that most blocks took, and the median of what is left of their errors. */
function learned({ report }: Outcome): string[] {
  const tried = report.blocks.flatMap(({ error }) => error ? [error.after / error.before] : []);
  if (tried.length === 0) return ["–", "–"];
  const counts = report.blocks.map((block) => block.iterations).sort((a, b) => a - b);
  const left = tried.sort((a, b) => a - b)[tried.length >> 1];
  return [`${counts[counts.length >> 1]}`, left.toFixed(3)];
}

/** ResNet20: layer by layer, and with its blocks learned. */
export async function blocks(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects({ ...options, models: ["resnet20"] })) {
    for (const [bits, activations] of RESNET_WIDTHS) {
      const widths = ["--bits", bits, "--activation-bits", activations];
      for (const more of [[], ["--blocks", "--iterations", "500"]]) {
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
  const head = ["widths", "learned", ...FIGURES, "iterations", "block error left", "seconds"];
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
  const head = ["model", "widths", "way", ...FIGURES, "iterations", "block error left", "seconds"];
  return { title: "Accuracy against time", body: markdown(head, rows) };
}

/** What is varied, one thing at a time, from the defaults. */
const VARIANTS: readonly (readonly [name: string, from: RoundingMethod, BlockOptions])[] = [
  ["defaults", { kind: "attention" }, {}],
  ["from nearest rounding", { kind: "nearest" }, {}],
  ["from one candidate", { kind: "attention", candidates: 1 }, {}],
  ["erf rule, τ 0.5", { kind: "attention" }, { rule: "erf" }],
  ["erf rule, τ 1", { kind: "attention" }, { rule: "erf", tau: 1 }],
  ["AdaRound", { kind: "attention" }, { rule: "adaround" }],
  ["learning rate 0.002", { kind: "attention" }, { learningRate: 0.002 }],
  ["learning rate 0.01", { kind: "attention" }, { learningRate: 0.01 }],
  ["batch 16", { kind: "attention" }, { batch: 16 }],
  ["batch 64", { kind: "attention" }, { batch: 64 }],
  ["50 iterations", { kind: "attention" }, { iterations: 50 }],
];
type BlockOptions = Omit<BlockReconstruction, "kind">;

/** The ablation that sets the defaults of learning: ResNet20, 2 bits, weights only. */
export async function ablation(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const { model, calib, val } of subjects({ ...options, models: ["resnet20"] })) {
    const float = readModel(model), made = plan(float, { bits: 2, activationBits: "none" });
    const { inputs } = made.graph;
    const preprocess = { preset: "imagenet", resize: "none" } as const;
    for (const [name, rounding, more] of VARIANTS) {
      using pool = await startPool({ backend: options.backend as Backend });
      const samples = await openSamples(calib, { inputs, preprocess, limit: options.samples });
      const started = performance.now();
      const { model: small, report } = await quantize(made, samples.samples(), pool, {
        rounding,
        reconstruction: { kind: "blocks", iterations: 200, ...more },
      });
      const seconds = (performance.now() - started) / 1000;
      const images = await openSamples(val, { inputs, preprocess });
      const evaluation = await evaluate(small, float, images.samples(), pool);
      const left = report.blocks.flatMap(({ error }) => error ? [error.after / error.before] : []);
      const mean = Math.exp(left.reduce((sum, it) => sum + Math.log(it), 0) / left.length);
      rows.push([name, ...figures(evaluation), mean.toFixed(3), seconds.toFixed(0)]);
      console.error(rows.at(-1)!.join("  "));
    }
  }
  return {
    title: "Learning blocks: what matters",
    body: "ResNet20, 2 bits, weights only, 200 iterations; all else as by default.\n\n" +
      markdown(["variant", ...FIGURES, "block error left", "seconds"], rows),
  };
}
