/**
 * The report of a run as one page: no script, nothing loaded from elsewhere, to be kept beside the
 * model or sent to somebody.
 *
 * @module
 */

import { bitsByLayer } from "./allocation.ts";
import { bytes, duration, percent } from "./format.ts";
import { type Content, Markup, markup } from "./markup.ts";
import {
  type ErrorAxis,
  errorAxis,
  errorPlot,
  errorTicks,
  histogramPlot,
  lineSpacing,
  sharePlot,
} from "./plots.ts";
import type { BlockReport, LayerReport, Report } from "./report.ts";
import { STYLE } from "./style.ts";

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
  const { layers, blocks, skipped } = report;
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${report.model}, quantized</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
${header(report)}
<main>
${warnings(report)}
${layers.length > 0 ? [overview(layers), weights(layers)] : undefined}
${report.allocation ? bitsByLayer(report.allocation) : undefined}
${blocks.length > 0 ? learned(blocks) : undefined}
${skipped.length > 0 ? inFloat(skipped) : undefined}
${run(report)}
</main>
<footer>Written by attune ${report.version}.</footer>
</body>
</html>
`.text;
}

/** What was quantized, and the figures that matter most. */
function header(report: Report): Markup {
  const { model, layers, skipped, samples, size, check, stages, peakMemory = 0 } = report;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const floats = skipped.length === 0 ? "none" : skipped.length;
  const figures = [
    figure(
      "Weights",
      bytes(size.after),
      `from ${bytes(size.before)}, ${(size.before / size.after).toFixed(1)} × smaller`,
    ),
    layers.length > 0
      ? figure("Bits per weight", averageBits(layers).toFixed(2), widths(layers))
      : undefined,
    ...(check === null
      ? [figure("Same answer as float", "–", "not checked: no samples were held out")]
      : [
        figure(
          "Same answer as float",
          `${check.agreementToFloat.toFixed(1)} %`,
          `of ${plural(samples.heldOut, "held-out sample")}`,
        ),
        figure("Output error", percent(check.mseToFloat), "squared, relative to float"),
        figure("File to simulation", percent(check.mseToSimulation), "squared, the same way"),
      ]),
    figure(
      "Time",
      duration(seconds),
      peakMemory > 0 ? `peak memory ${bytes(peakMemory)}` : undefined,
    ),
  ];
  return markup`<header>
<h1>${model}</h1>
<p class="lede">${plural(layers.length, "layer")} quantized, ${floats} left in float;
 ${report.method} rounding, calibrated on ${plural(samples.calibration, "sample")}, seed
 ${report.seed}.</p>
<dl class="figures">
${figures}</dl>
</header>`;
}

function figure(name: string, value: string, note: string | undefined): Markup {
  return markup`<div><dt>${name}</dt><dd class="value">${value}</dd>
<dd class="soft small">${note}</dd></div>
`;
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

function warnings({ warnings, samples }: Report): Markup | undefined {
  const all = samples.skipped
    ? [...warnings, `${plural(samples.skipped, "sample")} could not be read and went unused`]
    : warnings;
  if (all.length === 0) return undefined;
  const items = all.map((warning) => markup`<li><b>Warning</b> ${warning}</li>`);
  return markup`<ul class="warnings">${items}</ul>`;
}

/** All layers in one table: where the bytes and the errors are. */
function overview(layers: readonly LayerReport[]): Markup {
  const axis = errorAxis(layers);
  const worst = layers.reduce((a, b) => b.error.final > a.error.final ? b : a);
  const key = (shape: string, radius: number) =>
    markup`<svg class="key" width="10" height="10" aria-hidden="true"
><circle class="${shape}" cx="5" cy="5" r="${radius}"/></svg>`;
  return markup`<section>
<h2>Error by layer</h2>
<p class="soft">Squared error of a layer’s output on calibration data, relative to that output:
 ${key("nearest", 3.5)} weights rounded to nearest, ${key("final", 4)} the result. The largest is
 ${percent(worst.error.final)}, in <a href="#${anchor(layers, worst)}">${worst.name}</a>.</p>
<table>
<thead><tr><th scope="col">Layer</th><th scope="col" class="wide-only">Operator</th>
<th scope="col" class="shape">Weight</th><th scope="col" class="number">Bits</th>
<th scope="col" class="number wide-only">Size</th><th scope="col" class="plot">${
    errorTicks(axis)
  }</th><th scope="col" class="number error">Error</th></tr></thead>
<tbody>
${layers.map((layer) => row(axis, layers, layer))}</tbody>
</table>
</section>`;
}

function row(axis: ErrorAxis, layers: readonly LayerReport[], layer: LayerReport): Markup {
  const { name, op, shape, grid, bytesAfter, error } = layer;
  const worse = error.final > error.nearest ? " worse" : "";
  return markup`<tr><td class="name"><a href="#${anchor(layers, layer)}">${name}</a></td>
