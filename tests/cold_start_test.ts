/** What a fresh machine downloads before the first word: no more than the program needs. */

import { assertEquals } from "std/assert/equals.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./helpers/command_line.ts";

const read = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"));

Deno.test("deno.lock names what the program imports, and tests/deno.lock the tools", () => {
  // Deno downloads whatever the lock names, so "deno test" and the like are told another one.
  const { imports } = read("deno.json"), { specifiers } = read("deno.lock");
  const asked = Object.values<string>(imports).map((each) =>
    each.replace("npm:/", "npm:").replace(/\/$/, "")
  );
  assertEquals(
    Object.keys(specifiers).sort(),
    asked.sort(),
    "run tools by their tasks, or with --lock=tests/deno.lock, and restore deno.lock",
  );
});
