import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { build, stop } from "esbuild";
import { fileURLToPath } from "node:url";

Deno.test({
  name: "the browser's entry bundles without a module of Node, Deno or sharp",
  // esbuild keeps a process of its own between calls.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    const { outputFiles, metafile } = await build({
      entryPoints: [fileURLToPath(new URL("../src/browser.ts", import.meta.url))],
      bundle: true,
      format: "esm",
      platform: "browser",
      packages: "external",
      target: "es2022",
      metafile: true,
      write: false,
    });
    const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
    const packages = [...new Set(imports.map(({ path }) => path))].sort();
    assertEquals(packages, [
      "@assemblyscript/loader",
      "@bufbuild/protobuf",
      "@bufbuild/protobuf/codegenv2",
      "@zip.js/zip.js",
    ]);
    assert(!/\bDeno\./.test(outputFiles[0].text), "the bundle asks for Deno");
    await stop();
  },
});
