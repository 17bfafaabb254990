/**
 * Two runs side by side: what differs in the whole, layer by layer, and in how they were asked for.
 *
 * @module
 */

import { bytes, duration, percent } from "./format.ts";
import { LEAST_FOR_PERCENT } from "./held_out.ts";
import { keyOf, logPlot } from "./log_plot.ts";
import { type Markup, markup } from "./markup.ts";
import { type Cell, pageOf, tableOf } from "./page.ts";
import type { LayerReport, Report } from "./report.ts";
import { settingsOf } from "./words.ts";

/** A line of a comparison: what it is about, and what both runs say. */
export type ComparedFigure = readonly [name: string, first: string, second: string];

/** The figures of two runs, line by line. */
export function comparedFigures(a: Report, b: Report): ComparedFigure[] {
  const line = (name: string, of: (report: Report) => string): ComparedFigure[] => {
    const first = of(a), second = of(b);
    return first === "–" && second === "–" ? [] : [[name, first, second]];
  };
  return [
    ...line("file", ({ file }) => file ? bytes(file.after) : "–"),
    ...line("smaller", ({ file }) => file ? `${(file.before / file.after).toFixed(1)} ×` : "–"),
    ...line("weights", ({ size }) => bytes(size.after)),
    ...line("layers quantized", ({ layers }) => `${layers.length}`),
    ...line("output error", ({ check }) => check ? percent(check.mseToFloat) : "–"),
    ...line("same answer as float", sameAnswer),
    ...line("right answers", rightAnswers),
    ...line("held-out samples", ({ samples }) => `${samples.heldOut}`),
    ...line("calibration samples", ({ samples }) => `${samples.calibration}`),
    ...line(
      "time",
      ({ stages }) => duration(stages.reduce((sum, { seconds }) => sum + seconds, 0)),
    ),
  ];
}

function sameAnswer({ check, samples: { heldOut } }: Report): string {
  return check ? shareOf(check.agreementToFloat, heldOut) : "–";
}

function rightAnswers({ heldOut, samples }: Report): string {
  const right = heldOut?.accuracy?.quantized;
  return right === undefined ? "–" : shareOf(right, samples.heldOut);
}

/** A share of samples, as a count where they are few. */
function shareOf(share: number, samples: number): string {
  return samples < LEAST_FOR_PERCENT
    ? `${Math.round(share * samples / 100)} of ${samples}`
    : `${share.toFixed(1)} %`;
}

/** A layer of both runs, or of the one that has it. */
export interface LayerPair {
  /** Its name. */
  readonly name: string;
  /** What the first run made of it. */
  readonly first?: LayerReport;
  /** What the second run made of it. */
  readonly second?: LayerReport;
}

/** The layers of two runs, in the order of the first, by their names. */
export function layerPairs(a: Report, b: Report): LayerPair[] {
  const others = new Map(b.layers.map((layer) => [layer.name, layer]));
  const mine = new Set(a.layers.map(({ name }) => name));
  return [
    ...a.layers.map((first) => ({ name: first.name, first, second: others.get(first.name) })),
    ...b.layers.filter(({ name }) => !mine.has(name)).map((second) => ({
      name: second.name,
      second,
    })),
  ];
}

/** The options that differ between two runs. */
export function differingOptions(a: Report, b: Report): ComparedFigure[] {
  const [first, second] = [a, b].map(({ options, seed, method, version }) =>
    new Map<string, string>([
      ["version", version],
      ["rounding method", method],
      ["seed", String(seed)],
      ...settingsOf(options),
    ])
  );
  return [...new Set([...first.keys(), ...second.keys()])]
    .map((name) => [name, first.get(name) ?? "–", second.get(name) ?? "–"] as const)
    .filter(([, one, other]) => one !== other);
}