<td class="wide-only soft">${op}</td><td class="shape soft">${shape.join(" × ")}</td>
<td class="number">${grid}</td><td class="number wide-only">${bytes(bytesAfter)}</td>
<td class="plot">${errorPlot(axis, error)}</td>
<td class="number error${worse}">${percent(error.final)}</td></tr>
`;
}

/** A layer's place on the page, by its number: names need not make a valid one. */
function anchor(layers: readonly LayerReport[], layer: LayerReport): string {
  return `layer-${layers.indexOf(layer)}`;
}

/** One card per layer: its weights on their grid, and the facts. */
function weights(layers: readonly LayerReport[]): Markup {
  return markup`<section>
<h2>Weights on their grids</h2>
<p class="soft">How the float weights are distributed, in steps of their scale; the lines are the
 levels that they were rounded to.</p>
<div class="cards">
${layers.map((layer) => card(layer, anchor(layers, layer)))}</div>
</section>`;
}

function card(layer: LayerReport, id: string): Markup {
  const { name, op, shape, groups, bits, grid, storedBits, note, activation, error } = layer;
  const every = lineSpacing(layer.levels);
  const list: [string, Content][] = [
    ["Bits", [grid, storedBits === bits ? undefined : `, stored in ${storedBits}`]],
    ["Scale per", layer.granularity.replace("group:", "group of ")],
    ["Size", `${bytes(layer.bytesBefore)} → ${bytes(layer.bytesAfter)}`],
    ["Error", `${percent(error.nearest)} → ${percent(error.final)}`],
    ...(activation === undefined ? [] : [["Input", inputRange(activation)] as [string, Content]]),
    ...(note === undefined ? [] : [["Note", note] as [string, Content]]),
    ...(every === 1 ? [] : [["Lines", `every ${every}th level`] as [string, Content]]),
  ];
  return markup`<article class="card" id="${id}">
<h3>${name}</h3>
<div class="soft small">${op}, ${shape.join(" × ")}${groups > 1 ? `, ${groups} groups` : ""}</div>
${histogramPlot(layer)}
${facts(list)}
</article>
`;
}

function inputRange({ lo, hi, bits }: NonNullable<LayerReport["activation"]>): string {
  return `${bits} bits, ${value(lo)} … ${value(hi)}`;
}

/** A number with three digits that count. */
function value(number: number): string {
  return String(Number(number.toPrecision(3))).replace("-", "\u2212");
}

function facts(list: readonly (readonly [string, Content])[], kind = ""): Markup {
  const items = list.map(([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>`);
  return markup`<dl class="facts${kind}">${items}</dl>`;
}

/** What learning has brought, block by block. */
function learned(blocks: readonly BlockReport[]): Markup {
  const rows = blocks.map(({ layers, iterations, error, note }) =>
    markup`<tr><td class="name">${layers.join(", ")}</td><td class="number">${iterations}</td>
<td class="number">${error ? percent(error.before) : "–"}</td>
<td class="number">${error ? percent(error.after) : "–"}</td><td class="soft">${note}</td></tr>
`
  );
  return markup`<section>
<h2>Blocks</h2>
<p class="soft">Squared error of a block's outputs on samples that it did not learn from, relative to
 the float model's, before learning and after it.</p>
<table><thead><tr><th scope="col">Layers</th><th scope="col" class="number">Iterations</th>
<th scope="col" class="number">Before</th><th scope="col" class="number">After</th><th scope="col"></th></tr>
</thead><tbody>
${rows}</tbody></table>
</section>`;
}

function inFloat(skipped: Report["skipped"]): Markup {
  const rows = skipped.map(({ name, op, reason, weight, bytes: size }) =>
    markup`<tr><td class="name">${name}</td><td class="soft">${op}</td><td>${reason}</td>
<td class="name">${weight ?? ""}</td><td class="number">${size ? bytes(size) : ""}</td></tr>
`
  );
  return markup`<section>
<h2>Left in float</h2>
<table><thead><tr><th scope="col">Node</th><th scope="col">Operator</th><th scope="col">Reason</th>
<th scope="col">Weight</th><th scope="col" class="number">Size</th></tr>
</thead><tbody>
${rows}</tbody></table>
</section>`;
}

/** How the run went: its time by stage, and what another run needs to give the same. */
function run({ stages, options, seed, samples }: Report): Markup {
  const longest = Math.max(1e-3, ...stages.map(({ seconds }) => seconds));
  const rows = stages.map(({ name, seconds }) =>
    markup`<tr><td>${name}</td><td class="plot">${sharePlot(seconds / longest)}</td>
<td class="number error">${duration(seconds)}</td></tr>
`
  );
  const settings = Object.entries(options).map(([name, value]) =>
    [words(name), setting(value)] as const
  );
  return markup`<div class="run">
${
    stages.length === 0 ? undefined : markup`<section>
<h2>Time</h2>
<table><tbody>
${rows}</tbody></table>
</section>`
  }
<section>
<h2>Settings</h2>
${
    facts([
      ["seed", seed],
      ["samples", `${samples.calibration} to calibrate, ${samples.heldOut} held out`],
      ...settings,
    ], " wide")
  }
</section>
</div>`;
}

/** `floatTargetShift` as `float target shift`. */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** An option's value in words; of an object with a kind, the kind comes first. */
function setting(value: unknown): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(setting).join("; ");
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value).filter(([, part]) => part !== undefined)
    .map(([name, part]) => name === "kind" ? setting(part) : `${words(name)} ${setting(part)}`)
    .join(", ");
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
