/**
 * The process that cases run in: it reads `kind seed folder` line by line and answers each with a
 * line of JSON. What hangs it, or makes it too large, is for the process that started it to see.
 */

import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { main } from "../../src/cli/cli.ts";
import { AttuneError } from "../../src/errors.ts";
import { readModel } from "../../src/onnx/file.ts";
import { serializeModel } from "../../src/onnx/model.ts";
import { sessionBytes } from "../../src/onnx/session_bytes.ts";
import { loadBackend } from "../../src/runtime/backends.ts";
import { type Job, makeCase } from "./cases.ts";
import { MODELS } from "./corpus.ts";

/** What came of a case. */
export interface Verdict {
  /** `done`, `refused` by a typed error, or a `find`. */
  readonly outcome: "done" | "refused" | "find";
  /** The error, or what is wrong. */
  readonly words: string;
  /**
   * Whether the runtime still works: once it has crashed, nothing else in this process will open.
   */
  readonly sound: boolean;
  /** Bytes that the process took at its largest. */
  readonly memory: number;
}

/** What the program printed for the case at hand. */
let printed = "";
const answer = process.stdout.write.bind(process.stdout);
for (const stream of [process.stdout, process.stderr]) {
  stream.write = ((text: string, done?: () => void) => {
    printed += text;
    done?.();
    return true;
  }) as typeof stream.write;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, seed, ...folder] = line.split(" ");
  const verdict = await judge(kind, Number(seed), folder.join(" "));
  answer(`@${JSON.stringify(verdict)}\n`);
}

async function judge(kind: string, seed: number, folder: string): Promise<Verdict> {
  printed = "";
  let outcome: Verdict["outcome"] = "find", words: string;
  try {
    const job = await makeCase(kind, seed, folder);
    const before = filesIn(folder);
    const failure = await failureOf(job);
    words = failure?.words ?? "";
    const wrong = failure && !failure.typed ? words : filesWrong(before, filesIn(folder), !failure);
    if (wrong === undefined && !failure) words = await openingOf(before, folder);
    if (wrong !== undefined) words = wrong;
    else if (failure || words === "") outcome = failure ? "refused" : "done";
  } catch (error) {
    words = `the case could not be made: ${(error as Error)?.stack ?? error}`;
  }
  const left = readdirSync(tmpdir());
  if (left.length > 0) [outcome, words] = ["find", `temporary files stay: ${left.join(", ")}`];
  return { outcome, words, sound: await isSound(), memory: peakMemory() };
}

/**
 * Bytes that this process had in memory at most. (Its resource usage would count those of its
 * parent.)
 */
function peakMemory(): number {
  const status = "/proc/self/status";
  if (!existsSync(status)) return process.resourceUsage().maxRSS * 1024;
  return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(status, "utf8"))?.[1]);
}

/** How `job` failed, and whether as it should; undefined where it did not. */
async function failureOf(job: Job): Promise<{ typed: boolean; words: string } | undefined> {
  if ("args" in job) {
    const code = await main([...job.args, "--verbose"]);
    const words = printed.slice(Math.max(0, printed.indexOf("error: "))).trim();
    // 3: done, but worse than --fail-above allows.
    const isDone = code === 0 || code === 3;
    return isDone ? undefined : { typed: code === 2, words: `exit code ${code}: ${words}` };
  }
  try {
    await job.run();
  } catch (error) {
    const typed = error instanceof AttuneError && error.isUserError;
    return { typed, words: String((error as Error)?.stack ?? error) };
  }
}

/** Every file below `folder` with its bytes. */
function filesIn(folder: string): Map<string, Uint8Array> {
  const files = readdirSync(folder, { recursive: true }).map(String).sort();
  return new Map(
    files.filter((file) => lstatSync(join(folder, file)).isFile())
      .map((file) => [file, readFileSync(join(folder, file))]),
  );
}

/** What a job did to files that it should not have done. */
function filesWrong(
  before: ReadonlyMap<string, Uint8Array>,
  after: ReadonlyMap<string, Uint8Array>,
  done: boolean,
): string | undefined {
  const isOutput = (file: string) =>
    file.startsWith("out") && (done || file.endsWith(".checkpoint"));
  for (const [file, bytes] of before) {
    const now = after.get(file);
    if (isOutput(file)) continue;
    if (now === undefined) return `${file} is gone`;
    if (!isSame(bytes, now)) return `${file} was changed`;
  }
  const stray = [...after.keys()].filter((file) =>
    !before.has(file) && !(isOutput(file) || /^out[^/]*\/block/.test(file))
  );
  return stray.length > 0 ? `stray files: ${stray.join(", ")}` : undefined;
}

function isSame(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * Why a model that a job has written does not open; empty where all do, or what it came from does
 * not.
 */
async function openingOf(before: ReadonlyMap<string, Uint8Array>, folder: string): Promise<string> {
  for (const [file, now] of filesIn(folder)) {
    // A file with other bytes is one that was written; a page may be called like a model.
    const isPage = now[0] === "<".charCodeAt(0);
    if (!/^out[^/]*\.onnx$/.test(file) || isPage || isSame(before.get(file), now)) continue;
    const error = await openingError(join(folder, file));
    if (error === undefined || !before.has("m.onnx")) continue;
    if (await openingError(join(folder, "m.onnx")) === undefined) return `${file}: ${error}`;
  }
  return "";
}

async function openingError(path: string): Promise<string | undefined> {
  try {
    const session = await (await loadBackend("web")).open(sessionBytes(readModel(path)));
    await session.release();
  } catch (error) {
    return (error as Error).message;
  }
}

/** Whether a sound model still opens and runs. */
async function isSound(): Promise<boolean> {
  if (!printed.includes("onnxruntime")) return true;
  try {
    const session = await (await loadBackend("web")).open(serializeModel(MODELS.products()));
    const x = { type: "float32", dims: [1, 8], data: new Float32Array(8) };
    await session.run({ x });
    await session.release();
    return true;
  } catch {
    return false;
  }
}
