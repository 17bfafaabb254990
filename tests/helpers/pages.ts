/** Pages of Markdown as programs: their blocks of commands and code, and where these run. */

import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { makeNode, type Model, serializeModel } from "../../src/onnx/model.ts";
import { DataType, floatTensor, int64Tensor } from "../../src/onnx/tensor.ts";
import { type Outcome, root, run } from "./command_line.ts";
import { build, noise } from "./models.ts";

/** What becomes of a block. */
export type Use = "commands" | "server" | "code" | "file" | "page" | "data" | "left out";

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
  ["server", /^<!-- serves() -->$/],
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

/** Where the addresses that a reader imports lead in this checkout. */
export const ENTRIES: Readonly<Record<string, string>> = {
  "attune": "mod.ts",
  "attune/browser": "src/browser.ts",
  "attune/worker": "src/engine_worker.ts",
  "attune/workerd": "src/workerd.ts",
};

/** A folder for a reader's commands, in `parent`: a model, images, and programs on the way. */
export class Desk {
  readonly #env: Record<string, string>;
  readonly #servers: Deno.ChildProcess[] = [];

  private constructor(readonly folder: string, programs: string) {
    this.#env = { NO_COLOR: "1", PATH: `${programs}:${Deno.env.get("PATH")}` };
  }

  /** A desk for the page `name` in `parent`, which holds what all desks share. */
  static open(parent: string, name: string): Desk {
    const folder = join(parent, name), shapes = join(root, "examples/shapes");
    mkdirSync(join(folder, "examples"), { recursive: true });
    cpSync(shapes, join(folder, "examples/shapes"), { recursive: true });
    cpSync(join(shapes, "shapes.onnx"), join(folder, "model.onnx"));
    writeFileSync(join(folder, "encoder.onnx"), serializeModel(encoder()));
    copyFew(join(shapes, "calib"), join(folder, "images"));
    copyFew(join(shapes, "val"), join(folder, "val"));
    return new Desk(folder, join(parent, "programs"));
  }

  /** Runs the commands of `block`. */
  async command({ text }: Block): Promise<Outcome> {
    return await run("bash", ["-euo", "pipefail", "-c", text], this.folder, this.#env);
  }

  /** Starts the server of `block`, which ends when the desk is closed. */
  serve({ text }: Block): void {
    const command = new Deno.Command("bash", {
      args: ["-c", `exec ${text}`],
      cwd: this.folder,
      env: this.#env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    this.#servers.push(command.spawn());
  }

  /** Ends servers. */
  async close(): Promise<void> {
    for (const server of this.#servers.splice(0)) {
      server.kill();
      await server.status;
    }
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

/** Copies images of each class, few: a reader's folder that takes no time. */
function copyFew(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    mkdirSync(join(to, name), { recursive: true });
    for (const image of readdirSync(join(from, name)).sort().slice(0, 7)) {
      cpSync(join(from, name, image), join(to, name, image));
    }
  }
}

/** A text model in small: an embedding table, a mask, and two products. */
function encoder(): Model {
  return build({
    opset: 17,
    inputs: { input_ids: ["N", "T"], attention_mask: ["N", "T"] },
    types: { input_ids: DataType.INT64, attention_mask: DataType.INT64 },
    nodes: [
      makeNode("Gather", "embed", ["table", "input_ids"], ["words"]),
      makeNode("Cast", "cast", ["attention_mask"], ["mask"], { to: BigInt(DataType.FLOAT) }),
      makeNode("Unsqueeze", "spread", ["mask", "last"], ["column"]),
      makeNode("Mul", "masked", ["words", "column"], ["kept"]),
      makeNode("MatMul", "wide", ["kept", "w1"], ["hidden"]),
      makeNode("Relu", "relu", ["hidden"], ["active"]),
      makeNode("MatMul", "narrow", ["active", "w2"], ["tokens"]),
      makeNode("ReduceMean", "mean", ["tokens"], ["vector"], { axes: [1n] }),
    ],
    initializers: [
      floatTensor("table", [200, 32], noise(200 * 32, 1)),
      floatTensor("w1", [32, 64], noise(32 * 64, 2)),
      floatTensor("w2", [64, 16], noise(64 * 16, 3)),
      int64Tensor("last", [1], [-1]),
    ],
    outputs: ["vector"],
  });
}

/** Puts what desks share into `parent`: programs, packages for Node, and addresses of attune. */
export async function prepare(parent: string): Promise<void> {
  const { imports: own, scopes, compilerOptions } = JSON.parse(
    readFileSync(join(root, "deno.json"), "utf8"),
  );
  const imports: Record<string, string> = { ...own, ...scopes["./tests/"] };
  const web = imports["onnxruntime-web/"].replace("npm:/", "npm:").replace(/\/$/, "");
  const packages = [web, imports["onnxruntime-node"], imports["sharp"]].map((address) =>
    address.slice("npm:".length).split("@")
  );
  writeFileSync(
    join(parent, "package.json"),
    JSON.stringify({ dependencies: Object.fromEntries(packages) }),
  );
  const installed = await run(Deno.execPath(), ["install", "--node-modules-dir=auto"], parent);
  if (installed.code !== 0) throw new Error(installed.stderr);
  // Only Node looks into the folder of packages.
  rmSync(join(parent, "package.json"));
  const entries = Object.entries(ENTRIES).map(([name, path]) =>
    [name, pathToFileURL(join(root, path)).href] as const
  );
  const all = { ...imports, ...Object.fromEntries(entries), "onnxruntime-web": web };
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
    // Scripts of a reader's checkout are those of this one.
    deno: `args=()\nfor arg; do\n  [[ $arg = *.ts ]] && [ ! -e "$arg" ] && arg='${root}'"$arg"\n` +
      `  args+=("$arg")\ndone\nexec ${deno} "\${args[@]}"`,
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
