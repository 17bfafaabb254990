/** A worker of the page of tests/samples_chromium_test.ts: reads samples, as the page does. */

import { readCases } from "./sample_digests.ts";

addEventListener("message", async ({ data }) => {
  const { postMessage } = globalThis as unknown as { postMessage(value: unknown): void };
  postMessage(await readCases(data).catch(String));
});
