/**
 * The npm package as users meet it: its tarball installed in an empty folder, without install
 * scripts, used by Node, Bun, TypeScript and bundlers.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { attune, root, run } from "./helpers/command_line.ts";
import { CHROMIUM } from "./helpers/chromium.ts";
import { filesBelow, Packed, resultOf } from "./helpers/package.ts";

const model = join(root, "examples/shapes/shapes.onnx");
const calib = join(root, "examples/shapes/calib");
const node = await run("node", ["--version"]).catch(() => undefined);
const isMissing = node === undefined;
if (isMissing) console.log("skipped: the tests of the npm package need Node");

/** Bytes of the tarball's files, at most: what travels with every install. */
const MOST_BYTES = 2_000_000;

/** What uses the package, all in one project. */
const USERS = {
  "typescript": "7.0.2",
  "@types/node": "20.19.25",
  "vite": "8.4.0",
  "esbuild": "0.28.2",
  "bun": "1.4.5",
  "webpack": "5.113.0",
  "webpack-cli": "6.0.1",
};

/** A project that uses the package. */
interface Users {
  readonly packed: Packed;
  /** Its folder. */
  readonly project: string;
  /** A page in it. */
  readonly page: string;
  /** Runs a program in it. */
  readonly inProject: (program: string, ...args: string[]) => ReturnType<typeof run>;
}

/** What the carried example is served as. */
const SHAPES = { "shapes.onnx": readFileSync(model) };

