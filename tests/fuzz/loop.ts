/** Runs many cases in processes of their own, and tells what none of them should do. */

import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { type ChildProcess, spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ROTATION } from "./cases.ts";
import type { Verdict } from "./child.ts";

/** What to try. */
export interface FuzzOptions {
  /** The first seed. Default: 1. */
  seed?: number;
  /** How many inputs. Default: 1000. */
  count?: number;
  /** The kind of input. Default: all in turn. */
  kind?: string;
  /** Seconds that an input may take. Default: 60. */
  deadline?: number;
  /** Hears of each find. Default: nobody. */
  onFind?: (find: Find) => void;
  /** Hears of each verdict. Default: nobody. */
  onVerdict?: (kind: string, seed: number, verdict: Verdict) => void;
}

/** An input that something is wrong with. */
export interface Find {
  readonly kind: string;
  readonly seed: number;
  /** What is wrong. */
  readonly words: string;
  /** Where its files are. */
  readonly folder: string;
}

/** What came of a run. */
export interface Summary {
  /** Inputs that went through, and such as were refused, by kind. */
  readonly counts: Readonly<Record<string, { done: number; refused: number }>>;
  readonly finds: readonly Find[];
  /** Bytes that the largest process took. */
  readonly memory: number;
  /** Times that the runtime crashed, in words that said so. */
  readonly crashes: number;
}

/** Bytes that no process may take, and such as one is replaced at. */
const MOST_MEMORY = 2e9, LARGE = 8e8;

/** Tries `options.count` inputs. */
export async function fuzz(options: FuzzOptions = {}): Promise<Summary> {
  const { seed: first = 1, count = 1000, deadline = 60, onFind, onVerdict } = options;
  const root = mkdtempSync(join(tmpdir(), "attune-fuzz-"));
  const finds: Find[] = [], counts: Record<string, { done: number; refused: number }> = {};
  let child: Child | undefined, memory = 0, crashes = 0;
  try {
    for (let i = 0; i < count; i++) {
      const seed = first + i, kind = options.kind ?? ROTATION[seed % ROTATION.length];
      const folder = join(root, `${kind}-${seed}`);
      const judge = async () => {
        rmSync(folder, { recursive: true, force: true });
        mkdirSync(folder);
        child ??= new Child(join(root, "tmp"));
        return await child.judge(`${kind} ${seed} ${folder}`, deadline);
      };
      const used = child !== undefined;
      let verdict = await judge();
      // What a process had taken before may be the fault of other inputs.
      if (used && verdict.memory > MOST_MEMORY) {
        await child?.end();
        child = undefined;
        verdict = await judge();
      }
      onVerdict?.(kind, seed, verdict);
      memory = Math.max(memory, verdict.memory);
      const big = verdict.memory > MOST_MEMORY;
      if (verdict.outcome === "find" || big) {
        const kept = join(tmpdir(), "attune-finds", `${kind}-${seed}`);
        rmSync(kept, { recursive: true, force: true });
        mkdirSync(join(kept, ".."), { recursive: true });
        renameSync(folder, kept);
        const words = big ? `${verdict.memory} bytes of memory; ${verdict.words}` : verdict.words;
        const find = { kind, seed, words, folder: kept };
        finds.push(find);
        onFind?.(find);
      } else (counts[kind] ??= { done: 0, refused: 0 })[verdict.outcome as "done"]++;
      rmSync(folder, { recursive: true, force: true });
      if (!verdict.sound) crashes++;
      if (verdict.sound && verdict.memory < LARGE) continue;
      await child?.end();
      child = undefined;
    }
  } finally {
    await child?.end();
    rmSync(root, { recursive: true, force: true });
  }
  return { counts, finds, memory, crashes };
}

/** A process that judges cases. */
class Child {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<void>;
  #errors = "";

  /** Starts it; its temporary files go to `folder`. */
  constructor(folder: string) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
    const args = ["run", "-A", `--lock=${pathOf("../deno.lock")}`, pathOf("./child.ts")];
    this.#process = spawn(Deno.execPath(), args, {
      env: { ...Deno.env.toObject(), TMPDIR: folder, NO_COLOR: "1" },
    });
    const { stdout, stderr } = this.#process;
    this.#lines = createInterface({ input: stdout! })[Symbol.asyncIterator]();
    stderr!.on("data", (text) => this.#errors = (this.#errors + text).slice(-2000));
    this.#ended = new Promise((done) => this.#process.on("close", () => done()));
  }

  /** What comes of `request` within `deadline` seconds. */
  async judge(request: string, deadline: number): Promise<Verdict> {
    this.#process.stdin!.write(`${request}\n`);
    const until = Date.now() + 1000 * deadline;
    let why = `hangs: nothing came of it in ${deadline} seconds`, most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, memoryOf(this.#process.pid));
      if (most > MOST_MEMORY) why = `${most} bytes of memory`;
      else if (Date.now() < until) return;
      this.#process.kill("SIGKILL");
    }, 200);
    try {
      for (;;) {
        const { value, done } = await this.#lines.next();
        if (!done && value.startsWith("@")) return JSON.parse(value.slice(1));
        if (!done) continue;
        if (Date.now() < until && most <= MOST_MEMORY) why = `the process ended: ${this.#errors}`;
        return { outcome: "find", words: why, sound: false, memory: most };
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** Ends it. */
  async end(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }
}

/** Bytes that a process takes now; 0 where the system does not say. */
function memoryOf(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return 1024 * Number(/VmRSS:\s*(\d+)/.exec(status)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
