/**
 * Makes the npm package in `npm/`: every source file as JavaScript for Node 20 with its
 * declarations, in the same tree. `deno task npm`
 *
 * @module
 */

import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MODULE } from "../src/kernel/module.ts";
import { NODE_PACKAGE } from "../src/runtime/backends.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const config = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
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
/** Packages that users add where they want them. */
const [PEER, PEER_VERSION] = NODE_PACKAGE.split("@");
/** What compiles the package. */
const COMPILER = { "typescript": "7.0.2", "@types/node": "20.19.25" };
/** The entries, by what users import; other sources come with them. */
const ENTRIES: Readonly<Record<string, string>> = {
  ".": "mod",
  "./browser": "src/browser",
  "./worker": "src/engine_worker",
  "./workerd": "src/workerd",
  "./cli": "cli",
};

/** Builds the package into `out`. */
export function buildPackage(out: string): void {
  rmSync(out, { recursive: true, force: true });
  compile(out);
  const program = join(out, "cli.js");
  writeFileSync(program, `#!/usr/bin/env node\n${readFileSync(program, "utf8")}`);
  writeFileSync(
    join(out, "kernel.wasm"),
    Uint8Array.from(atob(MODULE), (char) => char.charCodeAt(0)),
  );
  writeFileSync(join(out, "package.json"), JSON.stringify(packageJson(), null, 2));
  cpSync(join(root, "docs/npm.md"), join(out, "README.md"));
  cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
}

/** Compiles the sources with their packages beside them, which the compiler reads types of. */
function compile(out: string): void {
  const folder = mkdtempSync(join(tmpdir(), "attune-npm-"));
  try {
    const manifest = { type: "module", dependencies: { ...versions(DEPENDENCIES), ...COMPILER } };
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    npm(["install", "--no-audit", "--no-fund"], folder);
    for (const name of ["src", "mod.ts", "cli.ts"]) {
      symlinkSync(join(root, name), join(folder, name));
    }
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          target: "es2022",
          module: "nodenext",
          lib: ["es2023", "dom", "dom.iterable", "esnext"],
          types: ["node"],
          strict: true,
          declaration: true,
          preserveSymlinks: true,
          rewriteRelativeImportExtensions: true,
          rootDir: ".",
          outDir: out,
        },
        files: [...Object.values(ENTRIES).map((path) => `${path}.ts`), "src/workers/worker.ts"],
      }),
    );
    const tsc = join(folder, "node_modules/typescript/bin/tsc");
    execFileSync("node", [tsc, "-p", "."], { cwd: folder, stdio: "inherit" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  for (const path of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (!/\.(js|d\.ts)$/.test(path)) continue;
    // What the compiler leaves: addresses of workers, and imports in declarations.
    const file = join(out, path), code = readFileSync(file, "utf8");
    writeFileSync(file, code.replace(/(["'])(\.{1,2}\/[^"'\n]+)\.ts\1/g, "$1$2.js$1"));
  }
}

/** Runs npm without anybody's install scripts. */
export function npm(args: readonly string[], cwd: string): string {
  const all = [...args, "--ignore-scripts", "--prefer-offline"];
  return execFileSync("npm", all, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** The versions of packages, as deno.json says them. */
function versions(names: readonly string[]): Record<string, string> {
  const known = new Map(
    Object.values(config.imports as Record<string, string>).map((specifier) => {
      const [, name, version] = /^npm:\/?(@?[^@]+)@([^/]+)/.exec(specifier)!;
      return [name, version];
    }),
  );
  return Object.fromEntries(names.map((name) => [name, known.get(name)!]));
}

function packageJson(): unknown {
  const entry = (path: string) => ({ types: `./${path}.d.ts`, default: `./${path}.js` });
  const { ".": main, ...others } = ENTRIES;
  return {
    name: "attune",
    version: config.version,
    description: "Post-training quantization of ONNX models wherever JavaScript runs",
    keywords: ["onnx", "quantization", "onnxruntime", "int8", "int4", "webassembly", "ptq"],
    license: config.license,
    repository: { type: "git", url: "git+https://github.com/attune/attune.git" },
    type: "module",
    main: `./${main}.js`,
    types: `./${main}.d.ts`,
    exports: {
      ".": {
        workerd: entry(ENTRIES["./workerd"]),
        browser: entry(ENTRIES["./browser"]),
        default: entry(main),
      },
      ...Object.fromEntries(Object.entries(others).map(([name, path]) => [name, entry(path)])),
      "./kernel.wasm": "./kernel.wasm",
      "./package.json": "./package.json",
    },
    bin: { attune: "./cli.js" },
    // Only these do something when they are loaded.
    sideEffects: ["./cli.js", "./src/engine_worker.js", "./src/workers/worker.js"],
    files: ["*.js", "*.d.ts", "kernel.wasm", "src"],
    engines: { node: ">=20.19" },
    dependencies: versions(DEPENDENCIES),
    peerDependencies: { [PEER]: PEER_VERSION },
    peerDependenciesMeta: { [PEER]: { optional: true } },
  };
}

if (import.meta.main) buildPackage(join(root, "npm"));
