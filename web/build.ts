/**
 * Builds the page: a folder of static files, web/dist by default. `deno task web:build [FOLDER]`
 *
 * @module
 */

import { build } from "esbuild";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { installPackages, PAGE_PACKAGES } from "../scripts/packages.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
/** Where the page is built. */
export const DIST: string = path("dist");
/** Scripts of the page, its worker, and its engines. */
const SCRIPTS = ["main.ts", "job.ts", "engine.ts"];
/** What the page is made of beside scripts. */
const STATIC = ["index.html", "style.css", "icon.svg"];
/** The builds of onnxruntime: what each is called here, its script, and its WebAssembly. */
const RUNTIMES = [
  ["ort", "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"],
  // Only loaded where the visitor asks for it.
  ["ort-webgpu", "ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
] as const;
/** Images of the example, per class: to calibrate on, and to judge by. */
const CALIB = 8, VAL = 6;
/** What is no part of the page itself. */
const OTHERS = /\.wasm$|^shapes\.onnx$|^example\.json$/;
/** Bytes that the page may have, compressed, without onnxruntime's and the example. */
export const MOST_BYTES = 400_000;

/** A file of the page. */
export interface BuiltFile {
  /** Its name. */
  readonly name: string;
  /** Its bytes. */
  readonly bytes: number;
  /**
   * The same by gzip; undefined of what is no part of the page itself: WebAssembly, the example.
   */
  readonly gzip: number | undefined;
}

/** Builds the page into `out`; returns its files. */
export async function buildPage(out: string = DIST): Promise<BuiltFile[]> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "attune-page-"));
  try {
    const packages = await installPackages(folder, PAGE_PACKAGES);
    await build({
      entryPoints: SCRIPTS.map(path),
      outdir: out,
      nodePaths: [packages],
      // Browsers inflate by themselves.
      alias: { "@zip.js/zip.js": "@zip.js/zip.js/lib/zip-core-native.js" },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      target: "es2022",
      legalComments: "eof",
    });
    const dist = join(packages, "onnxruntime-web/dist");
    for (const [name, script, wasm] of RUNTIMES) {
      cpSync(join(dist, script), join(out, `${name}.js`));
      cpSync(join(dist, wasm), join(out, `${name}.wasm`));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  for (const name of STATIC) cpSync(path(name), join(out, name));
  cpSync(path("../examples/shapes/shapes.onnx"), join(out, "shapes.onnx"));
  const images = { calib: imagesOf("calib", CALIB), val: imagesOf("val", VAL) };
  writeFileSync(join(out, "example.json"), JSON.stringify(images));
  return readdirSync(out).sort().map((name) => {
    const content = readFileSync(join(out, name)), isPage = !OTHERS.test(name);
    const gzip = isPage ? gzipSync(content, { level: 9 }).length : undefined;
    return { name, bytes: content.length, gzip };
  });
}

/** Bytes of the page itself, compressed. */
export function pageBytes(files: readonly BuiltFile[]): number {
  return files.reduce((sum, { gzip = 0 }) => sum + gzip, 0);
}

/** The first `count` images of each class of the example in base64, by their paths. */
function imagesOf(set: string, count: number): Record<string, string> {
  const folder = path(`../examples/shapes/${set}`);
  return Object.fromEntries(
    readdirSync(folder).sort().flatMap((name) =>
      readdirSync(join(folder, name)).sort().slice(0, count).map((file) => [
        `${name}/${file}`,
        readFileSync(join(folder, name, file)).toString("base64"),
      ])
    ),
  );
}

if (import.meta.main) {
  const files = await buildPage(Deno.args[0]);
  const kilobytes = (count: number) => `${(count / 1000).toFixed(1)} kB`.padStart(11);
  for (const { name, bytes, gzip } of files) {
    const packed = gzip === undefined ? "" : `${kilobytes(gzip)} gzip`;
    console.log(`${name.padEnd(16)}${kilobytes(bytes)}${packed}`);
  }
  const sum = kilobytes(pageBytes(files)).trim();
  console.log(`${sum} gzip without WebAssembly and the example; ${MOST_BYTES / 1000} kB at most`);
}
