/**
 * The help: what commands there are, and the flags of one, common ones first, in 80 columns.
 *
 * @module
 */

import { type Command, type Flag, flagsOf, GROUPS } from "./command.ts";
import { wrap } from "./width.ts";

/** Columns of the narrowest terminal that people have. */
const COLUMNS = 80;
/** The column that descriptions of flags begin at: two past the longest name of a choice. */
const DESCRIPTION = 29;

/** What is said where nothing was asked for. */
export function firstSteps(command: Command): string {
  const [[, line]] = command.examples;
  return [
    WHAT,
    "",
    `  ${line}`,
    "",
    "attune --help lists the commands, attune <command> --help the flags of one.",
  ].join("\n");
}

/** The help of the program: its `commands`. */
export function overviewOf(commands: readonly Command[]): string {
  return [
    WHAT,
    "",
    ...commands.flatMap(({ name, usage, summary }) => [
      `  attune ${name} ${usage}`,
      ...indented(summary, 6),
      "",
    ]),
    "One example for each:",
    ...commands.map(({ examples: [[, line]] }) => `  ${line}`),
    "",
    "attune <command> --help lists the flags of a command.",
    "attune --version prints the version.",
  ].join("\n");
}

/** The help of `command`: its common flags, then the others by group, each once; then examples. */
export function helpOf(command: Command): string {
  const flags = flagsOf(command), { common } = command;
  const groups = [
    { heading: "Common", names: common },
    ...GROUPS.map((group) => ({
      heading: group,
      names: Object.keys(flags).filter((name) =>
        flags[name].group === group && !common.includes(name)
      ),
    })),
  ];
  return [
    ...wrap(`${command.summary}.`, COLUMNS),
    "",
    `  attune ${command.name} ${command.usage}`,
    "",
    ...groups.filter(({ names }) => names.length > 0).flatMap(({ heading, names }) => [
      `${heading}:`,
      ...names.flatMap((name) => describe(name, flags[name])),
      "",
    ]),
    "Examples:",
    ...command.examples.flatMap(([what, line]) => [`  ${what}:`, `    ${line}`]),
  ].join("\n");
}

const WHAT = "attune makes ONNX models 4 to 8 times smaller, for wherever JavaScript runs.";

/** The lines of a flag: what it does, then its choices. */
function describe(name: string, { short, value, help, choices = {} }: Flag): string[] {
  const written = `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`;
  return [
    ...row(`  ${written}`, help),
    ...Object.entries(choices).flatMap(([choice, doc]) => row(`        ${choice}`, doc)),
  ];
}

/** `left`, and beside it `text` in as many lines as it needs. */
function row(left: string, text: string): string[] {
  const [first, ...others] = indented(text, DESCRIPTION);
  return left.length < DESCRIPTION - 1
    ? [left + first.slice(left.length), ...others]
    : [left, first, ...others];
}

/** `text` in lines that begin at the column `indent`. */
function indented(text: string, indent: number): string[] {
  return wrap(text, COLUMNS - indent).map((line) => " ".repeat(indent) + line);
}
