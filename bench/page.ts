/**
 * What a job takes in the page beside the command line on the same runtime, with as many workers.
 *
 * @module
 */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stop } from "esbuild";
import type { Report } from "../src/report/report.ts";
import { PATIENCE, Site } from "../tests/helpers/page.ts";
import { drawPngs } from "../tests/helpers/pngs.ts";
import { markdown, type Section } from "./run.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
/** A job for both. */
interface Job {
  readonly name: string;
  readonly model: string;
  /** A folder of images. */
  readonly data: string;
  /** Bits of weights, and the effort, as the page calls it. */
  readonly bits: string;
  readonly effort: "fast" | "usual";
  /** Times that both do it, in turns. */
  readonly rounds: number;
}

/** Seconds until there is a result, and those of the stages that both go through. */
interface Took {
  readonly whole: number;
  readonly stages: number;
}

/** Whole jobs in the page and on the command line, in turns. */
export async function page(): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), "attune-bench-page-"));
  const rows: string[][] = [];
  try {
    await using site = await Site.open();
    for (const job of await jobsIn(folder)) {
      const took: { page: Took; cli: Took }[] = [];
      for (let round = 0; round < job.rounds; round++) {
        took.push({
          page: await inPage(site, job),
          cli: await onCommandLine(job, join(folder, "out.onnx")),
        });
        console.error(job.name, took.at(-1));
      }
      const seconds = (["whole", "stages"] as const).flatMap((part) => {
        const page = median(took.map(({ page }) => page[part]));
        const cli = median(took.map(({ cli }) => cli[part]));
        return [page, cli, page / cli];
      });
      rows.push([job.name, ...seconds.map((value) => value.toFixed(2))]);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stop();
  }
  const columns = (what: string) => [`page, ${what}`, `command line, ${what}`, "ratio"];
  const head = ["job, seconds", ...columns("whole"), ...columns("stages")];
  return { title: "The page beside the command line", body: markdown(head, rows) };
}

async function jobsIn(folder: string): Promise<Job[]> {
  const shapes = join(folder, "shapes"), photos = join(folder, "photos");
  await drawPngs(join(root, "examples/shapes/calib"), shapes, 25);
  const jobs: Job[] = [{
    name: "shapes, 250 images, 4 bits",
    model: join(root, "examples/shapes/shapes.onnx"),
    data: shapes,
    bits: "4",
    effort: "usual",
    rounds: 3,
  }];
  const model = join(root, "../shared/models/mobilenetv2_224.onnx");
  if (!existsSync(model)) return jobs;
  await drawPngs(join(root, "../shared/data/imagenet"), photos, 16, ["calib"]);
  const name = "MobileNetV2, 16 images";
  return [
    ...jobs,
    { name: `${name}, 8 bits, nearest`, model, data: photos, bits: "8", effort: "fast", rounds: 1 },
    { name: `${name}, 4 bits`, model, data: photos, bits: "4", effort: "usual", rounds: 1 },
  ];
}

/** From the button to the result; predictions, which only the page makes, are part of it. */
async function inPage(site: Site, job: Job): Promise<Took> {
  const { page, context } = await site.visit();
  await page.getByLabel("Model: choose a file").setInputFiles(job.model);
  await page.getByLabel("Samples: choose a folder", { exact: true }).setInputFiles(job.data);
  await page.waitForSelector("#start:enabled", { timeout: PATIENCE });
  await page.selectOption("label:has-text('Bits of weights') select", job.bits);
  await page.selectOption("label:has-text('Effort') select", job.effort);
  // Coding lengths are measured in the background until then.
  await page.locator(".length", { hasText: "bits" }).last().waitFor({ timeout: PATIENCE });
  const started = performance.now();
  await page.click("#start");
  await page.waitForSelector("#result:not([hidden])", { timeout: 10 * PATIENCE });
  const whole = (performance.now() - started) / 1000;
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: "Report as JSON" }).click(),
  ]);
  const stages = stagesOf(readFileSync(await file.path(), "utf8"));
  await context.close();
  return { whole, stages };
}

/** From the start of the program to its end. */
async function onCommandLine(job: Job, output: string): Promise<Took> {
  const started = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", join(root, "quantize.ts"), job.model, "--data", job.data],
      ...["--bits", job.bits, "--json", "-o", output],
      ...job.effort === "fast" ? ["--rounding", "nearest"] : [],
    ],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  const whole = (performance.now() - started) / 1000;
  return { whole, stages: stagesOf(new TextDecoder().decode(stdout)) };
}

/** The seconds of all stages of a report. */
function stagesOf(json: string): number {
  const { stages } = JSON.parse(json) as Report;
  return stages.reduce((sum, { seconds }) => sum + seconds, 0);
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];
