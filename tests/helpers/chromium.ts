/**
 * Scripts in a real browser: bundled, served beside files, run, and asked for what came of them.
 */

import { build, stop } from "esbuild";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { installPackages, PAGE_PACKAGES } from "../../scripts/packages.ts";

/** The browser, where there is one. */
export const CHROMIUM: string | undefined = ["/usr/bin/chromium", "/usr/bin/google-chrome"]
  .find((path) => existsSync(path));

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const WASM = ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs"];
/** Starts the browser. */
export async function launchChromium(): Promise<Browser> {
  return await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu"],
  });
}

/** What a page is served. */
export interface PageFiles {
  /**
   * Scripts of `tests/helpers`, as `browser_page.ts`, served by their names as `/browser_page.js`.
   * The page runs the first, which leaves a promise of its result in `globalThis.result`.
   */
  readonly scripts: readonly string[];
  /** Files by their paths, as `/shapes.onnx`; onnxruntime's are there already. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

/** What the first script comes to; it can be whatever JSON can hold. */
export async function runInChromium<T>({ scripts, files = {} }: PageFiles): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "attune-chromium-"));
  try {
    const served = new Map(Object.entries(files));
    for (const [name, bytes] of await bundle(folder, scripts)) served.set(`/${name}`, bytes);
    const main = basename(scripts[0], ".ts");
    const html = `<script type=module src=/${main}.js></script>`;
    served.set("/", new TextEncoder().encode(html));
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => answer(request, served),
    );
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      const failed = Promise.withResolvers<never>();
      page.on("pageerror", failed.reject);
      await page.goto(`http://127.0.0.1:${server.addr.port}/`);
      const result = async () => {
        await page.waitForFunction("'result' in globalThis", undefined, { timeout: 0 });
        return await page.evaluate("globalThis.result") as T;
      };
      return await Promise.race([result(), failed.promise]);
    } finally {
      await browser.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stop();
  }
}

/** `scripts` by their new names, and onnxruntime's files, from Deno's own cache. */
async function bundle(
  folder: string,
  scripts: readonly string[],
): Promise<[name: string, bytes: Uint8Array][]> {
  const packages = await installPackages(folder, PAGE_PACKAGES);
  const { outputFiles } = await build({
    entryPoints: scripts.map(path),
    outdir: folder,
    nodePaths: [packages],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
  });
  const ort = join(packages, "onnxruntime-web/dist");
  return [
    ...outputFiles.map(({ path, contents }) => [basename(path), contents] as [string, Uint8Array]),
    ...WASM.map((name) => [name, readFileSync(join(ort, name))] as [string, Uint8Array]),
  ];
}

const TYPES: Record<string, string> = {
  "": "text/html",
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
};

function answer(request: Request, files: ReadonlyMap<string, Uint8Array>): Response {
  const { pathname } = new URL(request.url), file = files.get(pathname);
  const end = pathname.slice(1).split(".").slice(1).pop() ?? "";
  const type = TYPES[end] ?? "application/octet-stream";
  return file === undefined
    ? new Response("not here", { status: 404 })
    : new Response(Uint8Array.from(file), { headers: { "content-type": type } });
}
