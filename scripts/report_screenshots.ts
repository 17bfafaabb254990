/**
 * Takes the pictures of a report for the documentation, of the example's own:
 * `deno run -A --lock=tests/deno.lock scripts/report_screenshots.ts [FOLDER]`. Needs Chromium.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import sharp from "sharp";
import { main } from "../src/cli/cli.ts";

const LOOKS = [
  { name: "light", viewport: { width: 1120, height: 1160 }, colorScheme: "light" },
  { name: "dark", viewport: { width: 1120, height: 1160 }, colorScheme: "dark" },
  { name: "phone", viewport: { width: 360, height: 1160 }, colorScheme: "light" },
] as const;

/** Writes `report-light.png`, `report-dark.png` and `report-phone.png` into `folder`. */
export async function reportShots(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const example = fileURLToPath(new URL("../examples/shapes/", import.meta.url));
  const work = mkdtempSync(join(tmpdir(), "attune-shots-")), page = join(work, "report.html");
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    const files = ["--data", `${example}calib`, "-o", join(work, "q.onnx"), "--report", page];
    await main([`${example}shapes.onnx`, "--bits", "4", ...files]);
    for (const { name, ...look } of LOOKS) {
      const tab = await browser.newPage(look);
      await tab.goto(pathToFileURL(page).href);
      // A palette keeps the picture below 60 kB.
      await sharp(await tab.screenshot()).png({ palette: true, colours: 64, effort: 10 })
        .toFile(join(folder, `report-${name}.png`));
    }
  } finally {
    await browser.close();
    rmSync(work, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  await reportShots(
    Deno.args[0] ?? fileURLToPath(new URL("../docs/images", import.meta.url)),
  );
}
