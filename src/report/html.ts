/**
 * The report of a run as one page.
 *
 * @module
 */

import { bitsByLayer } from "./allocation.ts";
import { bytes, duration, percent } from "./format.ts";
import {
  accuracyFigure,
  agreementFigure,
  nestedWidths,
  outputs,
  worstSamples,
} from "./held_out.ts";
import { alongNetwork, layerCards, layerTable } from "./layers.ts";
import type { Interval } from "../evaluate/interval.ts";
import { type Markup, markup } from "./markup.ts";
import { embeddings, inFloat, learned, run } from "./others.ts";
import { figure, pageOf } from "./page.ts";
import type { LayerReport, Report } from "./report.ts";
import { plural } from "./words.ts";

/**
 * Writes `report` as a page of HTML.
 *
 * @example
 * ```ts
 * import { renderReport } from "./html.ts";
 *
 * const page = renderReport({
 *   version: "0.1.0",
 *   model: "model.onnx",
 *   method: "attention",
 *   options: { bits: 4 },
 *   seed: 0,
 *   samples: { calibration: 64, heldOut: 0 },
 *   size: { before: 4000, after: 600 },
 *   layers: [],
 *   tables: [],
 *   blocks: [],
 *   skipped: [{ name: "head", op: "Gemm", reason: "asked for" }],
 *   warnings: [],
 *   check: null,
 *   stages: [],
 * });
 * if (!page.startsWith("<!doctype html>")) throw new Error("not a page");
 * ```
 */
export function renderReport(report: Report): string {
  const { layers } = report, some = layers.length > 0;
  return pageOf({
    title: `${report.model}, quantized`,
    version: report.version,
    header: header(report),
    main: [
      warnings(report),
      some ? alongNetwork(report) : undefined,
      report.allocation ? bitsByLayer(report.allocation) : undefined,
      some ? layerTable(report) : undefined,
      outputs(report),
      nestedWidths(report.nested),
      worstSamples(report.heldOut),
      some ? layerCards(report) : undefined,
      embeddings(report.tables),
      learned(report.blocks),
      inFloat(report.skipped),
      run(report),
    ],
  });
}

/** What was quantized, and the figures that matter most. */
function header(report: Report): Markup {
  const { model, method, layers, skipped, samples, seed } = report;
  const floats = skipped.length === 0 ? "none" : skipped.length;
  const on = samples.calibration === 0
    ? "without samples"
    : `calibrated on ${plural(samples.calibration, "sample")}`;
  return markup`<header>
<h1>${model}</h1>
<p class="lede">${plural(layers.length, "layer")} quantized, ${floats} left in float;
 ${method} rounding, ${on}, seed ${seed}.</p>
<dl class="figures">
${figures(report)}</dl>
</header>`;
}

function figures(report: Report) {
  const { layers, samples, file, check, stages, heldOut, peakMemory = 0 } = report;
  const size = file ?? report.size;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return [
    figure(
      file ? "File" : "Weights",
      bytes(size.after),
      `from ${bytes(size.before)}, ${(size.before / size.after).toFixed(1)} × smaller`,
    ),
    layers.length > 0
      ? figure("Bits per weight", averageBits(layers).toFixed(2), widths(layers))
      : undefined,
    ...(check === null
      ? [figure("Same answer as float", "–", "not checked: no samples were held out")]
      : [
        accuracyFigure(heldOut, samples.heldOut),
        agreementFigure(check.agreementToFloat, samples.heldOut, check.interval?.agreementToFloat),
        figure(
          "Output error",
          percent(check.mseToFloat),
          `squared, relative to float${errorSpan(check.interval?.mseToFloat)}`,
        ),
        figure("File to simulation", percent(check.mseToSimulation), "squared, the same way"),
      ]),
    figure(
      "Time",
      duration(seconds),
      peakMemory > 0 ? `peak memory ${bytes(peakMemory)}` : undefined,
    ),
  ];
}

/** The interval of an error, in percent. */
function errorSpan(interval: Interval | undefined): string {
  return interval === undefined ? "" : `; ${interval.map(percent).join(" … ")}`;
}

function averageBits(layers: readonly LayerReport[]): number {
  const bits = layers.reduce((sum, layer) => sum + layer.bits * weightsOf(layer), 0);
  return bits / layers.reduce((sum, layer) => sum + weightsOf(layer), 0);
}

function weightsOf({ shape }: LayerReport): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** How many layers have which width: `4 in 51 layers, 8 in 2`. */
function widths(layers: readonly LayerReport[]): string {
  const counts = new Map<string, number>();
  for (const { grid } of layers) counts.set(grid, (counts.get(grid) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([grid, count], i) => `${grid} in ${i === 0 ? plural(count, "layer") : count}`).join(", ");
}

function warnings({ warnings, samples, remedies = [] }: Report): Markup | undefined {
  const all = [...warnings];
  if (samples.skipped) {
    all.push(`${plural(samples.skipped, "sample")} could not be read and went unused`);
  }
  for (const remedy of remedies) {
    if (remedy.option !== "overrides" || remedy.value === undefined) continue;
    all.push(`worth a try: ${remedy.value.bits} bits for ${remedy.value.pattern}`);
  }
  if (all.length === 0) return undefined;
  const items = all.map((warning) => markup`<li><b>Warning</b> ${warning}</li>`);
  return markup`<ul class="warnings">${items}</ul>`;
}
