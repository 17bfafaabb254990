/**
 * Size against accuracy: the plot of the README. Every point is a file that was written, opened
 * again and evaluated.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import {
  type BenchOptions,
  FIGURES,
  figures,
  markdown,
  quantizeAndEvaluate,
  type Section,
  type Subject,
  subjects,
} from "./run.ts";

/** What is compared: a colour, and flags for each point. */
const SERIES: readonly {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly string[])[];
}[] = [
  {
    name: "rounding to nearest",
    colour: "#9498a0",
    points: ["8", "6", "5", "4", "3"].map((bits) => ["--bits", bits, "--rounding", "nearest"]),
  },
  {
    name: "attune, one width",
    colour: "#4269d0",
    points: ["8", "6", "5", "4", "3", "2"].map((bits) => ["--bits", bits]),
  },
  {
    name: "attune, bits by coding length",
    colour: "#ff725c",
    points: ["5", "4", "3.5", "3", "2.5"].map((bits) => ["--average-bits", bits]),
  },
];

interface Point {
  readonly series: number;
  readonly bytes: number;
  readonly top1: number;
}

/** Packed files of all sizes, weights only; and a panel for each model. */
export async function pareto(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const panels: { subject: Subject; points: Point[] }[] = [];
  for (const subject of subjects(options)) {
    const points: Point[] = [];
    for (const [series, { name, points: all }] of SERIES.entries()) {
      for (const flags of all) {
        const { report, evaluation } = await quantizeAndEvaluate(
          subject,
          [...flags, "--activation-bits", "none", "--format", "packed"],
          options,
        );
        const bytes = report.file.after;
        points.push({ series, bytes, top1: evaluation.top1! });
        const kilobytes = (bytes / 1000).toFixed(0);
        rows.push([subject.name, name, flags[1], kilobytes, ...figures(evaluation)]);
        console.error(rows.at(-1)!.join("  "));
      }
    }
    panels.push({ subject, points });
  }
  writeFileSync(new URL("pareto.svg", import.meta.url), plot(panels));
  return {
    title: "Size against accuracy",
    body: `Weights only, packed files, first and last layers 8 bits.\n\n${
      markdown(["model", "method", "bits", "kB", ...FIGURES], rows)
    }\n\n![size against accuracy](pareto.svg)`,
  };
}

/** One panel beside another: bytes on a logarithmic axis, top-1 below the float model's upwards. */
function plot(panels: readonly { subject: Subject; points: readonly Point[] }[]): string {
  const width = 380, height = 260, left = 48, top = 46, below = 36, lost = 20;
  const parts = SERIES.map(({ name, colour }, i) =>
    `<text x="${left + i * 200}" y="18" fill="${colour}">● ${name}</text>`
  );
  for (const [i, { subject, points }] of panels.entries()) {
    const from = i * (width + 10) + left, inner = width - left - 10;
    const sizes = points.map(({ bytes }) => Math.log(bytes));
    const least = Math.min(...sizes), most = Math.max(...sizes);
    const x = (bytes: number) =>
      from + 8 + (inner - 16) * (Math.log(bytes) - least) / Math.max(1e-9, most - least);
    // What lost more than the panel shows lies on its floor.
    const y = (top1: number) => top + height * Math.min(1, (subject.top1 + 1 - top1) / (lost + 1));
    parts.push(`<text x="${from}" y="${top - 8}" font-weight="bold">${subject.name}</text>`);
    for (let drop = 0; drop <= lost; drop += 5) {
      const at = y(subject.top1 - drop);
      parts.push(
        `<line x1="${from}" x2="${from + inner}" y1="${at}" y2="${at}" stroke="#ddd"/>`,
        `<text x="${from - 6}" y="${at + 4}" text-anchor="end">${
          drop === 0 ? "float" : `−${drop}`
        }</text>`,
      );
    }
    for (const share of [0, 1 / 3, 2 / 3, 1]) {
      const bytes = Math.exp(least + share * (most - least));
      const text = bytes < 1e6
        ? `${(bytes / 1e3).toFixed(0)} kB`
        : `${(bytes / 1e6).toFixed(1)} MB`;
      parts.push(
        `<text x="${x(bytes)}" y="${top + height + 18}" text-anchor="middle">${text}</text>`,
      );
    }
    for (const [s, { colour }] of SERIES.entries()) {
      const own = points.filter(({ series }) => series === s);
      const at = own.map(({ bytes, top1 }) => `${x(bytes).toFixed(1)},${y(top1).toFixed(1)}`);
      parts.push(
        `<polyline points="${at.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
        ...at.map((point) => {
          const [cx, cy] = point.split(",");
          return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
        }),
      );
    }
  }
  const all = Math.max(left + SERIES.length * 200, panels.length * (width + 10) + 10);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${all} ${
    top + height + below
  }" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>` +
    `${parts.join("\n")}</svg>\n`;
}
