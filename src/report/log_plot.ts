/**
 * Errors on a logarithmic scale. Positions along x are percentages and letters are HTML, so that
 * both keep their sizes on every screen.
 *
 * @module
 */

import { percent } from "./format.ts";
import { type Markup, markup } from "./markup.ts";

/** Height of the plot in pixels, and what stays free at both ends. */
const HEIGHT = 220, MARGIN = 10;
/** Errors below this are drawn at the lower end. */
const LEAST_ERROR = 1e-6;

/** One mark. */
export interface Mark {
  /** Where it lies, from 0 to 1. */
  readonly x: number;
  /** Its error. */
  readonly error: number;
  /** What is said of it. */
  readonly title: string;
}

/** Marks of one kind. */
export interface Series {
  /** What it looks like; a front is a line without marks. */
  readonly kind: "main" | "other" | "front";
  /** Whether a line joins its marks. */
  readonly line: boolean;
  /** The marks, from left to right. */
  readonly marks: readonly Mark[];
}

/** All `series` in one plot, the last on top; `ends` stand below its left and its right. */
export function logPlot(
  { title, description, ends, series }: {
    readonly title: string;
    readonly description: string;
    readonly ends: readonly [left: string, right: string];
    readonly series: readonly Series[];
  },
): Markup {
  const logs = series.flatMap(({ marks }) => marks.map(({ error }) => logOf(error)));
  const low = Math.floor(Math.min(...logs)), high = Math.max(low + 1, Math.ceil(Math.max(...logs)));
  const round = (value: number) => Number(value.toFixed(2));
  const x = ({ x }: Mark) => round(1.5 + 97 * x);
  const y = (log: number) => round(MARGIN + (HEIGHT - 2 * MARGIN) * (high - log) / (high - low));
  const decades = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const lines = decades.map((log) =>
    markup`<line class="tick" x1="0" x2="100%" y1="${y(log)}" y2="${y(log)}"/>`
  );
  const labels = decades.map((log) =>
    markup`<span style="top:${y(log)}px">${percent(10 ** log)}</span>`
  );
  const paths = series.filter(({ line }) => line).map(({ kind, marks }) => {
    const d = marks.map((mark, i) => `${i === 0 ? "M" : "L"}${x(mark)} ${y(logOf(mark.error))}`);
    return markup`<path class="line ${kind}" d="${d.join("")}"/>`;
  });
  const dots = series.filter(({ kind }) => kind !== "front").map(({ kind, marks }) =>
    marks.map((mark) =>
      markup`<circle class="dot ${kind}" cx="${x(mark)}%" cy="${
        y(logOf(mark.error))
      }" r="4"><title>${mark.title}</title></circle>`
    )
  );
  return markup`<figure class="log">
<div class="axis" aria-hidden="true" style="height:${HEIGHT}px">${labels}</div>
<svg width="100%" height="${HEIGHT}" role="img" aria-label="${title}. ${description}">${lines}
<svg viewBox="0 0 100 ${HEIGHT}" width="100%" height="100%" preserveAspectRatio="none">${paths}</svg>
${dots}</svg>
<figcaption class="soft small"><span>${ends[0]}</span><span>${
    ends[1]
  }</span></figcaption></figure>`;
}

function logOf(error: number): number {
  return Math.log10(Math.min(1e6, Math.max(Number.isFinite(error) ? error : 1e6, LEAST_ERROR)));
}

/** The sign of a series, to stand in a sentence. */
export function keyOf(kind: Series["kind"]): Markup {
  return markup`<svg class="key" width="10" height="10" aria-hidden="true"
><circle class="dot ${kind}" cx="5" cy="5" r="4"/></svg>`;
}
