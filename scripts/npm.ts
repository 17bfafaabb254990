/**
 * Makes the npm package in `npm/`: every source file as JavaScript for Node 20, in the same tree.
 * `deno task npm`
 *
 * @module
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

const root = fileURLToPath(new URL("../", import.meta.url));
/** Packages that the library imports; the others of deno.json are for building and testing. */
const DEPENDENCIES = [
  "@assemblyscript/loader",
  "@bufbuild/protobuf",
  "@zip.js/zip.js",
  "leven",
  "onnxruntime-web",
  "sharp",
  "string-width",
];
/** The source of the program that the package installs. */
const PROGRAM = "cli.ts";

/** Builds the package into `out`. */
export async function buildPackage(out: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  for (const path of sources()) {
    const { code } = await transform(readFileSync(join(root, path), "utf8"), {
      loader: "ts",
      target: "node20",
      format: "esm",
    });
    const to = join(out, path.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(to), { recursive: true });
    // Relative imports, and the address of the worker, name the compiled files.
    const script = code.replace(/(["'])(\.{1,2}\/[^"'\n]+)\.ts\1/g, "$1$2.js$1");
    writeFileSync(to, path === PROGRAM ? `#!/usr/bin/env node\n${script}` : script);
  }
  const config = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const versions = new Map(
    Object.values(config.imports as Record<string, string>).map((specifier) => {
      const [, name, version] = /^npm:\/?(@?[^@]+)@([^/]+)/.exec(specifier)!;
      return [name, version];
    }),
  );
  const pick = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, versions.get(name)]));
  writeFileSync(
    join(out, "package.json"),
    JSON.stringify(
      {
        name: "attune",
        version: config.version,
        description: "Post-training quantization of ONNX models wherever JavaScript runs",
        license: config.license,
        type: "module",
        exports: { ".": "./mod.js", "./browser": "./src/browser.js" },
        bin: { attune: "./cli.js" },
        engines: { node: ">=20" },
        dependencies: pick(DEPENDENCIES),
        optionalDependencies: pick(["onnxruntime-node"]),
      },
      null,
      2,
    ),
  );
  for (const name of ["README.md", "LICENSE"]) {
    writeFileSync(join(out, name), readFileSync(join(root, name)));
  }
}

/** The library's source files, relative to the root. */
function sources(): string[] {
  const found: string[] = ["mod.ts", PROGRAM];
  const walk = (folder: string) => {
    for (const name of readdirSync(folder).sort()) {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) walk(path);
      else if (name.endsWith(".ts")) found.push(relative(root, path));
    }
  };
  walk(join(root, "src"));
  return found;
}

if (import.meta.main) await buildPackage(join(root, "npm"));
