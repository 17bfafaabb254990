/**
 * What a job takes in the page beside the command line on the same runtime, with as many workers.
 *
 * @module
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stop } from "esbuild";
import { PATIENCE, Site } from "../tests/helpers/page.ts";
import { drawPngs } from "../tests/helpers/pngs.ts";
import { markdown, type Section } from "./run.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
/** Times that both do each job, in turns. */
const ROUNDS = 3;

/** A job for both. */
interface Job {
  readonly name: string;
  readonly model: string;
  /** A folder of images. */
  readonly data: string;
  /** Bits of weights, and the effort, as the page calls it. */
  readonly bits: string;
  readonly effort: "fast" | "usual";
}

/** Whole jobs in the page and on the command line, in turns. */
export async function page(): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), "attune-bench-page-"));
  const rows: string[][] = [];
  try {
    await using site = await Site.open();
    for (const job of await jobsIn(folder)) {
      const times: { readonly page: number[]; readonly cli: number[] } = { page: [], cli: [] };
      let workers = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const { seconds, cores } = await inPage(site, job);
        workers = Math.min(8, cores);
        times.page.push(seconds);
        times.cli.push(await onCommandLine(job, workers, join(folder, "out.onnx")));
        console.error(job.name, times);
      }
      const [page, cli] = [median(times.page), median(times.cli)];
      const cells = [page, cli, page / cli].map((value) => value.toFixed(2));
      rows.push([job.name, `${workers}`, ...cells]);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stop();
  }
  const head = ["job", "workers", "page, s", "command line, s", "ratio"];
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
  }];
  const model = join(root, "../shared/models/mobilenetv2_224.onnx");
  if (!existsSync(model)) return jobs;
  await drawPngs(join(root, "../shared/data/imagenet"), photos, 16, ["calib"]);
  const name = "MobileNetV2, 16 images";
  return [
    ...jobs,
    { name: `${name}, 8 bits, nearest`, model, data: photos, bits: "8", effort: "fast" },
    { name: `${name}, 4 bits`, model, data: photos, bits: "4", effort: "usual" },
  ];
}

/** Seconds from the button to the result; predictions, which only the page makes, are in it. */
async function inPage(site: Site, job: Job): Promise<{ seconds: number; cores: number }> {
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
  const seconds = (performance.now() - started) / 1000;
  const cores = await page.evaluate(() => navigator.hardwareConcurrency);
  await context.close();
  return { seconds, cores };
}

/** Seconds of the program, its start included. */
async function onCommandLine(job: Job, workers: number, output: string): Promise<number> {
  const started = performance.now();
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", join(root, "quantize.ts"), job.model, "--data", job.data],
      ...["--bits", job.bits, "--threads", `${workers}`, "-o", output],
      ...job.effort === "fast" ? ["--rounding", "nearest"] : [],
    ],
    stderr: "piped",
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return (performance.now() - started) / 1000;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];
