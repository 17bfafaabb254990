/** The page, as a visitor uses it, in a real browser. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { stop } from "esbuild";
import { zipSync } from "fflate";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { parseModel } from "../src/core.ts";
import { MOST_BYTES, pageBytes } from "../web/build.ts";
import { CHROMIUM } from "./helpers/chromium.ts";
import { contrasts } from "./helpers/contrasts.ts";
import { attune, inFolder, root } from "./helpers/command_line.ts";
import { drawPngs } from "./helpers/pngs.ts";
import {
  download,
  keptSizes,
  openExample,
  PATIENCE,
  ready,
  result,
  Site,
  until,
} from "./helpers/page.ts";

if (CHROMIUM === undefined) console.log("skipped: the tests of the page need Chromium");
const SHARED = join(root, "../shared");
const MOBILENET = join(SHARED, "models/mobilenetv2_224.onnx");
const IMAGENET = join(SHARED, "data/imagenet/calib");
if (!existsSync(MOBILENET)) console.log("skipped: the page on MobileNetV2 needs ../shared");

/** What must hold of the page, with the name of each. */
const STEPS: readonly (readonly [name: string, ignore: boolean, (site: Site) => Promise<void>])[] =
  [
    ["the page has at most 400 kB without onnxruntime and the example", false, isSmall],
    ["from the example to a model, with the network gone", false, wholePath],
    ["a job that is cancelled leaves the page ready for the next", false, cancel],
    ["a bad file is told in place, and the page goes on", false, badFiles],
    ["samples as arrays, with labels", false, arrays],
    ["a reload in the middle resumes and ends with the same bytes", false, resume],
    ["a phone's screen of 360 pixels, by the keyboard alone", false, phoneAndKeyboard],
    ["bits chosen by layer and by the slider give the command line's bytes", false, sameBytes],
    ["colours have the contrast of WCAG AA, light and dark", false, contrast],
    ["MobileNetV2 on photographs", !existsSync(MOBILENET), mobilenet],
  ];

Deno.test({
  name: "the page in Chromium",
  ignore: CHROMIUM === undefined,
  // esbuild and Chromium are processes that outlive a step of the test.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    await using site = await Site.open();
    for (const [name, ignore, run] of STEPS) {
      await t.step({ name, ignore, fn: () => run(site) });
    }
    await stop();
  },
});

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function isSmall({ files }: Site): Promise<void> {
  const names = files.filter(({ gzip }) => gzip !== undefined).map(({ name }) => name);
  assert(["index.html", "main.js", "job.js", "engine.js"].every((name) => names.includes(name)));
  assert(pageBytes(files) <= MOST_BYTES, `${pageBytes(files)} bytes`);
  return Promise.resolve();
}

/** The bytes that the example gives with default options. */
let exampleBytes = "";

async function wholePath(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  // Long tasks of the main thread, for whoever reads the log.
  await page.evaluate(() => {
    const seen: number[] = [];
    Object.assign(globalThis, { longTasks: seen });
    new PerformanceObserver((list) => seen.push(...list.getEntries().map((e) => e.duration)))
      .observe({ type: "longtask" });
  });
  const loaded = [...site.requests], asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  await context.setOffline(true);
  await openExample(page);
  assertEquals(await page.locator(".plan tbody tr").count(), 10);
  await page.locator(".length", { hasText: "bits" }).nth(9).waitFor();
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  const bytes = await result(page);
  exampleBytes = sha256(bytes);
  const longTasks = await page.evaluate(() =>
    (globalThis as unknown as { longTasks: number[] }).longTasks
  );
  console.log(`the main thread's longest task: ${Math.max(0, ...longTasks)} ms`);
  const model = parseModel(bytes, { name: "shapes.q.onnx" });
  assert(model.proto.metadataProps.some(({ key }) => key === "attune.version"));
  assert(bytes.length < 80_000, `${bytes.length} bytes`);
  const report = new TextDecoder().decode(await download(page, "Report"));
  assert(report.startsWith("<!doctype html>") && report.includes("conv_19"));
  const script = await download(page, "Script");
  await checkResult(page);
  assertEquals(asked.filter((url) => !url.startsWith("blob:")), [], "asked for after load");
  assertEquals(site.requests, loaded, "the server was asked after load");
  await context.setOffline(false);
  await runScript(await context.newPage(), site, script, bytes);
  await context.close();
}

