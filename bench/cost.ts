/**
 * What quantization costs in time and memory, and that a seed decides the bytes.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BenchOptions,
  markdown,
  quantizeAndEvaluate,
  type Section,
  type Subject,
  subjects,
} from "./run.ts";
import { buildPackage } from "../scripts/npm.ts";

const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)}`;

/** Stage times and peak memory of whole jobs. */
export async function time(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  let stages: string[] = [];
  for (const subject of subjects(options)) {
    for (const activations of ["none", "8"]) {
      const flags = ["--bits", "4", "--activation-bits", activations];
      const { report, seconds } = await quantizeAndEvaluate(subject, flags, options);
      const spent = new Map(report.stages.map((stage) => [stage.name, stage.seconds]));
      stages = [...new Set([...stages, ...spent.keys()])];
      rows.push([
        subject.name,
        activations === "none" ? "W4" : "W4A8",
        `${report.samples.calibration}`,
        seconds.toFixed(0),
        mebibytes(report.peakMemory),
        ...stages.map((stage) => (spent.get(stage) ?? 0).toFixed(1)),
      ]);
      console.error(rows.at(-1)!.join("  "));
    }
  }
  const head = ["model", "bits", "samples", "seconds", "peak MiB", ...stages];
  return {
    title: "Time and memory",
    body: markdown(head, rows.map((row) => [...row, ...head.slice(row.length).map(() => "0.0")])),
  };
}

/** Peak memory with 256 and with all samples. */
export async function memory(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    const peaks: number[] = [];
    for (const samples of [256, 1024]) {
      const flags = ["--bits", "4", "--activation-bits", "none"];
      const { report } = await quantizeAndEvaluate(subject, flags, { ...options, samples });
      peaks.push(report.peakMemory);
    }
    rows.push([subject.name, ...peaks.map(mebibytes), (peaks[1] / peaks[0]).toFixed(3)]);
    console.error(rows.at(-1)!.join("  "));
  }
  return {
    title: "Memory against samples",
    body: markdown(["model", "MiB, 256 samples", "MiB, 1,024 samples", "ratio"], rows),
  };
}

/**
 * Stage times with one worker and with two, and with the kernel's relaxed build: what each buys.
 */
export async function workers(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  for (const subject of subjects(options)) {
    const stages: Map<string, number>[] = [];
    for (const flags of [["--threads", "1"], ["--threads", "2"], ["--relaxed-simd"]]) {
      const job = ["--bits", "4", "--activation-bits", "none", ...flags];
      const { report } = await quantizeAndEvaluate(subject, job, options);
      stages.push(new Map(report.stages.map((stage) => [stage.name, stage.seconds])));
    }
    for (const [name, one] of stages[0]) {
      const [two, relaxed] = stages.slice(1).map((own) => own.get(name) ?? 0);
      const ratios = [one / two, two / relaxed].map((ratio) => ratio.toFixed(2));
      rows.push([
        subject.name,
        name,
        one.toFixed(1),
        two.toFixed(1),
        relaxed.toFixed(1),
        ...ratios,
      ]);
    }
    console.error(rows.slice(-stages[0].size).map((row) => row.join("  ")).join("\n"));
  }
  const head = ["model", "stage", "1 worker, s", "2 workers, s", "2, relaxed, s"];
  return {
    title: "Workers",
    body: markdown([...head, "1 / 2 workers", "strict / relaxed"], rows),
  };
}

/** The same job on Deno (twice, with one and two workers) and on Node. */
export async function determinism(options: BenchOptions): Promise<Section> {
  const rows: string[][] = [];
  const folder = join(tmpdir(), `attune-bench-${crypto.randomUUID()}`);
  await buildPackage(folder);
  try {
    await run(Deno.execPath(), ["install", "--node-modules-dir=auto"], folder);
    for (const subject of subjects(options)) {
      const deno = ["run", "-A", new URL("../quantize.ts", import.meta.url).pathname];
      const runs: [string, string, string[]][] = [
        ["Deno, 1 worker", Deno.execPath(), [...deno, "--threads", "1"]],
        ["Deno, 2 workers", Deno.execPath(), [...deno, "--threads", "2"]],
        ["Node, 2 workers", "node", [join(folder, "cli.js"), "--threads", "2"]],
      ];
      for (const [name, program, args] of runs) {
        const output = join(folder, "out.onnx");
        await run(program, [...args, ...jobOf(subject), "-o", output], folder);
        const digest = createHash("sha256").update(readFileSync(output)).digest("hex");
        rows.push([subject.name, name, digest.slice(0, 16)]);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { title: "Same seed, same bytes", body: markdown(["model", "run", "SHA-256"], rows) };
}

function jobOf({ model, calib, flags }: Subject): string[] {
  return [model, "--data", calib, ...flags, "--limit", "64", "--seed", "7"];
}

async function run(program: string, args: string[], cwd: string): Promise<void> {
  const { code, stderr } = await new Deno.Command(program, { args, cwd, stderr: "piped" }).output();
  if (code !== 0) throw new Error(`${program} ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}
