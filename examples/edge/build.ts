/**
 * Bundles the service into `dist/`: for workerd with the modules of WebAssembly beside it, and for
 * Node. `deno run -A examples/edge/build.ts [folder]`
 *
 * @module
 */

import { build, type Plugin, stop } from "esbuild";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MODULE } from "../../src/kernel/module.ts";

/** onnxruntime-web's WebAssembly. */
const ORT_WASM = "ort-wasm-simd-threaded.wasm";
const here = fileURLToPath(new URL(".", import.meta.url));

/** Bundles for workerd and Node into `folder`. */
export async function buildEdge(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await build({
    entryPoints: [join(here, "worker.ts")],
    outdir: folder,
    bundle: true,
    format: "esm",
    target: "es2022",
    external: ["*.wasm"],
    plugins: [packages()],
    logLevel: "error",
  });
  await build({
    entryPoints: [join(here, "node.ts")],
    outfile: join(folder, "node.mjs"),
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Only who sends samples needs it: installed beside the bundle.
    plugins: [packages(/^(onnxruntime-|sharp$)/)],
    logLevel: "error",
  });
  writeFileSync(join(folder, "kernel.wasm"), Uint8Array.from(atob(MODULE), (c) => c.charCodeAt(0)));
  copyFileSync(
    fileURLToPath(import.meta.resolve(`onnxruntime-web/${ORT_WASM}`)),
    join(folder, ORT_WASM),
  );
  copyFileSync(join(here, "config.capnp"), join(folder, "config.capnp"));
  await stop();
}

/** Takes packages from where Deno has them; those in `left` are left out of the bundle. */
function packages(left?: RegExp): Plugin {
  return {
    name: "packages",
    setup({ onResolve }) {
      onResolve({ filter: /^[@a-z]/ }, ({ path }) => {
        if (left?.test(path)) return { path, external: true };
        const url = import.meta.resolve(path);
        return url.startsWith("file:") ? { path: fileURLToPath(url) } : undefined;
      });
    },
  };
}

if (import.meta.main) await buildEdge(Deno.args[0] ?? join(here, "dist"));
