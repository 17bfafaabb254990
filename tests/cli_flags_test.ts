/** Flags as they are parsed, without a process. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { helpOf, parseCommand } from "../src/cli/command.ts";
import { planOptionsOf } from "../src/cli/options/plan.ts";
import { quantizeCommand } from "../src/cli/quantize.ts";
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
