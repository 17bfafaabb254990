/**
 * The page of a sweep: size against error, point by point.
 *
 * @module
 */

import { bytes, duration, percent } from "./format.ts";
import { keyOf, logPlot } from "./log_plot.ts";
import { type Markup, markup } from "./markup.ts";
import { type Column, pageOf, tableOf } from "./page.ts";
import type { SweepPoint, SweepReport } from "./sweep_report.ts";

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
  return pageOf({
    title: `${model}, size against error`,
    version,
    header: markup`<header>
<h1>${model}</h1>
<p class="lede">${points.length} ways to spread bits, from one calibration on
 ${samples.calibration} samples; errors on ${samples.heldOut} others. Seed ${seed},
 ${duration(seconds)}.</p>
</header>`,
    main: markup`<section>
<h2>Size against error</h2>
<p class="soft">Squared error of the output, relative to the float model’s, on a logarithmic scale:
 ${keyOf("main")} widths chosen by layer, ${keyOf("other")} a single width. Nothing is smaller with
 less error than the points marked • in the table. A job of its own mostly does better, since each layer
 then repairs the errors of those before it.</p>
${points.length > 0 ? plot(points) : undefined}
${table(report)}
</section>`,
  });
}

function plot(points: readonly SweepPoint[]): Markup {
  const sizes = points.map((point) => point.bytes);
  const smallest = Math.min(...sizes), largest = Math.max(...sizes);
  const mark = (point: SweepPoint) => ({
    x: (point.bytes - smallest) / Math.max(1, largest - smallest),
    error: point.evaluation.mse,
    title: `${point.strategy}, ${point.asked} bits: ${bytes(point.bytes)}, ${
      percent(point.evaluation.mse)
    }`,
  });
  const ordered = points.toSorted((a, b) => a.bytes - b.bytes);
  const uniform = ordered.filter(({ strategy }) => strategy === "uniform");
  const chosen = ordered.filter(({ strategy }) => strategy !== "uniform");
  return logPlot({
    title: "Output error against the size of the file",
    description: `${points.length} points from ${bytes(smallest)} to ${bytes(largest)}`,
    ends: [bytes(smallest), bytes(largest)],
    series: [
      { kind: "front", line: true, marks: ordered.filter(({ best }) => best).map(mark) },
      { kind: "other", line: false, marks: uniform.map(mark) },
      { kind: "main", line: false, marks: chosen.map(mark) },
    ],
  });
}

function table({ points, bytes: before }: SweepReport): Markup {
  const share = (value: number | null) => value === null ? "–" : `${value.toFixed(1)} %`;
  const top1 = points[0]?.evaluation.reference.top1 ?? null;
  const columns: Column[] = [
    { head: markup`<span class="unseen">Best</span>` },
    { head: "Bits by", sorts: "text" },
    ...["Asked", "Average", "File", "Smaller", "Output error", "Same answer"].map((head) =>
      ({ head, kind: "number", sorts: "number" }) as const
    ),
    ...(top1 === null
      ? []
      : [{ head: `Top-1 (float ${share(top1)})`, kind: "number", sorts: "number" } as const]),
  ];
  const rows = points.map((point) => {
    const { mse, agreement, top1: right } = point.evaluation;
    return [
      point.best ? "•" : "",
      point.strategy,
      point.asked,
      point.averageBits.toFixed(2),
      { content: bytes(point.bytes), by: point.bytes },
      { content: `${(before / point.bytes).toFixed(1)} ×`, by: before / point.bytes },
      { content: percent(mse), by: mse },
      { content: `${agreement.toFixed(1)} %`, by: agreement },
      ...(top1 === null ? [] : [{ content: share(right), by: right ?? -1 }]),
    ];
  });
  return tableOf("Points of the sweep", columns, rows);
}
