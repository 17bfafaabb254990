/** The page of `web/`, built, served, and opened in a real browser. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { buildPage, type BuiltFile } from "../../web/build.ts";
import { answer } from "../../web/serve.ts";

/** The browser, where there is one. */
export const CHROMIUM: string | undefined = ["/usr/bin/chromium", "/usr/bin/google-chrome"]
  .find((path) => existsSync(path));

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
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu"],
    });
    return new Site(folder, files, browser);
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
