/**
 * The figures of the documentation, measured anew: `deno task bench [section…] [--samples N]
 * [--backend web|node] [--models name,…] [--budgets 2m,…] [--widths W4A8,…]`. Each section is
 * printed and put into bench/RESULTS.md.
 *
 * Accuracy is that of the written file, opened again by onnxruntime, on images that calibration
 * never saw. Models and images are those of ../shared; what is absent is left out.
 *
 * @module
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { allocators } from "./allocators.ts";
import { accuracy, coarse, floatAccuracy, headline, resnet } from "./accuracy.ts";
import { determinism, memory, time, workers } from "./cost.ts";
import { ablation, blocks, budgets } from "./blocks.ts";
import { dataFree } from "./data_free.ts";
import { edge } from "./edge.ts";
import { formats } from "./formats.ts";
import { grids } from "./grids.ts";
import { large } from "./large.ts";
import { layers } from "./layers.ts";
import { outliers } from "./outliers.ts";
import { page } from "./page.ts";
import { pareto } from "./pareto.ts";
import { quick } from "./quick.ts";
import type { BenchOptions, Section } from "./run.ts";

const SECTIONS: Record<string, (options: BenchOptions) => Promise<Section>> = {
  float: floatAccuracy,
  resnet,
  headline,
  accuracy,
  coarse,
  time,
  memory,
  workers,
  determinism,
  layers,
  blocks,
  budgets,
  ablation,
  formats,
  grids,
  allocators,
  page,
  pareto,
  outliers,
  quick,
  edge,
  "data-free": dataFree,
  large,
};
const RESULTS = new URL("RESULTS.md", import.meta.url);

/** Puts a section into bench/RESULTS.md, in place of an older one with its title. */
function write({ title, body }: Section, command: string): void {
  const old = existsSync(RESULTS) ? readFileSync(RESULTS, "utf8") : "# Results\n";
  const text = `## ${title}\n\n\`${command}\`\n\n${body}\n`;
  const parts = old.split(/^(?=## )/m).filter((part) => !part.startsWith(`## ${title}\n`));
  writeFileSync(RESULTS, [...parts.map((part) => part.trimEnd() + "\n"), text].join("\n"));
}

const { positionals, values } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    samples: { type: "string", default: "1024" },
    backend: { type: "string", default: "web" },
    models: { type: "string" },
    budgets: { type: "string" },
    widths: { type: "string" },
  },
});
for (const name of positionals.length > 0 ? positionals : Object.keys(SECTIONS)) {
  const section = SECTIONS[name];
  if (section === undefined) throw new Error(`No section ${name}: ${Object.keys(SECTIONS)}`);
  const options = {
    samples: Number(values.samples),
    backend: values.backend,
    models: values.models?.split(","),
    budgets: values.budgets?.split(","),
    widths: values.widths?.split(","),
  };
  const result = await section(options);
  const flags = Object.entries(values).map(([key, value]) => ` --${key} ${value}`).join("");
  write(result, `deno task bench ${name}${flags}`);
  console.log(`## ${result.title}\n\n${result.body}\n`);
}
