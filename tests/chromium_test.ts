/** The same seed gives the same bytes in a real browser. */

import { assertEquals } from "std/assert/equals.js";
import { build, stop } from "esbuild";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inlinePool } from "../src/workers/pool.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { job } from "./helpers/browser_job.ts";

const chromium = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((path) => existsSync(path));
if (chromium === undefined) console.log("skipped: the test in a real browser needs Chromium");

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const WASM = ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs"];

Deno.test({
  name: "Chromium and Deno write the same bytes",
  ignore: chromium === undefined,
  // esbuild and Chromium are processes that outlive a step of the test.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    const model = path("../examples/shapes/shapes.onnx");
    using pool = inlinePool(await loadBackend("web"));
    const expected = await job(pool, readFileSync(model));
    const folder = mkdtempSync(join(tmpdir(), "attune-chromium-"));
    const done = Promise.withResolvers<string>();
    try {
      const [page, worker] = await bundle(folder);
      const files = new Map<string, Uint8Array>([
        ["/page.js", page],
        ["/worker.js", worker],
        ["/shapes.onnx", readFileSync(model)],
      ]);
      for (const name of WASM) {
        files.set(
          `/${name}`,
          readFileSync(join(folder, "node_modules/onnxruntime-web/dist", name)),
        );
      }
      await using server = Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen() {} },
        (request) => answer(request, files, done.resolve),
      );
      const browser = new Deno.Command(chromium!, {
        args: [
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-quic",
          "--no-first-run",
          "--disable-background-networking",
          `--user-data-dir=${join(folder, "profile")}`,
          "--remote-debugging-port=0",
          `http://127.0.0.1:${server.addr.port}/`,
        ],
        stdout: "null",
        stderr: "null",
      }).spawn();
      browser.status.then(({ code }) => done.resolve(`Chromium ended with ${code}`));
      const result = await done.promise;
      try {
        browser.kill();
      } catch {
        // It has ended by itself; what it said is compared below.
      }
      await browser.status;
      // In the page itself, and in two workers.
      assertEquals(result, [expected, expected].join("\n"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
      await stop();
    }
  },
});

/** The scripts of page and worker, with the packages that they need from Deno's own cache. */
async function bundle(folder: string): Promise<Uint8Array[]> {
  const { imports } = JSON.parse(readFileSync(path("../deno.json"), "utf8"));
  const dependencies = Object.fromEntries(
    ["@assemblyscript/loader", "@bufbuild/protobuf", "onnxruntime-web/"].map((name) => {
      const [, version] = /@(\d[^/]*)/.exec(imports[name])!;
      return [name.replace(/\/$/, ""), version];
    }),
  );
  writeFileSync(join(folder, "package.json"), JSON.stringify({ dependencies }));
  const install = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--node-modules-dir=auto"],
    cwd: folder,
    stderr: "piped",
  }).output();
  assertEquals(install.code, 0, new TextDecoder().decode(install.stderr));
  const { outputFiles } = await build({
    entryPoints: [path("helpers/browser_page.ts"), path("helpers/browser_worker.ts")],
    outdir: folder,
    nodePaths: [join(folder, "node_modules")],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
  });
  return outputFiles.map(({ contents }) => contents);
}

const TYPES: Record<string, string> = {
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
};

async function answer(
  request: Request,
  files: ReadonlyMap<string, Uint8Array>,
  done: (result: string) => void,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === "/done") {
    done(await request.text());
    return new Response("thanks");
  }
  if (pathname === "/") {
    const headers = { "content-type": "text/html" };
    return new Response("<script type=module src=/page.js></script>", { headers });
  }
  const file = files.get(pathname);
  const type = TYPES[pathname.split(".").pop()!] ?? "application/octet-stream";
  return file === undefined
    ? new Response("not here", { status: 404 })
    : new Response(Uint8Array.from(file), { headers: { "content-type": type } });
}