/** Runs the script that the page gave, beside the model, on pictures of the example. */
async function runScript(
  page: Page,
  { url }: Site,
  script: Uint8Array,
  model: Uint8Array,
): Promise<void> {
  const images = join(root, "examples/shapes/val");
  const files: Record<string, string | Uint8Array> = {
    "index.html": `<script type="importmap">{"imports":{"onnxruntime-web":"/ort.js"}}</script>`,
    "shapes.js": script,
    "shapes.q.onnx": model,
  };
  await page.route("**/app/*", async (route) => {
    const body = files[new URL(route.request().url()).pathname.slice("/app/".length)];
    const contentType = body === script ? "text/javascript" : "text/html";
    await route.fulfill({ body: typeof body === "string" ? body : Buffer.from(body), contentType });
  });
  const wasm = "ort-wasm-simd-threaded.wasm";
  await page.route(
    `**/${wasm}`,
    async (route) => route.fulfill({ response: await route.fetch({ url: `${url}ort.wasm` }) }),
  );
  await page.goto(`${url}app/index.html`);
  const pictures = readdirSync(images).sort().flatMap((name) =>
    [0, 1].map((i) => readFileSync(join(images, name, `0${i}.webp`)).toString("base64"))
  );
  const answers = await page.evaluate(async (pictures) => {
    const name = "./shapes.js", { run } = await import(new URL(name, location.href).href);
    const answers: number[] = [];
    for (const text of pictures) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const scores: Float32Array = await run(new Blob([bytes], { type: "image/webp" }));
      answers.push(scores.indexOf(Math.max(...scores)));
    }
    return answers;
  }, pictures);
  const right = answers.filter((answer, i) => answer === i >> 1).length;
  assert(right >= 0.8 * pictures.length, `${right} of ${pictures.length}: ${answers}`);
}

/** The figures, the table that sorts, and the predictions of a result of the example. */
async function checkResult(page: Page): Promise<void> {
  const figures = await page.locator("#result .figures").textContent();
  assert(/Same answer as float\d+/.test(figures!) && /Right answers\d+/.test(figures!), figures!);
  assertEquals(await page.locator(".growth circle").count(), 10);
  // What is followed through the model ends at the error of its output.
  const label = await page.locator(".growth > svg").getAttribute("aria-label");
  const [end] = /[\d.]+(?= % at gemm_31)/.exec(label!)!;
  const [error] = /(?<=Output error)[\d.]+/.exec(figures!)!;
  const ratio = Number(end) / Number(error);
  assert(ratio > 1 / 3 && ratio < 3, `${end} % and ${error} %`);
  const errors = async () => {
    const cells = await page.locator(".layers tbody tr td:last-child").allTextContents();
    return cells.map((cell) => parseFloat(cell.replace("< ", "")));
  };
  const falling = await errors();
  assertEquals(falling, falling.toSorted((a, b) => b - a), "worst layers first");
  const head = page.locator(".layers th", { hasText: "Error" });
  assertEquals(await head.getAttribute("aria-sort"), "descending");
  await head.getByRole("button").click();
  assertEquals(await head.getAttribute("aria-sort"), "ascending");
  assertEquals(await errors(), falling.toReversed());
  const cards = page.locator(".prediction");
  assertEquals(await cards.count(), 24);
  await page.getByRole("button", { name: "Show more" }).click();
  assertEquals(await cards.count(), 48);
  const isShown = (image: Element) => (image as HTMLImageElement).naturalWidth === 32;
  await cards.first().locator("img").scrollIntoViewIfNeeded();
  await page.waitForFunction(isShown, await cards.first().locator("img").elementHandle());
}

async function cancel(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  await openExample(page);
  await page.selectOption("label:has-text('Effort') select", "thorough");
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  await page.locator(".stages li", { hasText: "Rounding layers" }).waitFor({ timeout: PATIENCE });
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator("#job-error", { hasText: "Cancelled" }).waitFor();
  assert(await page.locator("#result").isHidden());
  await until(async () => (await keptSizes(page)).length === 0, "nothing is kept of it");
  await page.selectOption("label:has-text('Effort') select", "fast");
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  await result(page);
  await context.close();
}