/** What is tried, in this order. */
const STEPS: Readonly<Record<string, (users: Users) => void | Promise<void>>> = {
  "holds what its entries name, and nothing of tests and tools"({ packed, project }) {
    const { exports, bin } = JSON.parse(
      readFileSync(join(project, "node_modules/attune/package.json"), "utf8"),
    );
    const named = JSON.stringify([exports, bin]).match(/\.\/[^"]+/g)!;
    assert(named.length > 10);
    const paths = named.filter((path) => /\.(js|d\.ts|json|wasm)$/.test(path));
    for (const path of paths) assert(packed.files.has(path.slice(2)), `${path} is missing`);
    const odd = [...packed.files.keys()].filter((path) =>
      !/^(src\/.*|mod|cli)\.(js|d\.ts)$|^(package\.json|README\.md|LICENSE|kernel\.wasm)$/
        .test(path)
    );
    assertEquals(odd, []);
    const bytes = [...packed.files.values()].reduce((sum, size) => sum + size, 0);
    assert(bytes < MOST_BYTES, `${bytes} bytes`);
  },

  "names no source file that is not in it"({ packed, project }) {
    for (const path of packed.files.keys()) {
      if (!/\.(js|d\.ts)$/.test(path)) continue;
      const code = readFileSync(join(project, "node_modules/attune", path), "utf8")
        .replace(/\/\*[^]*?\*\//g, "");
      for (const [, name] of code.matchAll(/["'](\.{1,2}\/[^"'\n]+)["']/g)) {
        assert(!name.endsWith(".ts"), `${path} imports ${name}`);
      }
    }
  },

  async "is compiled against by nodenext and bundler, and runs in Node"({ project, inProject }) {
    cpSync(join(root, "tests/helpers/package/consumer.ts"), join(project, "consumer.ts"));
    for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
      const options = ["--strict", "--target", "es2022", "--types", "node"];
      options.push("--module", module, "--moduleResolution", resolution);
      const { code, stdout } = await inProject("npx", "tsc", "consumer.ts", ...options);
      assertEquals(code, 0, stdout);
    }
    const ran = await inProject("node", "consumer.js", model);
    assertEquals(ran.code, 0, ran.stderr);
    const { layers, bytes, error } = JSON.parse(ran.stdout);
    assertEquals([layers, error], [10, "function"]);
    assert(bytes < 80_000);
  },

  async "is required by CommonJS, and sets its names by either way"({ project, inProject }) {
    const script = `const { plan, readModel } = require("attune");
      import("attune").then((module) => console.log(
        plan(readModel(${JSON.stringify(model)})).layers.length, module.plan === plan));`;
    writeFileSync(join(project, "consumer.cjs"), script);
    const ran = await inProject("node", "consumer.cjs");
    assertEquals([ran.code, ran.stdout.trim()], [0, "10 true"], ran.stderr);
  },

  async "gives the kernel as a file"({ inProject }) {
    const script = `import { readFile } from "node:fs/promises";
      const path = new URL(import.meta.resolve("attune/kernel.wasm"));
      console.log(WebAssembly.Module.exports(new WebAssembly.Module(await readFile(path))).length);`;
    const ran = await inProject("node", "--input-type=module", "-e", script);
    assert(Number(ran.stdout) > 10, ran.stderr);
  },

  async "npx attune writes the same bytes as Deno"({ packed, inProject }) {
    const job = [model, "--data", calib, "--limit", "32", "--bits", "3", "--seed", "5"];
    job.push("--blocks", "--iterations", "2");
    const deno = join(packed.folder, "deno.onnx"), other = join(packed.folder, "node.onnx");
    const first = await attune(...job, "--threads", "1", "-o", deno);
    assertEquals(first.code, 0, first.stderr);
    const second = await inProject("npx", "attune", ...job, "--threads", "2", "-o", other);
    assertEquals(second.code, 0, second.stderr);
    assertEquals(readFileSync(other), readFileSync(deno));
  },

  async "says in one sentence what is missing where no runtime is there"(
    { packed, project, inProject },
  ) {
    const runtime = join(project, "node_modules/onnxruntime-web");
    Deno.renameSync(runtime, `${runtime}-away`);
    try {
      const out = join(packed.folder, "none.onnx");
      const ran = await inProject("npx", "attune", model, "--data", calib, "-o", out);
      assertEquals(ran.code, 2, ran.stderr);
      assert(
        ran.stderr.includes("onnxruntime-web does not load here; install it, or"),
        ran.stderr,
      );
      assert(!existsSync(out));
    } finally {
      Deno.renameSync(`${runtime}-away`, runtime);
    }
  },

  async "Vite makes its worker and finds the runtime, and a job runs"({ page, inProject }) {
    const { code, stderr } = await inProject("npx", "vite", "build", "page");
    assertEquals(code, 0, stderr);
    const files = filesBelow(join(page, "dist/assets"));
    for (const part of [/engine_worker.*\.js$/, /ort-wasm-simd-threaded.*\.wasm$/]) {
      assert(files.some((name) => part.test(name)), `${part} is not in ${files.join(", ")}`);
    }
    if (CHROMIUM !== undefined) assertQuantized(await resultOf(join(page, "dist"), SHAPES));
  },

  async "webpack does, too, without settings"({ page, inProject }) {
    const out = join(page, "packed");
    const job = ["webpack", "build", "./page/page.js", "--mode", "development", "-o", out];
    const { code, stdout } = await inProject("npx", ...job);
    assertEquals(code, 0, stdout);
    writeFileSync(join(out, "index.html"), `<script src=./main.js></script>`);
    if (CHROMIUM !== undefined) assertQuantized(await resultOf(out, SHAPES));
  },

  async "esbuild builds page and worker as two entries, and a job runs"(
    { project, page, inProject },
  ) {
    const out = join(page, "built"), runtime = "ort-wasm-simd-threaded.wasm";
    mkdirSync(out);
    const code = readFileSync(join(page, "page.js"), "utf8");
    writeFileSync(join(page, "entry.js"), code.replace("attune/worker", "./worker.js"));
    const built = await inProject(
      ...["npx", "esbuild", "page=page/entry.js", "worker=attune/worker"] as const,
      ...["--bundle", "--format=esm", `--outdir=${out}`] as const,
    );
    assertEquals(built.code, 0, built.stderr);
    cpSync(join(project, "node_modules/onnxruntime-web/dist", runtime), join(out, runtime));
    cpSync(join(page, "index.html"), join(out, "index.html"));
    if (CHROMIUM !== undefined) assertQuantized(await resultOf(out, SHAPES));
  },

  async "Bun quantizes to the bytes that Node's package writes"({ packed, project, inProject }) {
    const name = `node_modules/@oven/bun-${Deno.build.os}-${BUN_CPU[Deno.build.arch]}/bin/bun`;
    const bun = join(project, name);
    assert(existsSync(bun), `${name} is not installed`);
    const job = [model, "--data", calib, "--limit", "8", "--rounding", "nearest"];
    const outs = ["bun.onnx", "again.onnx"].map((name) => join(packed.folder, name));
    const cli = join(project, "node_modules/attune/cli.js");
    for (const [i, program] of [bun, "node"].entries()) {
      const { code, stderr } = await inProject(program, cli, ...job, "-o", outs[i]);
      assertEquals(code, 0, stderr);
    }
    assertEquals(readFileSync(outs[0]), readFileSync(outs[1]));
  },
};

Deno.test({
  name: "the npm package",
  ignore: isMissing,
  async fn(t) {
    using packed = new Packed();
    const project = packed.project("users", USERS);
    const page = join(project, "page");
    mkdirSync(page);
    cpSync(join(root, "tests/helpers/package/page.js"), join(page, "page.js"));
    writeFileSync(join(page, "index.html"), `<script type=module src=./page.js></script>`);
    const inProject = (program: string, ...args: string[]) => run(program, args, project);
    const users = { packed, project, page, inProject };
    for (const [name, work] of Object.entries(STEPS)) await t.step(name, () => work(users));
  },
});

/** What Bun's packages call processors. */
const BUN_CPU = { x86_64: "x64", aarch64: "aarch64" } as const;

/** Asserts that a page's job came to a model of 4 bits. */
function assertQuantized(bytes: unknown): void {
  assert(typeof bytes === "number" && bytes > 40_000 && bytes < 80_000, String(bytes));
}
