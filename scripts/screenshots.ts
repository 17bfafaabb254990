/**
 * Takes the pictures of the page for the documentation: `deno task screenshots [FOLDER]`. Needs
 * Chromium.
 *
 * @module
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stop } from "esbuild";
import type { Page } from "playwright-core";
import sharp from "sharp";
import { PATIENCE, Site } from "../tests/helpers/page.ts";

/** Where pictures go. */
const FOLDER = Deno.args[0] ?? fileURLToPath(new URL("../docs/images", import.meta.url));
/** Bytes that a picture may have, and the quality that is tried first. */
const MOST_BYTES = 60_000, QUALITY = 86;
/** What is shown, by the element that comes to the top. */
const PARTS = {
  start: "body",
  plan: "#plan",
  result: "#result",
  layers: "#result h3:nth-of-type(2)",
} as const;
/** How the page is looked at, and what of it. */
const LOOKS = [
  {
    name: "light",
    viewport: { width: 1120, height: 820 },
    colorScheme: "light",
    parts: ["start", "plan", "result", "layers"],
  },
  {
    name: "dark",
    viewport: { width: 1120, height: 820 },
    colorScheme: "dark",
    parts: ["plan", "layers"],
  },
  {
    name: "phone",
    viewport: { width: 360, height: 760 },
    colorScheme: "light",
    parts: ["plan", "layers"],
  },
] as const;

mkdirSync(FOLDER, { recursive: true });
const site = await Site.open();
for (const { name, parts, ...look } of LOOKS) {
  const { page, context } = await site.visit(look);
  await page.click("#example");
  await page.waitForSelector("#start:enabled");
  await page.selectOption("label:has-text('Bits of weights') select", "3");
  await page.locator("#size").fill("180");
  await page.locator(".length", { hasText: "bits" }).last().waitFor();
  await page.locator(".by", { hasText: "by the slider" }).first().waitFor();
  await page.click("#start");
  await page.waitForSelector(".predictions li", { timeout: PATIENCE });
  for (const part of parts) {
    await take(page, PARTS[part], join(FOLDER, `page-${part}-${name}.webp`));
  }
  await context.close();
}
await site[Symbol.asyncDispose]();
await stop();

/** A picture of what the visitor sees with `selector` at the top. */
async function take(page: Page, selector: string, path: string): Promise<void> {
  await page.locator(selector).first().evaluate((element) => {
    (document.activeElement as HTMLElement | null)?.blur();
    element.scrollIntoView({ block: "start" });
  });
  await page.waitForTimeout(300);
  const png = await page.screenshot();
  let quality = QUALITY, picture = await sharp(png).webp({ quality }).toBuffer();
  while (picture.length > MOST_BYTES && quality > 20) {
    picture = await sharp(png).webp({ quality: quality -= 8 }).toBuffer();
  }
  writeFileSync(path, picture);
  console.log(`${path} ${picture.length}`);
}