async function badFiles(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  const file = (name: string, text: string) => ({
    name,
    mimeType: "application/octet-stream",
    buffer: Buffer.from(text),
  });
  const model = page.getByLabel("Model: choose a file");
  const error = page.locator("#files-error");
  await model.setInputFiles(file("photo.onnx", "this is no model"));
  await error.filter({ hasText: /^Cannot .*photo\.onnx.*\.$/ }).waitFor();
  assert(await page.locator("#plan").isHidden());
  await openExample(page);
  await page.getByLabel("Samples: choose files", { exact: true })
    .setInputFiles(file("broken.png", "this is no image"));
  await error.filter({ hasText: /^Cannot use any of the 1 images.*\.$/ }).waitFor();
  await page.getByLabel("Samples: choose files", { exact: true })
    .setInputFiles(file("noise.npz", "this is no archive"));
  await error.filter({ hasText: /^Cannot .*noise\.npz.*\.$/ }).waitFor();
  await openExample(page);
  await context.close();
}

async function arrays(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  await page.getByLabel("Model: choose a file")
    .setInputFiles(join(root, "examples/shapes/shapes.onnx"));
  const values = Float32Array.from({ length: 20 * 3 * 32 * 32 }, (_, i) => Math.sin(i * i));
  const npz = zipSync({
    "image.npy": npy("<f4", [20, 3, 32, 32], values),
    "labels.npy": npy("<i4", [20], Int32Array.from({ length: 20 }, (_, i) => i % 10)),
  });
  await page.getByLabel("Samples: choose files", { exact: true })
    .setInputFiles({ name: "noise.npz", mimeType: "", buffer: Buffer.from(npz) });
  await ready(page);
  await page.selectOption("label:has-text('Effort') select", "fast");
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  await result(page);
  assertEquals(await page.locator(".prediction").count(), 20);
  assert(/is class \d;/.test((await page.locator(".prediction").first().textContent())!));
  assert((await page.textContent("#command"))!.includes("--data noise.npz "));
  await context.close();
}

