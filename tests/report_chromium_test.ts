/** Pages of reports, sweeps and comparisons in a real browser, and what their style promises. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { createHash } from "node:crypto";
import { type Browser, chromium, type Page } from "playwright-core";
import { renderComparison } from "../src/report/comparison.ts";
import { renderReport } from "../src/report/html.ts";
import { readReport } from "../src/report/read_report.ts";
import type { Report } from "../src/report/report.ts";
import { SCRIPT, SCRIPT_DIGEST } from "../src/report/script.ts";
import { STYLE } from "../src/report/style.ts";
import { renderSweep } from "../src/report/sweep.ts";
import type { SweepPoint } from "../src/report/sweep_report.ts";
import { ordinal } from "../src/report/words.ts";
import { CHROMIUM } from "./helpers/chromium.ts";
import { LAYER, REPORT } from "./helpers/reports.ts";

if (CHROMIUM === undefined) console.log("skipped: pages of reports need Chromium");

const evaluation: SweepPoint["evaluation"] = {
  samples: 40,
  top1: 71.5,
  top5: 90,
  reference: { top1: 72, top5: 91 },
  agreement: 95,
  mse: 0.012,
  kl: 0.01,
  interval: { top1: [-2, 1], top5: [-1, 1], agreement: [90, 98], mse: [0.01, 0.02], kl: [0, 0.1] },
};
const SWEEP = renderSweep({
  version: "1.2.3",
  model: "a-model-with-a-rather-long-name.onnx",
  bytes: 4e6,
  seed: 0,
  samples: { calibration: 120, heldOut: 40 },
  points: Array.from({ length: 9 }, (_, i): SweepPoint => ({
    strategy: i < 4 ? "uniform" : "coding-length" as SweepPoint["strategy"],
    asked: 2 + i / 2,
    averageBits: 2 + i / 2,
    bytes: 500_000 + 100_000 * i,
    evaluation: { ...evaluation, mse: 0.1 / (i + 1) },
    best: i % 2 === 0,
    widths: {},
  })),
  stages: [{ name: "compare", seconds: 10 }],
});
const activation = { lo: -1, hi: 6, bits: 8, scale: 0.03, zeroPoint: 36, clipped: 0.01, spread: 7 };
const MANY: Report = {
  ...REPORT,
  options: { ...REPORT.options, nested: null },
  samples: { calibration: 100, heldOut: 40 },
  layers: Array.from({ length: 53 }, (_, i) => ({
    ...LAYER,
    name: `/features/features.${i}/conv/conv.0/Conv`,
    error: { nearest: 0.2, final: 0.1 / (i % 7 + 1) },
    activation,
    levels: { lo: -20, hi: 20 },
  })),
  tables: [{
    nodes: ["embed"],
    weight: "embedding.weight",
    shape: [30_000, 384],
    bits: 4,
    granularity: "group:32",
    bytesBefore: 4e7,
    bytesAfter: 6e6,
    error: 0.01,
  }],
  heldOut: {
    accuracy: { float: 72, quantized: 71, change: [-2.5, 0.5] },
    worst: [{ source: "a.png", index: 3, error: 0.2, answers: { float: 1, quantized: 2 } }],
  },
  nested: [{ bits: 4, bytes: 4e6, mse: null, agreement: null }],
  command: `attune ${"very-long-path/".repeat(20)}model.onnx`,
};
const PAGES: Readonly<Record<string, string>> = {
  report: renderReport(MANY),
  "small report": renderReport(REPORT),
  "unchecked report": renderReport({ ...REPORT, check: null, blocks: [], layers: [] }),
  sweep: SWEEP,
  "empty sweep": renderSweep({
    version: "1",
    model: "m",
    bytes: 1,
    seed: 0,
    samples: { calibration: 1, heldOut: 1 },
    points: [],
    stages: [],
  }),
  comparison: renderComparison(MANY, REPORT),
};

/** What must hold of pages, with the name of each. */
const STEPS: readonly (readonly [name: string, run: (browser: Browser) => Promise<void>])[] = [
  ["no page is wider than a phone of 360 pixels", fitsPhones],
  ["no page says null, undefined or NaN", saysNothingOdd],
  ["rows are sorted and filtered by the keyboard alone", sorts],
  ["a link to a layer opens its card", opensCards],
  ["53 layers take at most 5,500 pixels", staysShort],
];

Deno.test({
  name: "pages of reports in Chromium",
  ignore: CHROMIUM === undefined,
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu"],
    });
    try {
      for (const [name, run] of STEPS) await t.step(name, () => run(browser));
    } finally {
      await browser.close();
    }
  },
});

/** A page as it is opened from a file; what its policy forbids, or its script throws, fails. */
async function show(browser: Browser, html: string, width: number): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height: 800 } });
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.setContent(html);
  return page;
}

