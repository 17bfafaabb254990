/**
 * The layers on the report's page: where the error comes from, all of them in a table, and what is
 * to be said of each.
 *
 * @module
 */

import type { LayerShare } from "../plan/allocation.ts";
import { bytes, percent } from "./format.ts";
import { keyOf, logPlot } from "./log_plot.ts";
import { type Content, type Markup, markup } from "./markup.ts";
import { type Cell, type Column, facts, tableOf } from "./page.ts";
import { errorAxis, errorPlot, errorTicks, histogramPlot, lineSpacing } from "./plots.ts";
import type { LayerReport, Report } from "./report.ts";
import { ordinal, plural, value } from "./words.ts";

/** The error of each layer, from the input of the model to its output. */
export function alongNetwork({ layers, check }: Report): Markup {
  const end = check ? 1 : 0, last = Math.max(1, layers.length - 1 + end);
  const mark = (name: string, error: number, i: number) => ({
    x: i / last,
    error,
    title: `${name}: ${percent(error)}`,
  });
  const finals = layers.map(({ name, error }, i) => mark(name, error.final, i));
  if (check) finals.push(mark("output of the model", check.mseToFloat, layers.length));
  const worst = layers.reduce((a, b) => b.error.final > a.error.final ? b : a);
  const description = `${plural(layers.length, "layer")}, the largest error ${
    percent(worst.error.final)
  } in ${worst.name}${check ? `; ${percent(check.mseToFloat)} at the output` : ""}`;
  return markup`<section>
<h2>Error along the network</h2>
<p class="soft">Squared error of each layer’s output on calibration data, relative to that output:
 ${keyOf("other")} weights rounded to nearest, ${keyOf("main")} the result${
    check ? "; the last mark is the output of the written model on held-out samples" : ""
  }. The largest is ${percent(worst.error.final)}, in <a href="#${
    anchor(layers, worst)
  }">${worst.name}</a>.</p>
${
    logPlot({
      title: "Error of each layer from the input of the model to its output",
      description,
      ends: ["input", "output"],
      series: [
        {
          kind: "other",
          line: false,
          marks: layers.map(({ name, error }, i) =>
            mark(`${name}, rounded to nearest`, error.nearest, i)
          ),
        },
        { kind: "main", line: true, marks: finals },
      ],
    })
  }
</section>`;
}

/** All layers in one table: where the bytes and the errors are. */
export function layerTable({ layers, allocation }: Report): Markup {
  const axis = errorAxis(layers), ranged = layers.some(({ activation }) => activation);
  const shares = new Map(allocation?.layers.map((share) => [share.name, share]));
  const columns: Column[] = [
    { head: "Layer", kind: "name", sorts: "text" },
    { head: "Operator", kind: "soft wide-only", sorts: "text" },
    { head: "Bits", kind: "number", sorts: "number" },
    { head: "Size", kind: "number wide-only", sorts: "number" },
    ...(ranged
      ? [
        { head: "Input", kind: "number wide-only" },
        { head: "Clipped", kind: "number wide-only", sorts: "number" },
        { head: "Spread", kind: "number wide-only", sorts: "number" },
      ] as const
      : []),
    ...(allocation
      ? [
        { head: "Length", kind: "number wide-only", sorts: "number" },
        { head: "Adds", kind: "number wide-only", sorts: "number" },
      ] as const
      : []),
    { head: errorTicks(axis), kind: "plot" },
    { head: "Error", kind: "number error", sorts: "number" },
  ];
  const rows = layers.map((layer): Cell[] => {
    const { name, op, bits, grid, bytesAfter, error, activation } = layer;
    const worse = error.final > error.nearest ? "worse" : "";
    return [
      markup`<a href="#${anchor(layers, layer)}">${name}</a>`,
      op,
      { content: grid, by: bits },
      { content: bytes(bytesAfter), by: bytesAfter },
      ...(ranged ? rangeCells(activation) : []),
      ...(allocation ? shareCells(shares.get(name)) : []),
      errorPlot(axis, error),
      {
        content: markup`<span class="${worse}">${percent(error.final)}</span>`,
        by: error.final,
      },
    ];
  });
  return markup`<section>
<h2>Layers</h2>
<p class="soft">Each row draws the error of rounding to nearest and that of the result.${
    ranged
      ? " Clipped is the share of a layer’s input outside of its range, spread the range of its " +
        "widest channel over that of the median one: where it is large, most channels have few levels."
      : ""
  }${
    allocation
      ? " Length is the coding length in bits per weight at the distortion of the whole model, and " +
        "the column after it what the layer’s error adds to the model’s, as measured or predicted: " +
        "its sensitivity."
      : ""
  }</p>
${tableOf("Layers", columns, rows)}
</section>`;
}

