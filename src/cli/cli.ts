/**
 * The command line: chooses the command, stops it on a signal, and turns errors into exit codes.
 *
 * @module
 */

import { existsSync } from "node:fs";
import process from "node:process";
import { AttuneError } from "../errors.ts";
import { printable } from "../printable.ts";
import { VERSION } from "../version.ts";
import { type Command, type ExitCode, parseCommand } from "./command.ts";
import { compareCommand } from "./compare.ts";
import { cutCommand } from "./cut.ts";
import { didYouMean } from "./did_you_mean.ts";
import { evaluateCommand } from "./evaluate.ts";
import { firstSteps, helpOf, overviewOf } from "./help.ts";
import { inspectCommand } from "./inspect.ts";
import { quantizeCommand } from "./quantize.ts";
import { messageWithFlags } from "./remedies.ts";

/** All commands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  quantizeCommand,
  evaluateCommand,
  inspectCommand,
  cutCommand,
  compareCommand,
];

/** What stops the program: Ctrl-C, a polite kill, a terminal that is closed. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** Milliseconds that a stopped command has to clean up; then the program ends all the same. */
const GRACE = 3000;

/** Runs the command line `args`; returns the exit code. Nothing is thrown. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  using streams = new Streams();
  const [first] = args, named = COMMANDS.find((command) => command.name === first);
  if (first === "--version") {
    streams.print(VERSION);
    return 0;
  }
  if (first === undefined) {
    streams.print(firstSteps(quantizeCommand));
    return 2;
  }
  if (first === "--help" || first === "-h") {
    streams.print(overviewOf(COMMANDS));
    return 0;
  }
  // "quantize" may be left out: the first argument is then a model or a flag.
  const command = named ?? quantizeCommand, rest = named ? args.slice(1) : args;
  const controller = new AbortController(), { signal } = controller;
  using _ = stopOnSignals(controller);
  try {
    if (rest.includes("--help") || rest.includes("-h")) {
      streams.print(helpOf(command));
      return 0;
    }
    if (named === undefined) checkCommand(first);
    const say = streams.say.bind(streams), print = streams.print.bind(streams);
    const run = command.run(parseCommand(command, rest), { signal, say, print });
    const code = await orStopped(run, signal);
    await streams.flush();
    return code ?? 0;
  } catch (error) {
    if (signal.aborted) {
      streams.say("Stopped; no file was left half-written");
      return 130;
    }
    const { lines, code } = failureOf(error, { verbose: args.includes("--verbose") });
    lines.forEach((line) => streams.say(line));
    return code;
  }
}

/** Refuses `word`, which names no command, where it looks like one and is no file. */
function checkCommand(word: string): void {
  const near = didYouMean(word, COMMANDS.map(({ name }) => name));
  if (near === "" || existsSync(word)) return;
  throw new AttuneError(
    "bad-option",
    `Cannot run ${word}: there is no such command, and no such file; see attune --help${near}`,
  );
}

/** What is said of `error`, and the exit code. */
function failureOf(
  error: unknown,
  { verbose }: { readonly verbose: boolean },
): { lines: string[]; code: ExitCode } {
  const attuneError = error instanceof AttuneError ? error : undefined;
  const mendable = attuneError?.isUserError ?? false;
  const why = attuneError
    ? messageWithFlags(attuneError)
    : `attune failed: ${(error as Error)?.message ?? error}`;
  const lines = [`error: ${why}`];
  if (verbose) lines.push(String((error as Error)?.stack ?? ""));
  else if (!mendable) lines.push("Run again with --verbose to see where");
  return { lines, code: mendable ? 2 : 1 };
}

/** Where a command writes to, and what could not be written. */
class Streams implements Disposable {
  #unprinted: Error | undefined;
  /** Deno throws what Node tells later. Who reads no further, as head does, has what they want. */
  readonly #onError = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") this.#unprinted = error;
  };

  constructor() {
    for (const stream of [process.stdout, process.stderr]) stream.on("error", this.#onError);
  }

  /** Writes a line for people. */
  say(line: string): void {
    // A progress bar may stand on the line: it is drawn again with the next event.
    const clear = process.stderr.isTTY ? "\r\x1b[K" : "";
    try {
      process.stderr.write(`${clear}${shown(line)}\n`);
    } catch {
      // The terminal is gone: there is nobody to tell.
    }
  }

  /** Writes a result. */
  print(text: string): void {
    try {
      process.stdout.write(`${shown(text)}\n`);
    } catch (error) {
      this.#onError(error as Error);
    }
  }

  /** Waits until results are written; throws `bad-output` where they could not be. */
  async flush(): Promise<void> {
    await new Promise<void>((done) => process.stdout.write("", () => done()));
    if (this.#unprinted === undefined) return;
    throw new AttuneError(
      "bad-output",
      `Cannot print the result: ${this.#unprinted.message}; free some space or send it elsewhere`,
    );
  }

  [Symbol.dispose](): void {
    for (const stream of [process.stdout, process.stderr]) stream.off("error", this.#onError);
  }
}

/** Aborts `controller` when the program is told to stop; told again, the program ends at once. */
function stopOnSignals(controller: AbortController): Disposable {
  const stop = () => {
    // Files of others are safe: results are renamed into place as the last act.
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new AttuneError("aborted", "Stopped"));
  };
  const limited = process.platform !== "win32";
  for (const signal of SIGNALS) process.on(signal, stop);
  if (limited) process.on("SIGXFSZ", ignore);
  return {
    [Symbol.dispose]() {
      for (const signal of SIGNALS) process.off(signal, stop);
      if (limited) process.off("SIGXFSZ", ignore);
    },
  };
}

/**
 * With a listener, writing past a limit on the size of files fails instead of ending the program.
 */
function ignore(): void {}

/** Waits for `work`; where `signal` fires, no longer than {@linkcode GRACE}. */
async function orStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => {
      timer = setTimeout(() => reject(signal.reason), GRACE);
    });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    clearTimeout(timer);
  }
}

/** `text` with nothing in it that steers a terminal, but its line breaks. */
function shown(text: string): string {
  return text.split("\n").map(printable).join("\n");
}
