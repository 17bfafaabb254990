/** The page of `web/`, built, served, and opened in a real browser. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { buildPage, type BuiltFile } from "../../web/build.ts";
import { answer } from "../../web/serve.ts";
import { launchChromium } from "./chromium.ts";

/** Milliseconds that a job of the example may take on a busy machine. */
export const PATIENCE = 120_000;

/** The page in a browser; one for all tests of a file. */
export class Site implements AsyncDisposable {
  /** The files of the page. */
  readonly files: readonly BuiltFile[];
  /** Where it is served. */
  readonly url: string;
  /** The browser. */
  readonly browser: Browser;
  /** Paths that were asked for. */
  readonly requests: string[] = [];
  readonly #folder: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  private constructor(folder: string, files: readonly BuiltFile[], browser: Browser) {
    this.#folder = folder;
    this.files = files;
    this.browser = browser;
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      this.requests.push(new URL(request.url).pathname);
      return answer(request, folder);
    });
    this.url = `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Builds the page and starts the browser. */
  static async open(): Promise<Site> {
    const folder = mkdtempSync(join(tmpdir(), "attune-site-"));
    const files = await buildPage(folder);
    return new Site(folder, files, await launchChromium());
  }

  /** The page in a profile of its own, loaded. */
  async visit(
    options: Parameters<Browser["newContext"]>[0] = {},
  ): Promise<{ page: Page; context: BrowserContext }> {
    const context = await this.browser.newContext({ acceptDownloads: true, ...options });
    const page = await context.newPage();
    await page.goto(this.url);
    await isLoaded(page);
    return { page, context };
  }

  /** Loads `page` again. */
  async reload(page: Page): Promise<void> {
    await page.reload();
    await isLoaded(page);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
    await this.#server.shutdown();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Waits until `page` asks for nothing more. */
async function isLoaded(page: Page): Promise<void> {
  await page.waitForSelector("html[data-ready]", { timeout: PATIENCE });
}

/** Waits for the result of a job; fails at once where the page says what is wrong. */
export async function result(page: Page): Promise<Uint8Array> {
  await page.waitForSelector("#result:not([hidden]), #job-error:not(:empty)", {
    timeout: PATIENCE,
  });
  assertEquals(await page.textContent("#job-error"), "");
  return await download(page, "Download the model");
}

/** What the link called `name` gives. */
export async function download(page: Page, name: string): Promise<Uint8Array> {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name, exact: true }).click(),
  ]);
  return readFileSync(await file.path());
}

/** Presses the button of the example; its plan is there, and a job could start. */
export async function openExample(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Try the example" }).click();
  await ready(page);
}

/** Waits until a job could start. */
export async function ready(page: Page): Promise<void> {
  await page.waitForSelector("#start:enabled, .error:not(:empty)", { timeout: PATIENCE });
  assertEquals((await page.locator(".error").allTextContents()).join(""), "");
  await page.locator(".drop .state", { hasText: "60 samples" }).waitFor({ timeout: 5000 })
    .catch(() => {});
}

/** The sizes of the files of state that the browser keeps of a job; none where it keeps none. */
export function keptSizes(page: Page): Promise<number[]> {
  return page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("attune-job").catch(() => undefined);
    if (folder === undefined) return [];
    return await Promise.all(["state-0", "state-1"].map(async (name) => {
      const file = await folder.getFileHandle(name).catch(() => undefined);
      return (await file?.getFile())?.size ?? 0;
    }));
  });
}

/** Waits until `isSo`. */
export async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (const started = Date.now(); !await isSo();) {
    assert(Date.now() - started < PATIENCE, what);
  }
}