function rangeCells(activation: LayerReport["activation"]): Cell[] {
  if (activation === undefined) {
    return ["float", { content: "", by: -1 }, { content: "", by: -1 }];
  }
  const { lo, hi, clipped, spread } = activation;
  return [
    `${value(lo)} … ${value(hi)}`,
    { content: clipped === undefined ? "–" : percent(clipped), by: clipped ?? -1 },
    { content: spread === undefined ? "–" : `${value(spread)} ×`, by: spread ?? -1 },
  ];
}

function shareCells(share: LayerShare | undefined): Cell[] {
  const { codingLength, loss } = share ?? {};
  return [
    { content: codingLength === undefined ? "–" : codingLength.toFixed(2), by: codingLength ?? -1 },
    { content: loss === undefined ? "–" : percent(loss), by: loss ?? -1 },
  ];
}

/** A layer's place on the page, by its number: names need not make a valid one. */
function anchor(layers: readonly LayerReport[], layer: LayerReport): string {
  return `layer-${layers.indexOf(layer)}`;
}

/** One card per layer, to be opened: its weights on their grid, and the facts. */
export function layerCards({ layers }: Report): Markup {
  return markup`<section>
<h2>Layer by layer</h2>
<p class="soft">Open a layer to see how its float weights are distributed, in steps of their scale; the
 marks below are the levels that they were rounded to.</p>
<div class="cards">
${layers.map((layer) => card(layer, anchor(layers, layer)))}</div>
</section>`;
}

function card(layer: LayerReport, id: string): Markup {
  const { name, op, shape, groups, error } = layer;
  return markup`<details class="card"><summary><span class="name">${name}</span>
<span class="soft small">${layer.grid} bits, ${percent(error.final)}</span></summary>
<div id="${id}">
<div class="soft small">${op}, ${shape.join(" × ")}${groups > 1 ? `, ${groups} groups` : ""}</div>
${histogramPlot(layer)}
${facts(factsOf(layer))}
</div></details>
`;
}

function factsOf(layer: LayerReport): [string, Content][] {
  const { bits, grid, storedBits, note, activation, error, levels } = layer;
  const every = lineSpacing(levels), seen = levels.hi - levels.lo + 1;
  const windowed = grid === String(bits) && seen > 2 ** bits;
  return [
    ["Bits", [grid, storedBits === bits ? undefined : `, stored in ${storedBits}`]],
    ["Scale per", layer.granularity.replace("group:", "group of ")],
    ["Size", `${bytes(layer.bytesBefore)} → ${bytes(layer.bytesAfter)}`],
    ["Error", `${percent(error.nearest)} → ${percent(error.final)}`],
    ...(activation === undefined ? [] : inputFacts(activation)),
    ...(note === undefined ? [] : [["Note", note] as [string, Content]]),
    ...(every === 1 ? [] : [["Marks", `every ${ordinal(every)} level`] as [string, Content]]),
    ...(windowed ? [["Levels", windowNote(bits, seen)] as [string, Content]] : []),
  ];
}

function inputFacts(
  { lo, hi, bits, clipped, spread }: NonNullable<LayerReport["activation"]>,
): [string, Content][] {
  return [
    ["Input", `${bits} bits, ${value(lo)} … ${value(hi)}`],
    ...(clipped === undefined ? [] : [["Clipped", percent(clipped)] as [string, Content]]),
    ...(spread === undefined
      ? []
      : [["Widest channel", `${value(spread)} × the median`] as [string, Content]]),
  ];
}

/** Why a card shows more levels than its bits can tell apart. */
function windowNote(bits: number, seen: number): string {
  return `each row has ${
    2 ** bits
  } levels in a row; rows begin at different ones, as each has a zero ` +
    `point of its own, so all of them together span ${seen}`;
}
