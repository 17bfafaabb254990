/**
 * The command line: chooses the command, stops it on a signal, and turns errors into exit codes.
 *
 * @module
 */

import process from "node:process";
import { AttuneError } from "../errors.ts";
import { printable } from "../printable.ts";
import { VERSION } from "../version.ts";
import { type Command, helpOf, parseCommand } from "./command.ts";
import { cutCommand } from "./cut.ts";
import { evaluateCommand } from "./evaluate.ts";
import { inspectCommand } from "./inspect.ts";
import { quantizeCommand } from "./quantize.ts";

const COMMANDS: readonly Command[] = [
  quantizeCommand,
  evaluateCommand,
  inspectCommand,
  cutCommand,
];

/** Exit codes: 0 done, 1 a defect of attune, 2 the user's to mend, 130 stopped by a signal. */
export type ExitCode = 0 | 1 | 2 | 130;

/** What stops the program: Ctrl-C, a polite kill, a terminal that is closed. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Milliseconds that a stopped command has to clean up; then the program ends all the same. */
const GRACE = 3000;

/** Runs the command line `args`; returns the exit code. Nothing is thrown. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  // A progress bar may stand on the line: it is drawn again with the next event.
  const clear = process.stderr.isTTY ? "\r\x1b[K" : "";
  const say = (line: string) => {
    try {
      process.stderr.write(`${clear}${shown(line)}\n`);
    } catch {
      // The terminal is gone: there is nobody to tell.
    }
  };
  let unprinted: Error | undefined;
  // Deno throws what Node tells later. Who reads no further, as head does, has what they want.
  const failed = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") unprinted = error;
  };
  const print = (text: string) => {
    try {
      process.stdout.write(`${shown(text)}\n`);
    } catch (error) {
      failed(error as Error);
    }
  };
  const first = args[0];
  if (first === "--version") {
    print(VERSION);
    return 0;
  }
  const named = COMMANDS.find((command) => command.name === first);
  // "quantize" may be left out: the first argument is then a model or a flag.
  const command = named ?? quantizeCommand;
  const rest = named ? args.slice(1) : args;
  if (args.length === 0 || (named === undefined && (first === "--help" || first === "-h"))) {
    print(overview());
    return args.length === 0 ? 2 : 0;
  }
  const controller = new AbortController();
  const stop = () => {
    // Files of others are safe: results are renamed into place as the last act.
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new AttuneError("aborted", "Stopped"));
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  for (const stream of [process.stdout, process.stderr]) stream.on("error", failed);
  if (process.platform !== "win32") process.on("SIGXFSZ", ignore);
  const verbose = args.includes("--verbose");
  try {
    if (rest.includes("--help") || rest.includes("-h")) {
      print(helpOf(command));
      return 0;
    }
    const context = { signal: controller.signal, say, print };
    await orStopped(command.run(parseCommand(command, rest), context), controller.signal);
    await new Promise<void>((done) => process.stdout.write("", () => done()));
    if (unprinted === undefined) return 0;
    throw new AttuneError(
      "bad-output",
      `Cannot print the result: ${unprinted.message}; free some space or send it elsewhere`,
    );
  } catch (error) {
    if (controller.signal.aborted) {
      say("Stopped; no file was left half-written");
      return 130;
    }
    const known = error instanceof AttuneError;
    say(`error: ${known ? error.message : `attune failed: ${(error as Error)?.message ?? error}`}`);
    if (verbose) say(String((error as Error)?.stack ?? ""));
    else if (!known || !error.isUserError) say("Run again with --verbose to see where");
    return known && error.isUserError ? 2 : 1;
  } finally {
    for (const signal of SIGNALS) process.off(signal, stop);
    for (const stream of [process.stdout, process.stderr]) stream.off("error", failed);
    if (process.platform !== "win32") process.off("SIGXFSZ", ignore);
  }
}

/** With a listener, writing past a limit on the size of files fails instead of ending the program. */
function ignore(): void {}

/** Waits for `work`; where `signal` fires, no longer than {@linkcode GRACE}. */
async function orStopped(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => {
      timer = setTimeout(() => reject(signal.reason), GRACE);
    });
  });
  try {
    await Promise.race([work, stopped]);
  } finally {
    clearTimeout(timer);
  }
}

/** `text` with nothing in it that steers a terminal, but its line breaks. */
function shown(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

function overview(): string {
  return [
    "attune makes ONNX models 4 to 8 times smaller, for wherever JavaScript runs.",
    "",
    ...COMMANDS.flatMap((c) => [`  attune ${c.name} ${c.usage}`, `      ${c.summary}`, ""]),
    "One example for each:",
    ...COMMANDS.map((c) => `  ${c.examples[0][1]}`),
    "",
    "attune <command> --help lists the flags of a command; --version prints the version.",
  ].join("\n");
}
