/**
 * How the error grows from the input of a model to its output.
 *
 * @module
 */

import { percent } from "../../src/report/format.ts";
import { markup } from "../../src/report/markup.ts";
import { h } from "../dom.ts";
import type { GrowthPoint } from "../messages.ts";

/** Height of the plot in pixels, and of its ends beyond the outermost lines. */
const HEIGHT = 200, END = 8;
/** Errors below this are drawn at the bottom. */
const LEAST = 1e-5;

/** The plot: a point for each layer, in the order in which they run. */
export function growthPlot(growth: readonly GrowthPoint[]): HTMLElement {
  const points = growth.map((point, i) => ({
    ...point,
    kind: i === growth.length - 1 ? "dot end" : "dot",
  }));
  const logs = points.map(({ error }) => Math.log10(Math.max(error, LEAST)));
  const lo = Math.floor(Math.min(...logs)), hi = Math.max(lo + 1, Math.ceil(Math.max(...logs)));
  const x = (i: number) => Number((100 * (i + 0.5) / points.length).toFixed(3));
  const y = (log: number) => Number((END + (HEIGHT - 2 * END) * (hi - log) / (hi - lo)).toFixed(1));
  const ticks = Array.from({ length: hi - lo + 1 }, (_, i) => lo + i);
  const lines = ticks.map((tick) =>
    markup`<line class="tick" x1="0" x2="100%" y1="${y(tick)}" y2="${y(tick)}"/>`
  );
  const path = logs.map((log, i) => `${i === 0 ? "M" : "L"}${x(i)} ${y(log)}`).join("");
  const dots = points.map(({ name, error, kind }, i) =>
    markup`<circle class="${kind}" cx="${x(i)}%" cy="${y(logs[i])}" r="4"
><title>${name}: ${percent(error)}</title></circle>`
  );
  const [first, last] = [points[0], points[points.length - 1]];
  const figure = h("figure", { class: "growth" });
  figure.innerHTML = markup`<svg height="${HEIGHT}" role="img"
 aria-label="Error of ${points.length} layers, from ${percent(first.error)} at ${first.name} to ${
    percent(last.error)
  } at ${last.name}">
${lines}<svg viewBox="0 0 100 ${HEIGHT}" width="100%" height="100%" preserveAspectRatio="none"
><path class="line" d="${path}"/></svg>${dots}</svg>`.text;
  figure.append(
    ...ticks.map((tick) => {
      const label = h("span", { class: "scale", "aria-hidden": "true" }, percent(10 ** tick));
      label.style.top = `${y(tick)}px`;
      return label;
    }),
    h(
      "div",
      { class: "ends", "aria-hidden": "true" },
      h("span", {}, "input"),
      h("span", {}, "output"),
    ),
  );
  return figure;
}
