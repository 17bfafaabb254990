/**
 * The command line: chooses the command, stops it on Ctrl-C, and turns errors into exit codes.
 *
 * @module
 */

import process from "node:process";
import { AttuneError } from "../errors.ts";
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

/** Exit codes: 0 done, 1 a defect of attune, 2 the user's to mend, 130 stopped by Ctrl-C. */
export type ExitCode = 0 | 1 | 2 | 130;

/** Runs the command line `args`; returns the exit code. Nothing is thrown. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  // A progress bar may stand on the line: it is drawn again with the next event.
  const clear = process.stderr.isTTY ? "\r\x1b[K" : "";
  const say = (line: string) => void process.stderr.write(`${clear}${line}\n`);
  const print = (text: string) => void process.stdout.write(`${text}\n`);
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
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  const verbose = args.includes("--verbose");
  try {
    if (rest.includes("--help") || rest.includes("-h")) {
      print(helpOf(command));
      return 0;
    }
    await command.run(parseCommand(command, rest), { signal: controller.signal, say, print });
    return 0;
  } catch (error) {
    if (controller.signal.aborted) {
      say("Stopped; nothing was written");
      return 130;
    }
    const known = error instanceof AttuneError;
    say(`error: ${known ? error.message : `attune failed: ${(error as Error)?.message ?? error}`}`);
    if (verbose) say(String((error as Error)?.stack ?? ""));
    else if (!known || !error.isUserError) say("Run again with --verbose to see where");
    return known && error.isUserError ? 2 : 1;
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
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
