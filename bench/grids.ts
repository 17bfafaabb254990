/**
 * Other grids, weights only: ternary beside 2 bits, piecewise beside uniform, and the cuts of one
 * nested file beside models that were rounded for one width, and beside the high bits of an
 * ordinary 8-bit model.
 *
 * @module
 */

import { rmSync } from "node:fs";
import { cut, Cutter } from "../src/emit/narrow.ts";
import type { Evaluation } from "../src/evaluate/metrics.ts";
import { raiseOpset } from "../src/graph/raise_opset.ts";
import { copyModel, type Model } from "../src/onnx/model.ts";
import { readModel, writeModel } from "../src/onnx/file.ts";
import { makePlan } from "../src/plan/plan.ts";
import {
  type BenchOptions,
  evaluateFile,
  FIGURES,
  figures,
  markdown,
  quantizeAndEvaluate,
  type Section,
  type Subject,
  subjects,
} from "./run.ts";

const WIDTHS = [8, 6, 4, 3];

/** The section. */
export async function grids(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const note = (subject: Subject, bits: string, grid: string, result: Evaluation) => {
    rows.push([subject.name, bits, grid, ...figures(result)]);
    console.error(rows.at(-1)!.join("  "));
  };
  const some = { ...options, models: options.models ?? ["resnet20", "mobilenetv2"] };
  for (const subject of subjects(some)) {
    const run = async (bits: string, grid: string, flags: string[], onFile?: OnFile) => {
      const all = ["--activation-bits", "none", ...flags];
      const { evaluation } = await quantizeAndEvaluate(subject, all, options, onFile);
      note(subject, bits, grid, evaluation);
    };
    const evaluate = async (bits: number, grid: string, model: Model, path: string) => {
      const file = `${path}.cut.onnx`;
      try {
        writeModel(model, file);
        note(subject, `${bits}`, grid, await evaluateFile(subject, file, options));
      } finally {
        rmSync(file, { force: true });
      }
    };
    for (const bits of WIDTHS.slice(1)) await run(`${bits}`, "uniform", ["--bits", `${bits}`]);
    await run("8", "uniform", ["--bits", "8"], async (path) => {
      for (const bits of WIDTHS.slice(1)) {
        await evaluate(bits, "high bits of uniform 8", highBits(subject, path, bits), path);
      }
    });
    await run("8", "nested", ["--nested", WIDTHS.join()], async (path) => {
      for (const bits of WIDTHS.slice(1)) {
        await evaluate(bits, "nested, cut", cut(readModel(path), bits), path);
      }
    });
    for (const bits of ["4", "3"]) {
      await run(bits, "piecewise", ["--bits", bits, "--grid", "piecewise"]);
      const tensor = ["--bits", bits, "--granularity", "tensor"];
      await run(bits, "uniform, scale per tensor", tensor);
      await run(bits, "piecewise, scale per tensor", [...tensor, "--grid", "piecewise"]);
    }
    await run("2", "uniform", ["--bits", "2"]);
    await run("1.6", "ternary", ["--bits", "ternary"]);
  }
  rows.sort(([a, bits], [b, other]) => order(a) - order(b) || Number(other) - Number(bits));
  return {
    title: "Ternary, piecewise and nested grids, weights only",
    body: markdown(["model", "bits", "grid", ...FIGURES], rows),
  };
}

type OnFile = (path: string) => Promise<void>;

function order(name: string): number {
  return subjects({ samples: 0, backend: "" }).findIndex((subject) => subject.name === name);
}

/** The model in `path`, of 8 bits, with all but its edges cut to `bits` as they are. */
function highBits({ model }: Subject, path: string, bits: number): Model {
  const made = copyModel(readModel(path));
  raiseOpset(made, 21);
  const { layers } = makePlan(readModel(model), { bits, activationBits: "none" });
  const cutter = new Cutter(made, "qdq");
  for (const { target, note } of layers) {
    if (note === undefined) cutter.cutWeight(target.weight, 8, bits);
  }
  return cutter.finish();
}