/** A .npy file of `values`. */
function npy(
  descr: string,
  shape: readonly number[],
  values: Float32Array | Int32Array,
): Uint8Array {
  const head = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},)}`;
  const padded = `${head.padEnd(117)}\n`;
  const start = Uint8Array.from(`\x93NUMPY\x01\x00\x76\x00${padded}`, (c) => c.charCodeAt(0));
  return new Uint8Array([...start, ...new Uint8Array(values.buffer)]);
}

async function resume(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  await openExample(page);
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  const hasState = (sizes: number[]) => sizes.some((size) => size > 100);
  await until(async () => hasState(await keptSizes(page)), "the state of some layers is kept");
  assert(await page.locator("#result").isHidden(), "the job was over too soon");
  await site.reload(page);
  await page.locator("#saved", { hasText: "shapes.onnx" }).waitFor();
  await page.evaluate(() => {
    const seen: string[] = [];
    Object.assign(globalThis, { seen });
    new MutationObserver(() => seen.push(document.querySelector(".stages")!.textContent!))
      .observe(document.querySelector(".stages")!, { subtree: true, childList: true });
  });
  await page.getByRole("button", { name: "Resume" }).click();
  assertEquals(sha256(await result(page)), exampleBytes);
  const seen = await page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
  assert(seen.some((text) => text.includes("done before")), "nothing was begun anew");
  await page.locator(".prediction", { hasText: "is " }).first().waitFor();
  // A job that is done is not offered again.
  await site.reload(page);
  assert(await page.locator("#saved").isHidden());
  await context.close();
}

async function phoneAndKeyboard(site: Site): Promise<void> {
  const { page, context } = await site.visit({ viewport: { width: 360, height: 740 } });
  const width = () => page.evaluate(() => document.documentElement.scrollWidth);
  assertEquals(await width(), 360);
  /** Goes on by the tabulator until the focus is on `id`. */
  const tabTo = async (id: string) => {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement?.id) === id) return;
    }
    throw new Error(`the keyboard does not reach ${id}`);
  };
  await tabTo("example");
  await page.keyboard.press("Enter");
  await ready(page);
  assertEquals(await width(), 360);
  await tabTo("size");
  await page.keyboard.press("End");
  await page.locator("output", { hasText: /^1\d\d kB$/ }).waitFor();
  await page.keyboard.press("Home");
  await tabTo("start");
  await page.keyboard.press("Enter");
  assertEquals(await page.evaluate(() => document.activeElement?.id), "cancel");
  await result(page);
  assertEquals(await width(), 360);
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("input, select, button, progress, [role=img]")].filter((each) =>
      !each.getAttribute("aria-label") && !each.textContent?.trim() &&
      !(each as HTMLInputElement).labels?.length
    ).map((each) => each.outerHTML)
  );
  assertEquals(unnamed, [], "a screen reader has a name for each");
  await context.close();
}

async function sameBytes(site: Site): Promise<void> {
  await inFolder(async (folder) => {
    await drawPngs(join(root, "examples/shapes/calib"), join(folder, "images"), 2);
    const { page, context } = await site.visit();
    await page.getByLabel("Model: choose a file")
      .setInputFiles(join(root, "examples/shapes/shapes.onnx"));
    await page.getByLabel("Samples: choose a folder", { exact: true })
      .setInputFiles(join(folder, "images"));
    await ready(page);
    await page.locator("#size").fill("300");
    await page.locator(".by", { hasText: "by the slider" }).first().waitFor();
    await page.getByLabel("Bits of conv_3").selectOption("6");
    await page.locator(".by", { hasText: "by you" }).waitFor();
    await page.getByRole("button", { name: "Quantize", exact: true }).click();
    const bytes = await result(page);
    const command = (await page.locator("#command").textContent())!;
    assert(/--bits \d .*--override conv_3=6/.test(command), command);
    const args = command.split(" ").slice(2)
      .map((word) => word.replace("./images", join(folder, "images")))
      .map((word) => word === "shapes.onnx" ? join(root, "examples/shapes", word) : word)
      .map((word) => word === "shapes.q.onnx" ? join(folder, word) : word);
    const { code, stderr } = await attune(...args);
    assertEquals(code, 0, stderr);
    assertEquals(sha256(bytes), sha256(readFileSync(join(folder, "shapes.q.onnx"))));
    await context.close();
  });
}

async function contrast(site: Site): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    const { page, context } = await site.visit({ colorScheme });
    const ratios = await page.evaluate(contrasts);
    assertEquals(ratios.filter(([, ratio, least]) => ratio < least), [], colorScheme);
    await page.getByRole("button", { name: "Dark" }).click();
    const switched = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assertEquals(switched === "rgb(21, 22, 23)", colorScheme === "light");
    await context.close();
  }
}

async function mobilenet(site: Site): Promise<void> {
  const { page, context } = await site.visit();
  await page.getByLabel("Model: choose a file").setInputFiles(MOBILENET);
  const images = readdirSync(IMAGENET).filter((name) => name.endsWith(".jpg")).slice(0, 16);
  await page.getByLabel("Samples: choose files", { exact: true }).setInputFiles([
    ...images.map((name) => join(IMAGENET, name)),
    join(IMAGENET, "labels.csv"),
  ]);
  await ready(page);
  assertEquals(await page.locator(".plan tbody tr").count(), 53);
  await page.selectOption("label:has-text('Bits of weights') select", "8");
  await page.selectOption("label:has-text('Effort') select", "fast");
  await page.getByRole("button", { name: "Quantize", exact: true }).click();
  const bytes = await result(page);
  assert(bytes.length < 4_500_000, `${bytes.length} bytes`);
  const figures = await page.locator("#result .figures").textContent();
  // Of so few samples no percentage is told.
  const [, same, right] = /Same answer as float(\d+) of 16.*Right answers(\d+) of 16/.exec(
    figures!,
  )!;
  assert(Number(same) >= 13 && Number(right) >= 8, figures!);
  await context.close();
}
