/** Flags as they are parsed and as the help shows them, without a process. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { COMMANDS } from "../src/cli/cli.ts";
import { flagsOf, GROUPS, parseCommand } from "../src/cli/command.ts";
import { evaluateCommand } from "../src/cli/evaluate.ts";
import { firstSteps, helpOf, overviewOf } from "../src/cli/help.ts";
import { planOptionsOf } from "../src/cli/options/plan.ts";
import { quantizeCommand } from "../src/cli/quantize.ts";
import { widthOf } from "../src/cli/width.ts";
import { AttuneError } from "../src/errors.ts";

Deno.test("a flag is understood by the name that it had once, and so is a group of weights", () => {
  const parse = (...args: string[]) => parseCommand(quantizeCommand, ["model.onnx", ...args]);
  for (const args of [["--iterations", "7"], ["--steps", "7"], ["--steps=7"]]) {
    assertEquals(parse(...args).number("iterations"), 7, args.join(" "));
  }
  for (const text of ["group:16", "block:16"]) {
    const { granularity } = planOptionsOf(parse("--granularity", text));
    assertEquals(granularity, { kind: "group", size: 16 });
  }
  assertThrows(() => parse("--step", "7"), AttuneError, "--step");
  assert(!helpOf(quantizeCommand).includes("--steps"));
});

Deno.test("no line of the help is wider than 80 columns", () => {
  const helps = [firstSteps(quantizeCommand), overviewOf(COMMANDS), ...COMMANDS.map(helpOf)];
  for (const line of helps.flatMap((help) => help.split("\n"))) {
    assert(widthOf(line) <= 80, line);
  }
});

Deno.test("the help has every flag once: at most ten common ones first, the others by group", () => {
  for (const command of COMMANDS) {
    const flags = flagsOf(command), { name, common } = command;
    let heading = "";
    const shown = new Map<string, string[]>(), headings: string[] = [];
    for (const line of helpOf(command).split("\n")) {
      if (/^\w+:$/.test(line)) headings.push(heading = line.slice(0, -1));
      const [, flag] = /^ {2}(?:-\w,| {3}) --([\w-]+)/.exec(line) ?? [];
      if (flag) shown.set(flag, [...shown.get(flag) ?? [], heading]);
    }
    const wanted = Object.entries(flags).map(([flag, { group }]) =>
      [flag, [common.includes(flag) ? "Common" : group]] as const
    );
    assertEquals(shown, new Map(wanted), name);
    assertEquals([...shown.keys()].slice(0, common.length), [...common], name);
    assert(common.length > 0 && common.length <= 10, name);
    const order = ["Common", ...GROUPS, "Examples"];
    assertEquals(headings, order.filter((each) => headings.includes(each)), name);
  }
});

Deno.test("a mistyped flag or value is answered with what it resembles, and a stranger is not", () => {
  const refusal = (...args: string[]) =>
    assertThrows(() => planOptionsOf(parseCommand(quantizeCommand, args)), AttuneError).message;
  const cases: [args: string[], meant: string | undefined][] = [
    [["--bit", "4"], "--bits"],
    [["--bist=4"], "--bits"],
    [["--average", "3"], "--average-bits"],
    [["--activations-bits", "8"], "--activation-bits"],
    [["--treads", "2"], "--threads"],
    [["--step", "7"], "--iterations"],
    [["--no-shfit"], "--no-shift"],
    [["-o", "x.onnx", "--DATA", "y"], "--data"],
    [["--zebra"], undefined],
    [["-x"], undefined],
    [["--format", "pakced"], "packed"],
    [["--format", "QDQ"], "qdq"],
    [["--allocate", "coding"], "coding-length"],
    [["--grid", "spiral"], undefined],
  ];
  for (const [args, meant] of cases) {
    const message = refusal(...args);
    const [, offered] = /did you mean (\S+)\?/.exec(message) ?? [];
    assertEquals(offered, meant, message);
  }
  assert(refusal("--zebra").includes("attune quantize --help"));
  assert(refusal("--bits").includes("--bits"), "a missing value is still told");
  assertThrows(
    () => parseCommand(evaluateCommand, ["--layout", "NHCW"]).choice("layout", ["NCHW", "NHWC"]),
    AttuneError,
    "give NCHW, NHWC; did you mean NCHW?",
  );
});
