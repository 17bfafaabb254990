/** The package as users get it: packed, and installed in a folder that has nothing else. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPackage, npm } from "../../scripts/npm.ts";
import { launchChromium } from "./chromium.ts";

/** Types of files that browsers insist on. */
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  wasm: "application/wasm",
};

/** The package, built and packed, in a folder for projects that use it. */
export class Packed implements Disposable {
  /** The folder. */
  readonly folder: string = mkdtempSync(join(tmpdir(), "attune-package-"));
  /** The path of the tarball. */
  readonly tarball: string;
  /** The files in it, by their paths in the package, with their bytes. */
  readonly files: ReadonlyMap<string, number>;

  constructor() {
    const built = join(this.folder, "built");
    buildPackage(built);
    const [{ filename, files }] = JSON.parse(npm(["pack", "--json", built], this.folder));
    this.tarball = join(this.folder, filename);
    this.files = new Map(
      files.map(({ path, size }: { path: string; size: number }) => [path, size]),
    );
  }

  /** An empty project with the package, and with `others` by their versions, installed. */
  project(name: string, others: Readonly<Record<string, string>> = {}): string {
    const folder = join(this.folder, name);
    const dependencies = { attune: `file:${this.tarball}`, ...others };
    const manifest = { name, private: true, type: "module", dependencies };
    Deno.mkdirSync(folder);
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    npm(["install", "--no-audit", "--no-fund", "--loglevel=error"], folder);
    return folder;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What `globalThis.result` comes to in a browser at the page of `folder`, beside `files`. */
export async function resultOf(
  folder: string,
  files: Record<string, Uint8Array>,
): Promise<unknown> {
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => {
      const path = new URL(request.url).pathname.slice(1) || "index.html";
      const isThere = path in files || existsSync(join(folder, path));
      if (!isThere) return new Response("not here", { status: 404 });
      const bytes = files[path] ?? readFileSync(join(folder, path));
      const type = TYPES[path.split(".").pop()!] ?? "application/octet-stream";
      return new Response(Uint8Array.from(bytes), { headers: { "content-type": type } });
    },
  );
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.addr.port}/`);
    await page.waitForFunction("'result' in globalThis", undefined, { timeout: 0 });
    return await page.evaluate("globalThis.result");
  } finally {
    await browser.close();
  }
}

/** All files below `folder`, by their paths with slashes. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/")).sort();
}
