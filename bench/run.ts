/**
 * Runs the command line as a user would, and reads what it says.
 *
 * @module
 */

import { existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Evaluation } from "../src/evaluate/metrics.ts";
import type { Report } from "../src/report/report.ts";

/** What a section of the bench is asked for. */
export interface BenchOptions {
  /** Calibration samples, at most. */
  readonly samples: number;
  /** The runtime. */
  readonly backend: string;
  /** Names of models. Default: all. */
  readonly models?: readonly string[];
  /** Time budgets, as the command line takes them. Default: 2m, 5m, 10m. */
  readonly budgets?: readonly string[];
  /** Widths, as W4A8. Default: all of a section. */
  readonly widths?: readonly string[];
}

/** A section of the results. */
export interface Section {
  /** Its heading. */
  readonly title: string;
  /** Markdown. */
  readonly body: string;
}

/** A model of ../shared with its data. */
export interface Subject {
  /** What tables call it. */
  readonly name: string;
  /** The model's path. */
  readonly model: string;
  /** Folders of images. */
  readonly calib: string;
  /** Folders of images. */
  readonly val: string;
  /** How images become inputs. */
  readonly flags: readonly string[];
  /** Float top-1 on val, as ../shared says. */
  readonly top1: number;
}

const root = fileURLToPath(new URL("../", import.meta.url));
const shared = join(root, "../shared");

function subject(name: string, data: string, preprocess: string, top1: number): Subject {
  return {
    name: name.replace(/_(224|cifar10)$/, ""),
    model: join(shared, "models", `${name}.onnx`),
    calib: join(shared, "data", data, "calib"),
    val: join(shared, "data", data, "val"),
    flags: ["--preprocess", preprocess, "--resize", "none"],
    top1,
  };
}

/** The models that are there, of those asked for. */
export function subjects({ models }: BenchOptions): Subject[] {
  return [
    subject("resnet20_cifar10", "cifar10", "imagenet", 88.05),
    subject("mobilenetv2_224", "imagenet", "imagenet", 78.15),
    subject("mobilenet_v1_0.75_224", "imagenet", "signed", 77.23),
    subject("squeezenet1.1_224", "imagenet", "imagenet", 70.15),
  ].filter(({ name, model }) => existsSync(model) && (models?.includes(name) ?? true));
}

/** Runs attune with `args`; returns what it prints as JSON. */
async function attune<T>(args: readonly string[]): Promise<T> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", join(root, "quantize.ts"), ...args, "--json"],
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  if (code !== 0) throw new Error(`attune ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** What became of a model. */
export interface Outcome {
  /** The report of the run. */
  readonly report: Report & { readonly file: { readonly before: number; readonly after: number } };
  /** The written file against the float model. */
  readonly evaluation: Evaluation;
  /** Seconds of the quantization as a whole, start of the program included. */
  readonly seconds: number;
}

/** Quantizes a model with `flags` into the file `output`. */
export function quantizeTo(
  subject: Subject,
  output: string,
  flags: readonly string[],
  { samples, backend }: BenchOptions,
): Promise<Outcome["report"]> {
  return attune([
    "quantize",
    subject.model,
    "--data",
    subject.calib,
    ...subject.flags,
    "--limit",
    String(samples),
    "--backend",
    backend,
    ...flags,
    "-o",
    output,
  ]);
}

/**
 * Quantizes a model with `flags` and evaluates the written file; `onFile` may look at it before it
 * is removed.
 */
export async function quantizeAndEvaluate(
  subject: Subject,
  flags: readonly string[],
  options: BenchOptions,
  onFile: (path: string) => Promise<void> = () => Promise.resolve(),
): Promise<Outcome> {
  const output = join(tmpdir(), `attune-bench-${crypto.randomUUID()}.onnx`);
  try {
    const start = performance.now();
    const report = await quantizeTo(subject, output, flags, options);
    const seconds = (performance.now() - start) / 1000;
    const evaluation = await evaluateFile(subject, output, options);
    await onFile(output);
    return { report, evaluation, seconds };
  } finally {
    rmSync(output, { force: true });
  }
}

/** Evaluates a file against the subject's float model. */
export function evaluateFile(
  subject: Subject,
  path: string,
  { backend }: BenchOptions,
): Promise<Evaluation> {
  const reference = path === subject.model ? [] : ["--reference", subject.model];
  return attune([
    "evaluate",
    path,
    ...reference,
    "--data",
    subject.val,
    ...subject.flags,
    "--backend",
    backend,
  ]);
}

/** A Markdown table. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** Top-1, its change with the 95 % interval, agreement, relative output error: cells of a table. */
export function figures({ top1, reference, agreement, mse, interval }: Evaluation): string[] {
  const [low, high] = interval.top1!;
  return [
    top1!.toFixed(2),
    `${(top1! - reference.top1!).toFixed(2)} (${low.toFixed(2)} … ${high.toFixed(2)})`,
    agreement.toFixed(1),
    mse.toFixed(4),
  ];
}

/** The heads of {@linkcode figures}. */
export const FIGURES = ["top-1", "change (95 %)", "agreement", "output error"];
