/**
 * A command of the command line: its flags in one table, parsed strictly and printed by `--help`.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { AttuneError } from "../errors.ts";

/** A flag. Without `value` it is a switch, and `--no-…` turns it off. */
export interface Flag {
  /**
   * What stands for the value in the help, as in `--bits N`. Default: none, the flag is a switch.
   */
  readonly value?: string;
  /** One line for the help. */
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
  /** Lines of the help that show how it is used: what for, and the command. */
  readonly examples: readonly (readonly [what: string, line: string])[];
  /** Runs it. */
  run(parsed: Parsed, context: Context): Promise<void>;
}

/** What a command works with. */
export interface Context {
  /** Fires when the user stops the program. */
  readonly signal: AbortSignal;
  /** Writes a line for people: to stderr. */
  say(line: string): void;
  /** Writes a result: to stdout. */
  print(text: string): void;
}

/** Flags that every command has. */
const COMMON: Record<string, Flag> = {
  help: { help: "show this help", short: "h" },
  verbose: { help: "show where an error came from" },
};

/** Parses `args` by the flags of `command`. */
export function parseCommand(command: Command, args: readonly string[]): Parsed {
  const flags = { ...command.flags, ...COMMON };
  let parsed;
  try {
    parsed = parseArgs({
      args: args.map((arg) => withPresentName(flags, arg)),
      allowPositionals: true,
      allowNegative: true,
      strict: true,
      options: Object.fromEntries(
        Object.entries(flags).map(([name, { value, short, repeat }]) => [name, {
          type: value === undefined ? "boolean" as const : "string" as const,
          ...(short && { short }),
          ...(repeat && { multiple: true }),
        }]),
      ),
    });
  } catch (cause) {
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
        `Cannot use --${name} ${value}: give ${choices.join(", ")}`,
      );
    },
  };
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

/** The help of `command`. */
export function helpOf(command: Command): string {
  const rows = Object.entries({ ...command.flags, ...COMMON }).flatMap(([name, flag]) => [
    [
      `${flag.short ? `-${flag.short}, ` : "    "}--${name}${flag.value ? ` ${flag.value}` : ""}`,
      flag.help,
    ],
    ...Object.entries(flag.choices ?? {}).map(([choice, doc]) => [`        ${choice}`, doc]),
  ]);
  const width = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  return [
    `${command.summary}.`,
    "",
    `  attune ${command.name} ${command.usage}`,
    "",
    ...command.examples.flatMap(([what, line]) => [`${what}:`, `  ${line}`, ""]),
    "Flags:",
    ...rows.map(([flag, help]) => `  ${flag.padEnd(width)}${help}`),
  ].join("\n");
}
