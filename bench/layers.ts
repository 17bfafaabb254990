/**
 * The ablation that sets the defaults of rounding: the loss of every layer of every model, relative
 * to rounding to nearest, at 2, 3 and 4 bits.
 *
 * Statistics are the float model's own, without the float-target shift, so that layers can be
 * compared one by one. Rows of a layer are independent, so at most {@linkcode ROWS} of each are
 * rounded.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { batchSizeFor, profile } from "../src/forward/batches.ts";
import { stackSamples } from "../src/forward/batching.ts";
import { type LayerSums, momentsOf } from "../src/engine/statistics.ts";
import { extract } from "../src/graph/extract.ts";
import { readModel } from "../src/onnx/file.ts";
import { sessionBytes } from "../src/onnx/session_bytes.ts";
import { typeNamed } from "../src/onnx/tensor.ts";
import { levelWindows } from "../src/weights/levels.ts";
import type { RoundingMethod } from "../src/round/methods.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import type { LayerPlan } from "../src/weights/layer.ts";
import { readWeight } from "../src/weights/matrix.ts";
import type { Problem } from "../src/round/problem.ts";
import type { Solution } from "../src/round/solve.ts";
import type { EnginePool } from "../src/workers/pool.ts";
import { startPool } from "../src/workers/start.ts";
import { openSamples } from "../src/samples/open.ts";
import type { Sample } from "../src/samples/sample.ts";
import { type BenchOptions, markdown, type Section, type Subject, subjects } from "./run.ts";

/** Rows of a layer that are rounded, at most. */
const ROWS = 64;
/** Iterations of the gradient form. */
const ITERATIONS = 300;

const attention = (candidates: number): RoundingMethod => ({ kind: "attention", candidates });
const gradient = (tau: number): RoundingMethod => ({
  kind: "attention:gradient",
  tau,
  iterations: ITERATIONS,
});
/** What is compared with rounding to nearest; the grid of that is symmetric. */
const METHODS: readonly (readonly [name: string, method: RoundingMethod, symmetric?: boolean])[] = [
  ["K = 16, symmetric", attention(16), true],
  ["K = 1", attention(1)],
  ["K = 4", attention(4)],
  ["K = 16", attention(16)],
  ["K = 64", attention(64)],
  ["gradient, τ 0.1", gradient(0.1)],
  ["gradient, τ 0.25", gradient(0.25)],
  ["gradient, τ 0.5", gradient(0.5)],
  ["gradient, τ 1", gradient(1)],
];
const WIDTHS = [4, 3, 2];

/**
 * The loss of every layer by every method, summed up per model and width; and a plot of all layers.
 */
export async function layers(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const points: { model: string; bits: number; ratios: number[] }[] = [];
  for (const subject of subjects(options)) {
    using pool = await startPool({ backend: options.backend as "web" | "node" });
    const problems = await problemsOf(subject, pool, options.samples);
    for (const bits of WIDTHS) {
      const spent = METHODS.map(() => 0);
      const ratios = await pool.run(problems.map((make) => async (client) => {
        const own: number[] = [];
        for (const [m, [, method, symmetric = false]] of METHODS.entries()) {
          const start = performance.now();
          const { error }: Solution = await client.call("solve", [make(bits, method, symmetric)]);
          spent[m] += (performance.now() - start) / 1000;
          own.push(error.nearest > 0 ? error.final / error.nearest : 1);
        }
        points.push({ model: subject.name, bits, ratios: own });
        return own;
      }));
      // The geometric mean: ratios of a layer say the same from either side.
      const mean = (m: number) =>
        Math.exp(ratios.reduce((sum, own) => sum + Math.log(own[m]), 0) / ratios.length);
      const cells = METHODS.map((_, m) => mean(m).toFixed(3));
      rows.push([subject.name, `${ratios.length}`, `${bits}`, ...cells]);
      rows.push(["", "", "seconds", ...spent.map((seconds) => seconds.toFixed(1))]);
      console.error(rows.slice(-2).map((row) => row.join("  ")).join("\n"));
    }
  }
  writeFileSync(new URL("layers.svg", import.meta.url), plot(points));
  const head = ["model", "layers", "bits", ...METHODS.map(([name]) => name)];
  return {
    title: "Loss of a layer, rounding to nearest being 1",
    body:
      `Geometric means over all layers; ${ITERATIONS} iterations of the gradient form; at most ${ROWS} ` +
      `rows of a layer. Under each row the seconds it took.\n\n${markdown(head, rows)}\n\n` +
      "![every layer, by method and width](layers.svg)",
  };
}

/** The problem of a layer at a width, by a method. */
export type MakeProblem = (bits: number, method: RoundingMethod, symmetric?: boolean) => Problem;

