/**
 * What the formats cost: bytes of a file against the sum of its bits, time to open it, its first
 * run and the later ones, as ratios to the float model. One thread; files take turns, medians
 * count.
 *
 * @module
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plan, readModel } from "../mod.ts";
import { sizeOf } from "../src/onnx/tensor.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Runtime, Session, Value } from "../src/runtime/session.ts";
import { type BenchOptions, markdown, quantizeTo, type Section, subjects } from "./run.ts";

/** The files of each model; the first one is the float model itself. */
const FILES: readonly (readonly [name: string, ...flags: string[]])[] = [
  ["float"],
  ["W8A8 qdq", "--bits", "8"],
  ["W4A8 qdq", "--bits", "4"],
  ["W3A8 packed", "--bits", "3", "--format", "packed"],
  ["W4A8 packed", "--bits", "4", "--format", "packed"],
  ["W4 packed", "--bits", "4", "--format", "packed", "--activation-bits", "none"],
];
/** Times that each file is opened and run for the first time, and that it runs afterwards. */
const OPENINGS = 5, RUNS = 21;
/** Samples to calibrate on, at most: levels and ranges do not change the time that a file takes. */
const SAMPLES = 32;
/**
 * The fastest way to a file that still computes something: what saturates runs at another speed.
 */
const QUICK = ["--candidates", "1"];

/** Sizes and times of every format. */
export async function formats(options: BenchOptions): Promise<Section> {
  const backends = [await loadBackend("web"), await loadBackend("node")];
  const rows: string[][] = [];
  const folder = mkdtempSync(join(tmpdir(), "attune-bench-"));
  try {
    for (const subject of subjects(options)) {
      const files: { name: string; bytes: Uint8Array; sum?: number }[] = [];
      for (const [name, ...flags] of FILES) {
        const path = flags.length > 0 ? join(folder, "file.onnx") : subject.model;
        const report = flags.length > 0
          ? await quantizeTo(subject, path, [...flags, ...QUICK], {
            ...options,
            samples: Math.min(SAMPLES, options.samples),
          })
          : undefined;
        files.push({ name, bytes: readFileSync(path), sum: report?.size.after });
      }
      const feeds = feedsOf(subject.model);
      const times: Times[][] = [];
      for (const runtime of backends) {
        times.push(await measure(runtime, files.map(({ bytes }) => bytes), feeds));
      }
      files.forEach(({ name, bytes, sum }, i) => {
        const over = sum && bytes.length - sum;
        rows.push([
          subject.name,
          name,
          `${Math.round(bytes.length / 1000)}`,
          over === undefined ? "" : `${(over / 1000).toFixed(1)}`,
          over === undefined ? "" : `${(100 * over / sum!).toFixed(1)} %`,
          ...times.flatMap((each) => cells(each, i)),
        ]);
        console.error(rows.at(-1)!.join("  "));
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const phases = ["open", "first run", "run"];
  const head = [
    "model",
    "file",
    "kB",
    "kB above its bits",
    "",
    ...["web", "node"].flatMap((name) => phases.map((phase) => `${name}: ${phase}`)),
  ];
  return { title: "Formats", body: markdown(head, rows) };
}

/** Milliseconds of one file on one runtime. */
interface Times {
  readonly open: number;
  readonly first: number;
  readonly run: number;
}

/** Noise in the shape of one sample. */
function feedsOf(path: string): Record<string, Value> {
  const { inputs } = plan(readModel(path)).graph;
  return Object.fromEntries(inputs.map(({ name, dims }) => {
    const known = dims.map((dim) => typeof dim === "number" ? dim : 1);
    const data = Float32Array.from({ length: sizeOf(known) }, (_, i) => Math.sin(i));
    return [name, { type: "float32", dims: known, data }];
  }));
}

/** Times of all `files`, which take turns. */
async function measure(
  runtime: Runtime,
  files: readonly Uint8Array[],
  feeds: Record<string, Value>,
): Promise<Times[]> {
  const times = files.map(() => ({
    open: [] as number[],
    first: [] as number[],
    run: [] as number[],
  }));
  const timed = async <T>(into: number[], work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    into.push(performance.now() - start);
    return result;
  };
  // The runtime itself starts with its first session.
  await (await runtime.open(files[0])).release();
  for (let i = 0; i < OPENINGS; i++) {
    for (const [f, bytes] of files.entries()) {
      const session = await timed(times[f].open, () => runtime.open(bytes));
      await timed(times[f].first, () => session.run(feeds));
      await session.release();
    }
  }
  const sessions: Session[] = [];
  for (const bytes of files) sessions.push(await runtime.open(bytes));
  for (let i = 0; i < RUNS; i++) {
    for (const [f, session] of sessions.entries()) {
      await timed(i === 0 ? [] : times[f].run, () => session.run(feeds));
    }
  }
  for (const session of sessions) await session.release();
  return times.map(({ open, first, run }) => ({
    open: median(open),
    first: median(first),
    run: median(run),
  }));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Milliseconds of the float model, and what the others take relative to it. */
function cells(times: readonly Times[], i: number): string[] {
  const [float] = times;
  return (["open", "first", "run"] as const).map((phase) =>
    i === 0 ? `${float[phase].toFixed(1)} ms` : (times[i][phase] / float[phase]).toFixed(2)
  );
}
