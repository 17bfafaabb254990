/** Pages of Markdown as programs: their blocks of commands and code, and where these run. */

import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Outcome, root, run } from "./command_line.ts";

/** What becomes of a block. */
export type Use = "commands" | "code" | "file" | "page" | "data" | "left out";

/** A fenced block. */
export interface Block {
  /** What the fence says it is: `sh`, `ts`, `js`, `json`. */
  readonly language: string;
  /** The text between the fences. */
  readonly text: string;
  /** The line of the page that it begins in, from 1. */
  readonly line: number;
  /** What becomes of it: a comment above it may say so, else its language does. */
  readonly use: Use;
  /** What the comment says beside that: the name of the file, or why the block is left out. */
  readonly note: string;
}

/** Comments above a block, and what they make of it. */
const COMMENTS: readonly (readonly [Use, RegExp])[] = [
  ["left out", /^<!-- not run: (.+) -->$/],
  ["file", /^<!-- file: (\S+) -->$/],
  ["page", /^<!-- in a page() -->$/],
];
const USES: Readonly<Record<string, Use>> = {
  "": "commands",
  sh: "commands",
  ts: "code",
  js: "code",
  html: "page",
  json: "data",
  text: "data",
};

/** The fenced blocks of the page at `path`. */
export function blocksOf(path: string): Block[] {
  const lines = readFileSync(path, "utf8").split("\n"), blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const [, language] = /^```(\w*)$/.exec(lines[i]) ?? [];
    if (language === undefined) continue;
    const end = lines.indexOf("```", i + 1);
    if (end < 0 || !(language in USES)) throw new Error(`${path}:${i + 1}: ${language}, no end`);
    const above = lines.slice(0, i).findLast((line) => line !== "") ?? "";
    const [use, note] = COMMENTS.map(([use, form]) => [use, form.exec(above)?.[1]] as const)
      .find(([, note]) => note !== undefined) ?? [USES[language], ""];
    const text = lines.slice(i + 1, end).join("\n") + "\n";
    blocks.push({ language, text, line: i + 1, use, note: note ?? "" });
    i = end;
  }
  return blocks;
}

/** Where the addresses of a reader's own project lead in this checkout. */
const ENTRIES: Readonly<Record<string, string>> = {
  "attune": "mod.ts",
  "attune/browser": "src/browser.ts",
};

/** A folder for a reader's commands, in `parent`: a model, images, and programs on the way. */
export class Desk {
  readonly #programs: string;
  readonly #env: Record<string, string>;

  private constructor(readonly folder: string, programs: string) {
    this.#programs = programs;
    this.#env = { NO_COLOR: "1", PATH: `${programs}:${Deno.env.get("PATH")}` };
  }

  /** A desk for the page `name` in `parent`, which holds what all desks share. */
  static open(parent: string, name: string): Desk {
    const folder = join(parent, name), shapes = join(root, "examples/shapes");
    mkdirSync(join(folder, "examples"), { recursive: true });
    cpSync(shapes, join(folder, "examples/shapes"), { recursive: true });
    cpSync(join(shapes, "shapes.onnx"), join(folder, "model.onnx"));
    cpSync(join(shapes, "calib"), join(folder, "images"), { recursive: true });
    cpSync(join(shapes, "val"), join(folder, "val"), { recursive: true });
    return new Desk(folder, join(parent, "programs"));
  }

  /** Runs the commands of `block`. */
  async command({ text }: Block): Promise<Outcome> {
    return await run("bash", ["-euo", "pipefail", "-c", text], this.folder, this.#env);
  }

  /** Writes the code of `block` to a file; returns its path. */
  write({ text, language, line, note }: Block): string {
    const path = join(this.folder, note || `line_${line}.${language}`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** Runs a file of code, which was checked before. */
  async code(path: string): Promise<Outcome> {
    return await run(
      Deno.execPath(),
      ["run", "-A", "--no-check", "--config", join(dirname(this.folder), "deno.json"), path],
      this.folder,
      this.#env,
    );
  }
}

/** Puts what desks share into `parent`: programs, packages for Node, and addresses of attune. */
export async function prepare(parent: string): Promise<void> {
  const { imports, compilerOptions } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  const entries = Object.entries(ENTRIES).map(([name, path]) =>
    [name, pathToFileURL(join(root, path)).href] as const
  );
  const versionOf = (name: string) =>
    /@(\d[\d.]*)/.exec(Object.entries<string>(imports).find(([key]) => key.startsWith(name))![1])!;
  const runtimes = ["onnxruntime-web", "onnxruntime-node"].map((name) =>
    [name, versionOf(name)[1]] as const
  );
  writeFileSync(
    join(parent, "package.json"),
    JSON.stringify({ dependencies: Object.fromEntries(runtimes) }),
  );
  const installed = await run(Deno.execPath(), ["install", "--node-modules-dir=auto"], parent);
  if (installed.code !== 0) throw new Error(installed.stderr);
  // Only Node looks into the folder of packages.
  rmSync(join(parent, "package.json"));
  const all = {
    ...imports,
    ...Object.fromEntries(entries),
    "onnxruntime-web": imports["onnxruntime-web/"].replace("npm:/", "npm:").replace(/\/$/, ""),
  };
  writeFileSync(
    join(parent, "deno.json"),
    JSON.stringify({ imports: all, compilerOptions, nodeModulesDir: "none", lock: false }),
  );
  writePrograms(join(parent, "programs"));
}

/** Writes programs that run this checkout where a reader runs what they installed. */
function writePrograms(folder: string): void {
  mkdirSync(folder);
  const deno = `'${Deno.execPath()}'`, script = `'${join(root, "quantize.ts")}'`;
  const programs = {
    // The script of a reader's checkout is that of this one.
    deno: `args=()\nfor arg; do [ "$arg" = quantize.ts ] && arg=${script}; args+=("$arg"); done\n` +
      `exec ${deno} "\${args[@]}"`,
    attune: `exec ${deno} run -A ${script} "$@"`,
    npx: `[ "$1" = -y ] && shift\nprogram=\${1%@*}; shift\nexec "$program" "$@"`,
  };
  for (const [name, text] of Object.entries(programs)) {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/bash\n${text}\n`);
    chmodSync(path, 0o755);
  }
}

/** The name of a page's folder. */
export function deskName(page: string): string {
  return page.replaceAll("/", "_").replace(/\.md$/, "");
}
