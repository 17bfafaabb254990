/** The same seed gives the same bytes in a real browser. */

import { assertEquals } from "std/assert/equals.js";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inlinePool } from "../src/workers/pool.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { job } from "./helpers/browser_job.ts";
import { CHROMIUM, runInChromium } from "./helpers/chromium.ts";

if (CHROMIUM === undefined) console.log("skipped: the test in a real browser needs Chromium");

const shapes = fileURLToPath(new URL("../examples/shapes/shapes.onnx", import.meta.url));

Deno.test({
  name: "Chromium and Deno write the same bytes",
  ignore: CHROMIUM === undefined,
  // esbuild and Chromium are processes that outlive a step of the test.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    const model = readFileSync(shapes);
    using pool = inlinePool(await loadBackend("web"));
    const expected = await job(pool, model);
    const result = await runInChromium<string[]>({
      scripts: ["browser_page.ts", "browser_worker.ts"],
      files: { "/shapes.onnx": model },
    });
    // In the page itself, and in two workers.
    assertEquals(result, [expected, expected]);
  },
});
