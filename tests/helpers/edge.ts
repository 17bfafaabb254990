/** The service of examples/edge as its users run it: in processes of workerd, Deno and Node. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildEdge } from "../../examples/edge/build.ts";
import type { Limits } from "../../examples/edge/limits.ts";
import { makeNode, type Model } from "../../src/onnx/model.ts";
import { floatTensor } from "../../src/onnx/tensor.ts";
import { root, run } from "./command_line.ts";
import { build, noise } from "./models.ts";

/** The version of workerd that is tested. */
const WORKERD = "1.20261117.1";

/** A process that serves. */
export interface Server extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
}

/** Installs workerd into `folder`; undefined where it cannot be had. */
export async function installWorkerd(folder: string): Promise<string | undefined> {
  const platform = Deno.build.os === "linux" ? "linux" : Deno.build.os;
  const name = `@cloudflare/workerd-${platform}-${Deno.build.arch === "x86_64" ? "64" : "arm64"}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ dependencies: { [name]: WORKERD } }),
  );
  await run(Deno.execPath(), ["install", "--node-modules-dir=auto"], folder);
  const program = join(folder, "node_modules", name, "bin/workerd");
  return existsSync(program) ? program : undefined;
}

/** The limits as settings of a process. */
function settings(limits: Partial<Limits>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(limits).map(([name, value]) => [name.toUpperCase(), String(value)]),
  );
}

/** The service in workerd, from what `build.ts` made in `folder`. */
export async function serveWorkerd(
  program: string,
  folder: string,
  limits: Partial<Limits>,
): Promise<Server> {
  const port = freePort(), config = join(folder, `config-${port}.capnp`);
  const bindings = Object.entries(settings(limits))
    .map(([name, text]) => `(name = "${name}", text = "${text}"),`).join("\n");
  writeFileSync(
    config,
    readFileSync(join(folder, "config.capnp"), "utf8")
      .replace(/bindings = \[[^\]]*\]/, `bindings = [${bindings}]`)
      .replace("127.0.0.1:8787", `127.0.0.1:${port}`),
  );
  const child = new Deno.Command(program, {
    args: ["serve", config],
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  return await answering("workerd", `http://127.0.0.1:${port}`, child);
}

/** The service by `deno serve`. */
export async function serveDeno(limits: Partial<Limits>): Promise<Server> {
  const port = freePort(), script = join(root, "examples/edge/deno.ts");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["serve", "-A", "--no-check", "--host", "127.0.0.1"]
      .concat("--port", String(port), script),
    env: settings(limits),
    stdout: "null",
    stderr: "null",
  }).spawn();
  return await answering("deno serve", `http://127.0.0.1:${port}`, child);
}

/** The service on Node, from what `build.ts` made in `folder`. */
export async function serveNode(folder: string, limits: Partial<Limits>): Promise<Server> {
  const port = freePort();
  const child = new Deno.Command("node", {
    args: [join(folder, "node.mjs")],
    env: { ...settings(limits), PORT: String(port) },
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  return await answering("Node", `http://127.0.0.1:${port}`, child);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The server of `child`, once it answers. */
async function answering(name: string, url: string, child: Deno.ChildProcess): Promise<Server> {
  let ended = false;
  child.status.then(() => ended = true);
  const stop = async () => {
    if (!ended) child.kill("SIGKILL");
    await child.status;
  };
  for (let tries = 0;; tries++) {
    try {
      await (await fetch(url)).body?.cancel();
      return { name, url, pid: child.pid, [Symbol.asyncDispose]: stop };
    } catch (error) {
      if (!ended && tries < 600) await new Promise((resolve) => setTimeout(resolve, 100));
      else {
        await stop();
        throw error;
      }
    }
  }
}

/** What is built and installed for the tests, in `folder`. */
export async function setUp(folder: string): Promise<string | undefined> {
  await buildEdge(join(folder, "dist"));
  return await installWorkerd(join(folder, "workerd"));
}

/** A small classifier with BatchNormalization, whose weights `seed` decides. */
export function classifier(seed: number, width = 8): Model {
  const weight = (name: string, dims: number[], of: number) =>
    floatTensor(name, dims, noise(dims.reduce((a, b) => a * b, 1), 7 * seed + of));
  const norm = (name: string) => ["scale", "shift", "mean", "var"].map((part) => `${name}_${part}`);
  const values = (name: string, of: number) =>
    norm(name).map((part, i) =>
      floatTensor(part, [width], noise(width, 7 * seed + of + i).map((x) => i === 3 ? 1.5 + x : x))
    );
  return build({
    opset: 13,
    inputs: { x: ["N", 3, 8, 8] },
    nodes: [
      makeNode("Conv", "first", ["x", "w1"], ["a"], { pads: [1n, 1n, 1n, 1n] }),
      makeNode("BatchNormalization", "bn1", ["a", ...norm("bn1")], ["b"]),
      makeNode("Relu", "relu1", ["b"], ["c"]),
      makeNode("Conv", "middle", ["c", "w2"], ["d"], { pads: [1n, 1n, 1n, 1n] }),
      makeNode("BatchNormalization", "bn2", ["d", ...norm("bn2")], ["e"]),
      makeNode("Relu", "relu2", ["e"], ["f"]),
      makeNode("GlobalAveragePool", "pool", ["f"], ["g"]),
      makeNode("Flatten", "flat", ["g"], ["h"]),
      makeNode("Gemm", "last", ["h", "w3", "b3"], ["y"], { transB: 1n }),
    ],
    initializers: [
      weight("w1", [width, 3, 3, 3], 1),
      ...values("bn1", 10),
      weight("w2", [width, width, 3, 3], 2),
      ...values("bn2", 20),
      weight("w3", [5, width], 3),
      weight("b3", [5], 4),
    ],
    outputs: ["y"],
  });
}

/** Samples for {@linkcode classifier} as lines of JSON. */
export function sampleLines(count: number): string {
  return Array.from({ length: count }, (_, i) => {
    const values = noise(3 * 8 * 8, 1000 + i);
    const rows = (from: number) =>
      Array.from({ length: 8 }, (_, y) => [...values.subarray(from + 8 * y, from + 8 * y + 8)]);
    return JSON.stringify({ x: [rows(0), rows(64), rows(128)] });
  }).join("\n");
}