async function fitsPhones(browser: Browser): Promise<void> {
  for (const [name, html] of Object.entries(PAGES)) {
    const page = await show(browser, html, 360);
    assertEquals(await page.evaluate(() => document.documentElement.scrollWidth), 360, name);
    await page.close();
  }
}

async function saysNothingOdd(browser: Browser): Promise<void> {
  for (const [name, html] of Object.entries(PAGES)) {
    const page = await show(browser, html, 1000);
    const text = await page.evaluate(() => {
      document.querySelectorAll("details").forEach((details) => details.open = true);
      const labels = [...document.querySelectorAll("[aria-label]")]
        .map((element) => element.getAttribute("aria-label"));
      return document.body.innerText + labels.join(" ");
    });
    assertEquals(text.match(/\b(null|undefined|NaN|Infinity)\b|\[object/i), null, name);
    await page.close();
  }
}

async function sorts(browser: Browser): Promise<void> {
  const page = await show(browser, PAGES.report, 1000);
  const errors = () =>
    page.$$eval(
      "[aria-label=Layers] td.error",
      (cells) =>
        cells.filter((cell) => cell.checkVisibility())
          .map((cell) => Number((cell as HTMLElement).dataset.by)),
    );
  const head = page.locator("[aria-label=Layers] th.error");
  await head.getByRole("button").focus();
  await page.keyboard.press("Enter");
  assertEquals(await head.getAttribute("aria-sort"), "descending");
  const falling = await errors();
  assertEquals(falling, falling.toSorted((a, b) => b - a));
  await page.keyboard.press("Enter");
  assertEquals(await errors(), falling.toReversed());
  await page.getByLabel("Filter").first().fill("features.1/ conv");
  assertEquals((await errors()).length, 1);
  await page.close();
}

async function opensCards(browser: Browser): Promise<void> {
  const page = await show(browser, PAGES.report, 1000);
  assertEquals(await page.locator("#layer-5").isVisible(), false);
  await page.click("td a[href='#layer-5']");
  await page.locator("#layer-5").waitFor({ state: "visible" });
  const text = await page.locator("#layer-5").innerText();
  assert(text.includes("every 2nd level") && text.includes("together span 41"), text);
  await page.close();
}

async function staysShort(browser: Browser): Promise<void> {
  const page = await show(browser, PAGES.report, 1120);
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  assert(height <= 5500, `${height} pixels`);
  await page.close();
}

Deno.test("the script of pages is the one that their policy lets run", () => {
  assertEquals(createHash("sha256").update(SCRIPT).digest("base64"), SCRIPT_DIGEST);
});

Deno.test("text has a contrast of 4.5 and marks one of 3, light and dark", () => {
  const schemes = [...STYLE.matchAll(/:root \{([^}]*)\}/g)].map(([, tokens]) =>
    new Map([...tokens.matchAll(/--([\w-]+): (#\w+)/g)].map(([, name, value]) => [name, value]))
  );
  assertEquals(schemes.length, 2);
  const needed = [
    ...["ink", "soft", "accent", "warn"].map((name) => [name, 4.5] as const),
    ...["tint", "mark"].map((name) => [name, 3] as const),
  ];
  const low = schemes.flatMap((tokens, scheme) =>
    needed.flatMap(([name, least]) =>
      ["page", "card"].filter((page) => contrast(tokens.get(name)!, tokens.get(page)!) < least)
        .map((page) => `${scheme}: ${name} on ${page}`)
    )
  );
  assertEquals(low, []);
  for (const tokens of schemes) {
    for (const name of ["ink", "warn"]) {
      assert(contrast(tokens.get(name)!, tokens.get("warn-page")!) >= 4.5, name);
    }
  }
});

/** The contrast of two colours as WCAG 2 defines it. */
function contrast(a: string, b: string): number {
  const luminance = (hex: string) => {
    const digits = hex.length === 4 ? [...hex.slice(1)].map((d) => d + d) : hex.match(/\w\w/g)!;
    const [r, g, b] = digits.map((digit) => {
      const share = parseInt(digit, 16) / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

Deno.test("counted things have their right endings", () => {
  assertEquals(
    [1, 2, 3, 4, 8, 11, 12, 16, 21, 32].map(ordinal).join(" "),
    [
      ...["1st", "2nd", "3rd", "4th", "8th", "11th", "12th", "16th", "21st", "32nd"],
    ].join(" "),
  );
});

Deno.test("a report goes through JSON, and what is none is refused by name", () => {
  const read = readReport(JSON.stringify(MANY), "a.json");
  assertEquals(renderReport(read), PAGES.report);
  const broken = { ...REPORT, layers: [{ ...LAYER, error: { nearest: "x" } }] };
  for (
    const [json, why] of [["{", "no JSON"], ["[]", "object"], [JSON.stringify(broken), "layers"]]
  ) {
    const error = assertThrows(() => readReport(json, "a.json"), Error, why);
    assert(error.message.startsWith("Cannot read a.json as a report"), error.message);
  }
});
