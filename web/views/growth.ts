/**
 * How the error grows from the input of a model to its output.
 *
 * @module
 */

import { percent } from "../../src/report/format.ts";
import { markup } from "../../src/report/markup.ts";
import type { Report } from "../../src/report/report.ts";
import { h } from "../dom.ts";

/** Sides of the plot, and the room for its labels. */
const WIDTH = 720, HEIGHT = 220, LEFT = 64, BOTTOM = 28, TOP = 12, RIGHT = 12;
/** Errors below this are drawn at the bottom. */
const LEAST = 1e-6;

/** The plot: a point for each layer in the order in which they run. */
export function growthPlot({ layers, check }: Report): HTMLElement {
  const points = layers.map(({ name, error }) => ({ name, error: error.final }));
  if (check !== null) points.push({ name: "output of the model", error: check.mseToFloat });
  const logs = points.map(({ error }) => Math.log10(Math.max(error, LEAST)));
  const lo = Math.floor(Math.min(...logs)), hi = Math.max(lo + 1, Math.ceil(Math.max(...logs)));
  const x = (i: number) =>
    LEFT + (WIDTH - LEFT - RIGHT) * (points.length > 1 ? i / (points.length - 1) : 0.5);
  const y = (log: number) => TOP + (HEIGHT - TOP - BOTTOM) * (hi - log) / (hi - lo);
  const at = (i: number) => `${x(i).toFixed(1)} ${y(logs[i]).toFixed(1)}`;
  const ticks = Array.from({ length: hi - lo + 1 }, (_, i) => lo + i);
  const grid = ticks.map((tick) =>
    markup`<line class="tick" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/>
<text class="label" x="${LEFT - 8}" y="${y(tick) + 4}" text-anchor="end">${
      percent(10 ** tick)
    }</text>`
  );
  const line = points.map((_, i) => `${i === 0 ? "M" : "L"}${at(i)}`).join("");
  const dots = points.map(({ name, error }, i) =>
    markup`<circle class="${check !== null && i === points.length - 1 ? "dot end" : "dot"}"
 cx="${x(i).toFixed(1)}" cy="${y(logs[i]).toFixed(1)}" r="4"><title>${name}: ${
      percent(error)
    }</title></circle>`
  );
  const figure = h("figure", { class: "growth" });
  const last = points[points.length - 1];
  figure.innerHTML = markup`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"
 aria-label="Error of ${points.length} layers, from ${percent(points[0].error)} at ${
    points[0].name
  } to ${percent(last.error)} at ${last.name}">
${grid}<path class="line" d="${line}"/>${dots}
<text class="label" x="${LEFT}" y="${HEIGHT - 6}">input</text>
<text class="label" x="${WIDTH - RIGHT}" y="${HEIGHT - 6}" text-anchor="end">output</text></svg>`
    .text;
  return figure;
}
