/**
 * The rooms of the house: which may know of which, and that nothing goes round in circles.
 *
 * @module
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { root } from "./helpers/command_line.ts";

/**
 * Rooms and files of `src/` from the lowest to the highest. A file imports, types included, from
 * its own room and from those before it.
 */
const ROOMS = [
  ...["printable.ts", "errors.ts", "progress.ts", "version.ts"],
  ...[
    "files",
    "onnx",
    "graph",
    "kernel",
    "samples",
    "gradient",
    "runtime",
    "weights",
    "strategies",
    "formats",
    "plan",
    "emit",
  ],
  ...["round", "engine", "workers", "forward", "evaluate", "report", "layer", "calibrate"],
  ...["blocks", "allocate", "quantize", "core.ts", "browser.ts", "engine_worker.ts"],
  ...["workerd.ts", "cli"],
];

/** The files of `src/`, and what each imports. */
function importGraph(): Map<string, string[]> {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts")).map((path) => `src/${path.replaceAll("\\", "/")}`);
  return new Map(files.sort().map((file) => [file, importsOf(file)]));
}

/** What `file` imports of the project, by `import`, `export … from` and `import()`; no examples. */
function importsOf(file: string): string[] {
  const code = readFileSync(join(root, file), "utf8")
    .replace(/\/\*[^]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)]
    .map(([, path]) => normalize(join(dirname(file), path)).replaceAll("\\", "/"));
}

const roomOf = (file: string) => file.split("/")[1];

Deno.test("a room knows only those below it", () => {
  const graph = importGraph();
  const up = [...graph].flatMap(([file, imports]) =>
    imports.filter((other) =>
      roomOf(other) !== roomOf(file) && ROOMS.indexOf(roomOf(other)) >= ROOMS.indexOf(roomOf(file))
    ).map((other) => `${file} → ${other}`)
  );
  assertEquals(up, []);
  assertEquals(new Set([...graph.keys()].map(roomOf)), new Set(ROOMS), "all rooms are listed");
});

Deno.test("imports run in no circle", () => {
  const graph = importGraph(), done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    assert(!path.includes(file), [...path, file].join(" → "));
    if (done.has(file)) return;
    for (const other of graph.get(file) ?? []) visit(other, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  assert(graph.size > 100 && [...graph.values()].flat().length > 500, "imports are seen");
});
