/**
 * The plots of the report's page, as inline SVG. Positions along x are percentages, so that a plot
 * is as wide as its place; colours come from the style sheet.
 *
 * @module
 */

import { percent } from "./format.ts";
import { type Markup, markup } from "./markup.ts";
import type { LayerReport } from "./report.ts";

/**
 * Errors below this are drawn at the left end, or the few layers of 8 bits would crowd all others.
 */
const LEAST_ERROR = 1e-5;
/** Height of a row's plot, and of a histogram, in pixels. */
const ROW = 16, HISTOGRAM = 72;
/** Height of the marks of levels, below the bars so that both are seen. */
const LEVELS = 7;
/** Marks of levels below a histogram at most: of a finer grid, every 2nd, 4th, … level is drawn. */
const MOST_LINES = 20;
/** Weights in a bar on average, at least: fewer give a comb, not a distribution. */
const LEAST_PER_BAR = 4;

/** A logarithmic axis over whole decades. */
export interface ErrorAxis {
  /** Decimal logarithm of its left end. */
  readonly lo: number;
  /** Decimal logarithm of its right end. */
  readonly hi: number;
}

/** The axis that holds the errors of all `layers`, of which there is one at least. */
export function errorAxis(layers: readonly LayerReport[]): ErrorAxis {
  const exponents = layers.flatMap(({ error }) => [error.nearest, error.final])
    .map((error) => Math.log10(Math.max(error, LEAST_ERROR)));
  const lo = Math.floor(Math.min(...exponents));
  return { lo, hi: Math.max(lo + 1, Math.ceil(Math.max(...exponents))) };
}

/** The labels of `axis`, and its lines, which every row uses. There is one of it on a page. */
export function errorTicks(axis: ErrorAxis): Markup {
  const decades = Array.from({ length: axis.hi - axis.lo + 1 }, (_, i) => axis.lo + i);
  const every = Math.ceil(decades.length / 5);
  const labelled = decades.filter((decade) => (axis.hi - decade) % every === 0);
  const labels = labelled.map((decade, i) => {
    const text = (10 ** (decade + 2)).toFixed(Math.max(0, -decade - 2));
    // The outermost labels stay inside, so that they do not run into the columns beside.
    const end = i === 0 ? " first" : i === labelled.length - 1 ? " last" : "";
    return markup`<text class="label${end}" x="${
      along(axis, 10 ** decade)
    }" y="12">${text} %</text>`;
  });
  const lines = decades.map((decade) => {
    const x = along(axis, 10 ** decade);
    return markup`<line class="tick" x1="${x}" x2="${x}" y1="-6" y2="${ROW + 6}"/>`;
  });
  return markup`<svg width="100%" height="${ROW}" aria-hidden="true">
<defs><g id="ticks">${lines}</g></defs>${labels}</svg>`;
}

/** The error of one layer, from rounding to nearest to the result. */
export function errorPlot(axis: ErrorAxis, { nearest, final }: LayerReport["error"]): Markup {
  const from = along(axis, nearest), to = along(axis, final);
  const bad = final > nearest ? " bad" : "";
  return markup`<svg width="100%" height="${ROW}" role="img"
 aria-label="${percent(nearest)} rounded to nearest, ${percent(final)} in the result">
<use href="#ticks"/><line class="gain${bad}" x1="${from}" x2="${to}" y1="8" y2="8"/>
<circle class="nearest" cx="${from}" cy="8" r="3.5"/><circle class="final${bad}" cx="${to}" cy="8" r="4"/></svg>`;
}

/** Where an error lies along `axis`. */
function along(axis: ErrorAxis, error: number): string {
  const exponent = Math.log10(Math.max(error, LEAST_ERROR));
  const share = (exponent - axis.lo) / (axis.hi - axis.lo);
  return `${Number((100 * Math.max(0, Math.min(1, share))).toFixed(2))}%`;
}

/** The weights of a layer in steps of their scale, with the levels that they were rounded to. */
export function histogramPlot({ histogram, levels }: LayerReport): Markup {
  const { lo, hi } = histogram;
  const counts = thin(histogram.counts);
  const most = Math.max(1, ...counts);
  const x = (steps: number) => Number((100 * (steps - lo) / (hi - lo)).toFixed(2));
  const bars = counts.map((count, i) => {
    const top = Number((HISTOGRAM * (1 - count / most)).toFixed(1));
    return `V${top}H${Number((100 * (i + 1) / counts.length).toFixed(2))}`;
  }).join("");
  const every = lineSpacing(levels);
  const lines = multiples(levels, every).map((level) =>
    markup`<line class="level" x1="${x(level)}%" x2="${x(level)}%" y1="${HISTOGRAM}" y2="${
      HISTOGRAM + LEVELS
    }"/>`
  );
  const marks = [levels.lo, 0, levels.hi].filter((level, i, all) => all.indexOf(level) === i)
    .map((level) => markup`<span style="left:${x(level)}%">${signed(level)}</span>`);
  return markup`<figure>
<svg width="100%" height="${
    HISTOGRAM + LEVELS
  }" role="img" aria-label="Histogram of the weights on their grid">
<svg viewBox="0 0 100 ${HISTOGRAM}" width="100%" height="${HISTOGRAM}" preserveAspectRatio="none">
<path class="bars" d="M0 ${HISTOGRAM}${bars}V${HISTOGRAM}Z"/></svg>
${lines}<line class="base" x1="0" x2="100%" y1="${HISTOGRAM}" y2="${HISTOGRAM}"/></svg>
<div class="scale" aria-hidden="true">${marks}</div></figure>`;
}

/** Levels between two lines of a histogram: a power of two, so that level 0 has a line. */
export function lineSpacing({ lo, hi }: LayerReport["levels"]): number {
  let every = 1;
  while ((hi - lo) / every > MOST_LINES) every *= 2;
  return every;
}

function multiples({ lo, hi }: LayerReport["levels"], every: number): number[] {
  const first = Math.ceil(lo / every) * every;
  return Array.from({ length: Math.floor((hi - first) / every) + 1 }, (_, i) => first + i * every);
}

/** Joins neighbours until a bar holds enough weights to be more than chance. */
function thin(counts: readonly number[]): readonly number[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let bars = counts;
  while (bars.length % 2 === 0 && total < LEAST_PER_BAR * bars.length) {
    const wide = bars;
    bars = Array.from({ length: wide.length / 2 }, (_, i) => wide[2 * i] + wide[2 * i + 1]);
  }
  return bars;
}

/** Parts of a whole as a bar of one line. */
export function sharePlot(share: number): Markup {
  return markup`<svg width="100%" height="8" aria-hidden="true">
<rect class="share" width="${Number((100 * share).toFixed(2))}%" height="8" rx="2"/></svg>`;
}

function signed(level: number): string {
  return String(level).replace("-", "\u2212");
}
