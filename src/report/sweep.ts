/**
 * The page of a sweep: size against error, point by point.
 *
 * @module
 */

import type { SweepPoint, SweepReport } from "./sweep_report.ts";
import { bytes, duration, percent } from "./format.ts";
import { Markup, markup } from "./markup.ts";
import { STYLE } from "./style.ts";

/** The plot's size in pixels, and the room for its labels. */
const WIDTH = 720, HEIGHT = 300, LEFT = 60, BOTTOM = 28;
/** Errors below this are drawn at the lower end. */
const LEAST_ERROR = 1e-6;

/** Looks of the plot beside those of every page. */
const PLOT_STYLE = `
.sweep { width: 100%; max-width: ${WIDTH}px; height: auto; margin-top: 1rem; }
.sweep text { fill: var(--soft); font-size: 12px; }
.sweep line { stroke: var(--line); }
.sweep .front { fill: none; stroke: var(--accent); stroke-width: 1.5; }
.sweep .budget { fill: var(--accent); }
.sweep .uniform { fill: var(--page); stroke: var(--mark); stroke-width: 1.5; }
`;

/**
 * Writes `report` as a page of HTML.
 *
 * @example
 * ```ts
 * import { renderSweep } from "./sweep.ts";
 *
 * const page = renderSweep({
 *   version: "0.1.0",
 *   model: "model.onnx",
 *   bytes: 4000,
 *   seed: 0,
 *   samples: { calibration: 48, heldOut: 16 },
 *   points: [],
 *   stages: [],
 * });
 * if (!page.startsWith("<!doctype html>")) throw new Error("not a page");
 * ```
 */
export function renderSweep(report: SweepReport): string {
  const { model, samples, points, stages, seed, version } = report;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${model}, size against error</title>
<style>${new Markup(STYLE + PLOT_STYLE)}</style>
</head>
<body>
<header>
<h1>${model}</h1>
<p class="lede">${points.length} ways to spread bits, from one calibration on
 ${samples.calibration} samples; errors on ${samples.heldOut} others. Seed ${seed},
 ${duration(seconds)}.</p>
</header>
<main>
<section>
<h2>Size against error</h2>
<p class="soft">Squared error of the output, relative to the float model’s, on a logarithmic scale:
 filled points have widths chosen by layer, hollow ones a single width. Nothing is smaller with less
 error than the points on the line. A job of its own mostly does better, since each layer then repairs
 the errors of those before it.</p>
${points.length > 0 ? plot(points) : undefined}
${table(report)}
</section>
</main>
<footer>Written by attune ${version}.</footer>
</body>
</html>
`.text;
}

function plot(points: readonly SweepPoint[]): Markup {
  const sizes = points.map((point) => point.bytes);
  const smallest = Math.min(...sizes), largest = Math.max(...sizes);
  const logs = points.map(({ evaluation: { mse } }) => Math.log10(Math.max(mse, LEAST_ERROR)));
  const low = Math.floor(Math.min(...logs)), high = Math.max(low + 1, Math.ceil(Math.max(...logs)));
  const round = (value: number) => Number(value.toFixed(1));
  const x = (size: number) =>
    round(LEFT + 10 + (WIDTH - LEFT - 40) * (size - smallest) / Math.max(1, largest - smallest));
  const y = (error: number) => {
    const log = Math.log10(Math.max(error, LEAST_ERROR));
    return round(10 + (HEIGHT - BOTTOM - 20) * (high - log) / (high - low));
  };
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const ticks = decades.map((error) =>
    markup`<line x1="${LEFT}" x2="${WIDTH}" y1="${y(error)}" y2="${y(error)}"/>
<text x="${LEFT - 8}" y="${y(error) + 4}" text-anchor="end">${percent(error)}</text>`
  );
  const front = points.filter(({ best }) => best).toSorted((a, b) => a.bytes - b.bytes);
  const path = front.map((point, i) =>
    `${i === 0 ? "M" : "L"}${x(point.bytes)} ${y(point.evaluation.mse)}`
  );
  const marks = points.map((point) =>
    markup`<circle class="${point.strategy === "uniform" ? "uniform" : "budget"}" r="4"
 cx="${x(point.bytes)}" cy="${
      y(point.evaluation.mse)
    }"><title>${point.strategy}, ${point.asked} bits:
 ${bytes(point.bytes)}, ${percent(point.evaluation.mse)}</title></circle>`
  );
  return markup`<svg class="sweep" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"
 aria-label="Output error against the size of the file">
${ticks}<path class="front" d="${path.join("")}"/>${marks}
<text x="${LEFT}" y="${HEIGHT - 6}">${bytes(smallest)}</text>
<text x="${WIDTH}" y="${HEIGHT - 6}" text-anchor="end">${bytes(largest)}</text></svg>`;
}

function table({ points, bytes: before }: SweepReport): Markup {
  const share = (value: number | null) => value === null ? "–" : `${value.toFixed(1)} %`;
  const top1 = points[0]?.evaluation.reference.top1 ?? null;
  const rows = points.map((point) =>
    markup`<tr><td>${point.best ? "•" : ""}</td><td>${point.strategy}</td>
<td class="number">${point.asked}</td><td class="number">${point.averageBits.toFixed(2)}</td>
<td class="number">${bytes(point.bytes)}</td>
<td class="number">${(before / point.bytes).toFixed(1)} ×</td>
<td class="number">${percent(point.evaluation.mse)}</td><td class="number">${
      point.evaluation.agreement.toFixed(1)
    } %</td>
<td class="number">${share(point.evaluation.top1)}</td></tr>
`
  );
  const float = top1 === null ? "" : ` (float ${share(top1)})`;
  return markup`<table>
<thead><tr><th scope="col"></th><th scope="col">Bits by</th><th scope="col" class="number">Asked</th>
<th scope="col" class="number">Average</th><th scope="col" class="number">File</th>
<th scope="col" class="number">Smaller</th><th scope="col" class="number">Output error</th>
<th scope="col" class="number">Same answer</th><th scope="col" class="number">Top-1${float}</th></tr></thead>
<tbody>
${rows}</tbody></table>`;
}
