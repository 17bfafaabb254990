/**
 * Stops the program at random moments of every stage and looks at what is left:
 * `deno run -A bench/stops.ts [--times 20] [--stages blocks,…] [--seed 1]
 * [--program "node npm/cli.js"]`.
 *
 * A stop by SIGINT, SIGTERM or SIGHUP must end it with code 130, without output but a checkpoint,
 * and without temporary files; after SIGKILL, --resume must end with the bytes of a whole run.
 * Prints a table; the exit code is 1 where a stop ended otherwise.
 *
 * @module
 */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "../src/cli/table.ts";

const { values } = parseArgs({
  options: {
    times: { type: "string", default: "20" },
    stages: { type: "string" },
    seed: { type: "string", default: "1" },
    program: { type: "string" },
  },
});
const times = Number(values.times);
const root = fileURLToPath(new URL("../", import.meta.url)), shapes = join(root, "examples/shapes");
const model = join(shapes, "shapes.onnx"), calib = join(shapes, "calib");
const program = values.program?.split(" ") ??
  [Deno.execPath(), "run", "-A", "--no-check", join(root, "quantize.ts")];

const data = ["--data", calib, "--limit", "48"];
/** The command line of each stage; `-o OUT` is added where `writes`. */
const STAGES: Record<string, { args: string[]; writes: boolean }> = {
  layers: { args: [model, ...data, "--bits", "3"], writes: true },
  blocks: { args: [model, ...data, "--bits", "2", "--blocks", "--iterations", "12"], writes: true },
  measuring: {
    args: [model, ...data, "--average-bits", "3", "--allocate", "measured"],
    writes: true,
  },
  sweep: { args: [model, ...data, "--sweep", "2..4"], writes: false },
  evaluate: {
    args: ["evaluate", model, "--data", join(shapes, "val"), "--limit", "200"],
    writes: false,
  },
};
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Milliseconds after a stop from which on the program hangs. */
const HANGS = 20_000;

let state = Number(values.seed) >>> 0;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

/** Runs `args`; where `stop` is given, it gets that signal after so many milliseconds. */
async function run(args: readonly string[], temporary: string, stop?: [Deno.Signal, number]) {
  const [command, ...first] = program;
  const child = new Deno.Command(command, {
    args: [...first, ...args],
    env: { TMPDIR: temporary },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const started = performance.now();
  let hung = false, stopped = 0;
  const timers = stop === undefined ? [] : [
    setTimeout(() => {
      stopped = performance.now();
      child.kill(stop[0]);
    }, stop[1]),
    setTimeout(() => {
      hung = true;
      child.kill("SIGKILL");
    }, stop[1] + HANGS),
  ];
  const { code, stderr } = await child.output();
  timers.forEach(clearTimeout);
  const now = performance.now();
  return {
    code,
    hung,
    said: new TextDecoder().decode(stderr),
    milliseconds: now - started,
    ending: stopped === 0 ? 0 : now - stopped,
  };
}

const folder = mkdtempSync(join(tmpdir(), "stops-"));
const rows: string[][] = [], faults: string[] = [];
const stages = values.stages?.split(",") ?? Object.keys(STAGES);
for (const [stage, { args, writes }] of stages.map((name) => [name, STAGES[name]] as const)) {
  const temporary = join(folder, "temporary"), outputs = join(folder, "outputs");
  const fresh = () => {
    for (const path of [temporary, outputs]) {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path);
    }
  };
  fresh();
  const out = join(outputs, "out.onnx"), job = writes ? [...args, "-o", out] : args;
  const whole = await run(job, temporary);
  if (whole.code !== 0) throw new Error(whole.said);
  const bytes = writes ? readFileSync(out) : undefined;
  const moment = () => Math.floor(whole.milliseconds * (0.05 + 0.95 * random()));
  const count = { stopped: 0, done: 0, resumed: 0 };
  let longest = 0;
  const expect = (right: boolean, what: string) => void (right || faults.push(`${stage}: ${what}`));
  for (let i = 0; i < times; i++) {
    fresh();
    const signal = SIGNALS[i % SIGNALS.length], at = moment();
    const { code, hung, said, ending } = await run(job, temporary, [signal, at]);
    const left = readdirSync(outputs), words = `${signal} after ${at} ms: code ${code}, ${said}`;
    longest = Math.max(longest, ending);
    // Before the program listens, the signal ends it by itself: then nothing was begun.
    const early = code === 128 + { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 }[signal] && said === "";
    expect(!hung && (code === 130 || code === 0 || early), words);
    expect(readdirSync(temporary).length === 0, `${words}: temporary files stay`);
    if (code === 0) count.done++;
    else {
      count.stopped++;
      expect(left.every((name) => name === "out.onnx.checkpoint"), `${words}: ${left}`);
    }
  }
  for (let i = 0; writes && i < times; i++) {
    fresh();
    const at = moment();
    const { code } = await run(job, temporary, ["SIGKILL", at]);
    if (code !== 0) count.resumed++;
    // It may come between the last rename and the end: then all is there.
    const part = existsSync(out) && !readFileSync(out).equals(bytes!);
    expect(!part, `SIGKILL after ${at} ms: a part of the output is there`);
    const again = await run([...job, "--resume"], temporary);
    const same = again.code === 0 && readFileSync(out).equals(bytes!);
    expect(same, `resumed after SIGKILL at ${at} ms: ${again.said}`);
    expect(`${readdirSync(outputs)}` === "out.onnx", `after resuming: ${readdirSync(outputs)}`);
    expect(readdirSync(temporary).length === 0, "after resuming: temporary files stay");
  }
  rows.push([
    stage,
    `${(whole.milliseconds / 1000).toFixed(1)} s`,
    `${count.stopped}`,
    `${count.done}`,
    `${Math.round(longest)} ms`,
    writes ? `${count.resumed}` : "",
  ]);
}
rmSync(folder, { recursive: true });
const head = ["stage", "whole run", "stopped", "done before", "longest end", "killed and resumed"];
console.log(table(head, rows));
console.log(faults.length === 0 ? "no faults" : faults.join("\n"));
Deno.exit(faults.length === 0 ? 0 : 1);