/**
 * Writes two reports as a page that sets them side by side.
 *
 * @example
 * ```ts
 * import { renderComparison } from "./comparison.ts";
 * import type { Report } from "./report.ts";
 *
 * const report: Report = {
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
 *   skipped: [],
 *   warnings: [],
 *   check: null,
 *   stages: [],
 * };
 * const page = renderComparison(report, { ...report, options: { bits: 8 } });
 * if (!page.includes("What was asked for")) throw new Error("no comparison");
 * ```
 */
export function renderComparison(a: Report, b: Report): string {
  const title = a.model === b.model ? `${a.model}, two runs` : `${a.model} and ${b.model}`;
  const pairs = layerPairs(a, b), options = differingOptions(a, b);
  return pageOf({
    title,
    version: a.version,
    header: markup`<header>
<h1>${title}</h1>
<p class="lede">A is ${a.model} with ${a.method} rounding, B ${b.model} with ${b.method} rounding.</p>
</header>`,
    main: [
      section("Side by side", "Figures of both runs", comparedFigures(a, b)),
      options.length === 0
        ? markup`<p class="soft">Both were asked for in the same way.</p>`
        : section("What was asked for", "Options that differ", options),
      pairs.length === 0 ? undefined : [errors(pairs), layers(pairs)],
    ],
  });
}

function section(heading: string, label: string, lines: readonly ComparedFigure[]): Markup {
  const columns = [
    { head: markup`<span class="unseen">What</span>`, kind: "soft" },
    { head: "A", kind: "name" },
    { head: "B", kind: "name" },
  ];
  return markup`<section>
<h2>${heading}</h2>
${tableOf(label, columns, lines)}
</section>`;
}

/** The errors of all layers of both runs. */
function errors(pairs: readonly LayerPair[]): Markup {
  const last = Math.max(1, pairs.length - 1);
  const marks = (run: "A" | "B") =>
    pairs.flatMap((pair, i) => {
      const layer = run === "A" ? pair.first : pair.second;
      if (layer === undefined) return [];
      const { final } = layer.error;
      return [{ x: i / last, error: final, title: `${pair.name}, ${run}: ${percent(final)}` }];
    });
  return markup`<section>
<h2>Error along the network</h2>
<p class="soft">Squared error of each layer’s output on calibration data, relative to that output:
 ${keyOf("other")} A, ${keyOf("main")} B.</p>
${
    logPlot({
      title: "Error of each layer in both runs",
      description: `${pairs.length} layers`,
      ends: ["input", "output"],
      series: [
        { kind: "other", line: false, marks: marks("A") },
        { kind: "main", line: false, marks: marks("B") },
      ],
    })
  }
</section>`;
}

function layers(pairs: readonly LayerPair[]): Markup {
  const number = (head: string) => ({ head, kind: "number", sorts: "number" }) as const;
  const cell = (layer: LayerReport | undefined, of: (layer: LayerReport) => Cell): Cell =>
    layer === undefined ? { content: "–", by: -1 } : of(layer);
  const bits = ({ grid, bits }: LayerReport) => ({ content: grid, by: bits });
  const size = ({ bytesAfter }: LayerReport) => ({ content: bytes(bytesAfter), by: bytesAfter });
  const error = ({ error }: LayerReport) => ({ content: percent(error.final), by: error.final });
  const rows = pairs.map(({ name, first, second }): Cell[] => {
    const ratio = first && second && first.error.final > 0
      ? second.error.final / first.error.final
      : undefined;
    return [
      name,
      cell(first, bits),
      cell(second, bits),
      cell(first, size),
      cell(second, size),
      cell(first, error),
      cell(second, error),
      {
        content: ratio === undefined ? "–" : `${Number(ratio.toPrecision(2))} ×`,
        by: ratio ?? -1,
      },
    ];
  });
  const columns = [
    { head: "Layer", kind: "name", sorts: "text" } as const,
    ...["Bits A", "Bits B", "Size A", "Size B", "Error A", "Error B", "B to A"].map(number),
  ];
  return markup`<section>
<h2>Layers</h2>
${tableOf("Layers of both runs", columns, rows)}
</section>`;
}
