/**
 * The pages of `README.md` and `docs/` are followed word for word: commands and code run in the
 * order of a page, in a folder with the carried example as a reader's model and images.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { build, stop } from "esbuild";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { COMMANDS } from "../src/cli/cli.ts";
import { flagsOf } from "../src/cli/command.ts";
import { root, run } from "./helpers/command_line.ts";
import { type Block, blocksOf, Desk, deskName, ENTRIES, prepare } from "./helpers/pages.ts";

const pages = [
  "README.md",
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).sort()
    .map((name) => `docs/${name}`),
];
const blocks = new Map(pages.map((page) => [page, blocksOf(join(root, page))]));

Deno.test("pages lead to what exists, and the index to every guide", () => {
  const broken = pages.flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, path]) => path).filter((path) => !existsSync(join(root, dirname(page), path)))
      .map((path) => `${page}: ${path}`)
  );
  assertEquals(broken, []);
  const index = readFileSync(join(root, "docs/README.md"), "utf8");
  const missing = pages.filter((page) => page.startsWith("docs/"))
    .filter((page) => page !== "docs/README.md" && !index.includes(`(${page.slice(5)})`));
  assertEquals(missing, []);
});

Deno.test("every flag and command is in the list of options", () => {
  const list = readFileSync(join(root, "docs/options.md"), "utf8");
  const flags = COMMANDS.flatMap((command) => Object.keys(flagsOf(command)));
  const named = (flag: string) => new RegExp(`--${flag}(?![\\w-])`).test(list);
  assertEquals([...new Set(flags)].filter((flag) => !named(flag)), []);
  assertEquals(COMMANDS.filter(({ name }) => !list.includes(`attune ${name}`)), []);
});

Deno.test("few blocks are left out, each with its reason", () => {
  const all = [...blocks.values()].flat();
  const leftOut = all.filter(({ use }) => use === "left out").length;
  assert(all.length >= 20 && leftOut <= 8, `${leftOut} of ${all.length} are not run`);
});

Deno.test({
  name: "commands and code of the pages run as they stand",
  ignore: Deno.build.os === "windows",
  // esbuild keeps a process of its own between calls.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(t) {
    const parent = mkdtempSync(join(tmpdir(), "attune-docs-"));
    try {
      await prepare(parent);
      await t.step("types", () => checkTypes(parent));
      for (const [page, list] of blocks) {
        if (list.length > 0) await t.step(page, () => follow(parent, page, list));
      }
    } finally {
      rmSync(parent, { recursive: true, force: true });
      await stop();
    }
  },
});

/** Checks the types of all code in TypeScript at once: that is faster than page by page. */
async function checkTypes(parent: string): Promise<void> {
  const files: string[] = [];
  for (const [page, list] of blocks) {
    const desk = Desk.open(parent, deskName(page));
    for (const block of list) {
      if (block.language === "ts" && block.use !== "left out") files.push(desk.write(block));
    }
  }
  const config = ["--config", join(parent, "deno.json")];
  const { code, stderr } = await run(Deno.execPath(), ["check", ...config, ...files]);
  assertEquals(code, 0, stderr);
}

/** Follows a page from top to bottom. */
async function follow(parent: string, page: string, list: readonly Block[]): Promise<void> {
  const desk = Desk.open(parent, deskName(page));
  try {
    for (const block of list) await tryOut(desk, block, `${page}:${block.line}`);
  } finally {
    await desk.close();
  }
}

/** Does with `block` what a reader would do. */
async function tryOut(desk: Desk, block: Block, where: string): Promise<void> {
  if (block.use === "data" && block.language === "json") JSON.parse(block.text);
  else if (block.use === "file") desk.write(block);
  else if (block.use === "server") desk.serve(block);
  else if (block.use === "page") await bundle(desk.write(block), where);
  else if (block.use === "commands" || block.use === "code") {
    const { code, stdout, stderr } = block.use === "commands"
      ? await desk.command(block)
      : await desk.code(desk.write(block));
    assertEquals(code, 0, `${where}\n${block.text}\n${stdout}\n${stderr}`);
  }
}

/** Bundles code of a page for browsers. */
async function bundle(path: string, where: string): Promise<void> {
  const { outputFiles, warnings } = await build({
    entryPoints: [path],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    alias: Object.fromEntries(
      Object.entries(ENTRIES).filter(([name]) => name !== "attune")
        .map(([name, path]) => [name, join(root, path)]),
    ),
    // Modules of WebAssembly and of packages are the bundler's of the reader.
    external: ["onnxruntime-web", "onnxruntime-web/*", "@*", "*.wasm"],
    write: false,
  });
  assert(warnings.length === 0 && outputFiles[0].text.length > 0, where);
}
