/**
 * A command of the command line: its flags in one table, parsed strictly. `help.ts` prints them.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { AttuneError } from "../errors.ts";
import { didYouMean } from "./did_you_mean.ts";

/** Headings of the help below the common flags, in this order. */
export const GROUPS = ["Samples", "Bits", "Rounding", "Blocks", "Output", "Running"] as const;

/** A heading of the help. */
export type Group = typeof GROUPS[number];

/** A flag. Without `value` it is a switch, and `--no-…` turns it off. */
export interface Flag {
  /** The heading that it stands under, where it is not one of the command's common flags. */
  readonly group: Group;
  /**
   * What stands for the value in the help, as in `--bits N`. Default: none, the flag is a switch.
   */
  readonly value?: string;
  /** What it does, for the help, with its default in brackets. */
  readonly help: string;
  /** Its values, each with a line for the help. */
  readonly choices?: Readonly<Record<string, string>>;
  /** A one-letter name. */
  readonly short?: string;
  /** Whether it may be given several times. */
  readonly repeat?: boolean;
  /** A name that it had once, and still is understood by. */
  readonly formerly?: string;
}

/** What was given on the command line. */
export interface Parsed {
  /** All arguments, as they were given. */
  readonly args: readonly string[];
  /** Arguments that are no flags. */
  readonly positionals: readonly string[];
  /** The last value of the flag `name`. */
  text(name: string): string | undefined;
  /** All values of a flag that may be repeated. */
  texts(name: string): readonly string[];
  /** Whether the switch `name` is on; undefined where it was not given. */
  on(name: string): boolean | undefined;
  /** The flag's value as a number. */
  number(name: string): number | undefined;
  /** The flag's value, which must be one of `choices`. */
  choice<T extends string>(name: string, choices: readonly T[]): T | undefined;
}

/** A command. */
export interface Command {
  /** Its name on the command line. */
  readonly name: string;
  /** What it does, one line. */
  readonly summary: string;
  /** Its arguments, as in `<model.onnx> --data PATH`. */
  readonly usage: string;
  /** Its flags by name. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** The flags that most users need, at most ten: the first in the help. */
  readonly common: readonly string[];
  /** Lines of the help that show how it is used: what for, and the command. */
  readonly examples: readonly (readonly [what: string, line: string])[];
  /** Runs it; where it does not say otherwise, the exit code is 0. */
  run(parsed: Parsed, context: Context): Promise<ExitCode | void>;
}

/**
 * Exit codes: 0 done, 1 a defect of attune, 2 the user's to mend, 3 done, but the result is worse
 * than was asked for, 130 stopped by a signal.
 */
export type ExitCode = 0 | 1 | 2 | 3 | 130;

/** What a command works with. */
export interface Context {
  /** Fires when the user stops the program. */
  readonly signal: AbortSignal;
  /** Writes a line for people: to stderr. */
  say(line: string): void;
  /** Writes a result: to stdout. */
  print(text: string): void;
}

/** `flags` under one heading of the help. */
export function flagsIn(
  group: Group,
  flags: Readonly<Record<string, Omit<Flag, "group">>>,
): Record<string, Flag> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [name, { group, ...flag }]),
  );
}

/** Flags that every command has. */
const ALWAYS = flagsIn("Running", {
  help: { help: "show this help", short: "h" },
  verbose: { help: "show where an error came from" },
});

/** All flags of `command`, by name. */
export function flagsOf(command: Command): Record<string, Flag> {
  return { ...command.flags, ...ALWAYS };
}

/** Parses `args` by the flags of `command`. */
export function parseCommand(command: Command, args: readonly string[]): Parsed {
  const flags = flagsOf(command);
  const config = {
    args: args.map((arg) => withPresentName(flags, arg)),
    allowPositionals: true,
    allowNegative: true,
    options: Object.fromEntries(
      Object.entries(flags).map(([name, { value, short, repeat }]) => [name, {
        type: value === undefined ? "boolean" as const : "string" as const,
        ...(short && { short }),
        ...(repeat && { multiple: true }),
      }]),
    ),
  };
  let parsed;
  try {
    checkNames(command, parseArgs({ ...config, strict: false, tokens: true }).tokens);
    parsed = parseArgs({ ...config, strict: true });
  } catch (cause) {
    if (cause instanceof AttuneError) throw cause;
    const [reason] = (cause as Error).message.split(/\.\s/);
    throw new AttuneError(
      "bad-option",
      `Cannot read the command line: ${reason}; see attune ${command.name} --help`,
      { cause },
    );
  }
  const { positionals } = parsed;
  const values = parsed.values as Record<string, string | boolean | string[] | undefined>;
  const text = (name: string) => values[name] as string | undefined;
  return {
    args,
    positionals,
    text,
    texts: (name) => (values[name] as string[] | undefined) ?? [],
    on: (name) => values[name] as boolean | undefined,
    number(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      const number = Number(value);
      if (value.trim() !== "" && Number.isFinite(number)) return number;
      throw new AttuneError("bad-option", `Cannot use --${name} ${value}: give a number`);
    },
    choice(name, choices) {
      const value = text(name);
      if (value === undefined) return undefined;
      const choice = choices.find((each) => each === value);
      if (choice !== undefined) return choice;
      throw new AttuneError(
        "bad-option",
        `Cannot use --${name} ${value}: give ${choices.join(", ")}${didYouMean(value, choices)}`,
      );
    },
  };
}

/** Refuses a flag that `command` does not have. */
function checkNames(
  command: Command,
  tokens: readonly { readonly kind: string; readonly name?: string; readonly rawName?: string }[],
): void {
  const flags = flagsOf(command);
  for (const { kind, name, rawName } of tokens) {
    if (kind !== "option" || name!.replace(/^no-/, "") in flags) continue;
    const known = new Map(
      Object.entries(flags).flatMap(([name, { value, formerly }]) => [
        [name, `--${name}`] as const,
        ...(formerly ? [[formerly, `--${name}`] as const] : []),
        ...(value === undefined ? [[`no-${name}`, `--no-${name}`] as const] : []),
      ]),
    );
    const near = didYouMean(name!, [...known.keys()], known);
    throw new AttuneError(
      "bad-option",
      `Cannot use ${rawName}: there is no such flag; see attune ${command.name} --help${near}`,
    );
  }
}

/** `arg`, under the name that its flag has now. */
function withPresentName(flags: Readonly<Record<string, Flag>>, arg: string): string {
  const [, given] = /^--([^=]+)/.exec(arg) ?? [];
  const name = given && Object.keys(flags).find((name) => flags[name].formerly === given);
  return name ? `--${name}${arg.slice(2 + given.length)}` : arg;
}

/** The only argument that is no flag: the model's path. */
export function modelPath(command: Command, { positionals }: Parsed): string {
  if (positionals.length === 1) return positionals[0];
  throw new AttuneError(
    "bad-option",
    positionals.length === 0
      ? `Give the path of a model: attune ${command.name} ${command.usage}`
      : `Cannot use ${positionals.length} arguments (${positionals.join(", ")}): give one model`,
  );
}

/** The value of a flag that must be given. */
export function required(parsed: Parsed, name: string, what: string): string {
  const value = parsed.text(name);
  if (value !== undefined) return value;
  throw new AttuneError("bad-option", `Give --${name}: ${what}`);
}