/** The rounding problems of all layers of a model, from the statistics of its float inputs. */
export async function problemsOf(
  { model: path, calib, flags }: Subject,
  pool: EnginePool,
  limit: number,
): Promise<MakeProblem[]> {
  const made = makePlan(readModel(path), { activationBits: "none", format: "float", edgeBits: 2 });
  const preset = flags[flags.indexOf("--preprocess") + 1] as "imagenet" | "signed";
  const preprocess = { preset, resize: "none" } as const;
  const set = await openSamples(calib, { inputs: made.graph.inputs, preprocess, limit });
  const samples: Sample[] = [];
  for await (const sample of set.samples()) samples.push(sample);
  const specs = made.graph.inputs, axes = new Map(specs.map(({ name }) => [name, 0]));
  const first = stackSamples({ inputs: specs, axes }, samples.slice(0, 1));
  const size = batchSizeFor(await profile(made, first, pool), 1);
  const batches = Math.ceil(samples.length / size);
  const [client] = pool.clients;
  for (let i = 0; i < batches; i++) {
    const batch = stackSamples({ inputs: specs, axes }, samples.slice(i * size, (i + 1) * size));
    await client.call("load", [0, batch]);
  }
  const inputs = new Map(
    Object.entries(first).map(([name, { type }]) => [name, typeNamed(type)]),
  );
  const fed = new Set(inputs.keys());
  const outputs = [
    ...new Set(made.layers.flatMap(({ target }) => [target.input, target.output])),
  ].filter((name) => !fed.has(name));
  const part = extract(made.model, { inputs, outputs });
  await client.call("open", ["float", sessionBytes(part), { simulate: true }]);
  const wanted = made.layers.map(({ target }, l) => ({
    shape: target,
    input: target.input,
    output: target.output,
    gramTile: target.depth,
    cross: false,
    paired: true,
    positions: Math.ceil(Math.max(16384, 16 * target.depth) / batches),
    seed: l,
  }));
  const sums: LayerSums[] = await client.call("collect", [
    0,
    "float",
    "float",
    wanted,
    "quantized",
  ]);
  await client.call("close", []);
  return made.layers.map((layer, l) => problemMaker(made, layer, l, sums[l]));
}

function problemMaker(made: Plan, { target }: LayerPlan, l: number, sums: LayerSums): MakeProblem {
  const { groups, rows, depth } = target;
  const { gram } = momentsOf([sums], target, { centred: true });
  const weight = readWeight(made.graph, target);
  // Groups with one row or rows of the only group, evenly spread.
  const all = groups > 1 ? groups : rows,
    count = Math.max(1, Math.min(all, Math.floor(ROWS / (groups > 1 ? rows : 1))));
  const chosen = Array.from({ length: count }, (_, i) => Math.floor(i * all / count));
  const take = (values: Float32Array, width: number) => {
    const out = new Float32Array(count * width);
    chosen.forEach((from, i) =>
      out.set(values.subarray(from * width, (from + 1) * width), i * width)
    );
    return out;
  };
  const shared = {
    groups: groups > 1 ? count : 1,
    rows: groups > 1 ? rows : count,
    depth,
    gramTile: depth,
    groupSize: depth,
    oneScale: false,
    weight: take(weight, groups > 1 ? rows * depth : depth),
    gram: groups > 1 ? take(gram, depth * depth) : gram,
    damping: 0.01,
    refit: true,
    seed: 0,
    stream: l * 2 ** 20,
  };
  return (bits, method, symmetric = false) => ({
    ...shared,
    method,
    windows: levelWindows(bits, symmetric),
    grid: { kind: "uniform" },
  });
}

/**
 * Every layer as a point: methods side by side, a panel per width, the loss on a logarithmic axis.
 */
function plot(points: readonly { model: string; bits: number; ratios: number[] }[]): string {
  const models = [...new Set(points.map(({ model }) => model))];
  const colours = ["#4269d0", "#efb118", "#ff725c", "#3ca951"];
  const panel = 250, column = 90, left = 60, top = 40, least = 0.005;
  const width = left + METHODS.length * column + 10;
  const y = (ratio: number) => panel * Math.log(1 / Math.max(ratio, least)) / Math.log(1 / least);
  const parts: string[] = models.map((model, i) =>
    `<text x="${left + i * 160}" y="20" fill="${colours[i % 4]}">● ${model}</text>`
  );
  for (const [b, bits] of WIDTHS.entries()) {
    const from = top + b * (panel + 40);
    parts.push(`<text x="5" y="${from + 12}">${bits} bits</text>`);
    for (const tick of [1, 0.3, 0.1, 0.03, 0.01]) {
      const at = from + y(tick);
      parts.push(
        `<line x1="${left}" x2="${width - 10}" y1="${at}" y2="${at}" stroke="#ccc"/>`,
        `<text x="${left - 5}" y="${at + 4}" text-anchor="end">${tick}</text>`,
      );
    }
    const own = points.filter((point) => point.bits === bits);
    own.forEach(({ model, ratios }, i) => {
      const colour = colours[models.indexOf(model) % 4];
      ratios.forEach((ratio, m) => {
        const x = left + m * column + 10 + (column - 20) * i / own.length;
        parts.push(
          `<circle cx="${x.toFixed(1)}" cy="${
            (from + y(ratio)).toFixed(1)
          }" r="1.8" fill="${colour}"/>`,
        );
      });
    });
    METHODS.forEach(([name], m) =>
      parts.push(
        `<text x="${left + (m + 0.5) * column}" y="${
          from + panel + 18
        }" text-anchor="middle">${name}</text>`,
      )
    );
  }
  const height = top + WIDTHS.length * (panel + 40);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
    `font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>` +
    `${parts.join("\n")}</svg>\n`;
}
