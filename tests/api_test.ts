/** What the package exports: a change of it is meant, or a mistake. */

import { assert } from "std/assert/assert.js";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { formats } from "../src/formats/formats.ts";
import { METHODS } from "../src/round/methods.ts";
import { STRATEGIES } from "../src/strategies/strategies.ts";
import { operators } from "../src/weights/operators.ts";
import { root } from "./helpers/command_line.ts";
import { publicApi } from "./helpers/public_api.ts";

const snapshot = join(root, "tests", "snapshots", "api.txt");
const HOW = "UPDATE_SNAPSHOTS=1 deno test -A tests/api_test.ts";
const HEAD = `# What the package exports, by entry. Written by ${HOW}`;

/** `api` as text: a heading for each entry, a paragraph for each name. */
function textOf(api: ReadonlyMap<string, string>): string {
  const parts = [HEAD];
  let last: string | undefined;
  for (const [key, lines] of api) {
    const [entry] = key.split(" ");
    if (entry !== last) parts.push(`## ${entry}`);
    parts.push(lines);
    last = entry;
  }
  return `${parts.join("\n\n")}\n`;
}

/** The paragraphs of such a text by entry and first line up to the name. */
function paragraphs(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let entry = "";
  for (const part of text.trim().split("\n\n")) {
    if (part.startsWith("## ")) entry = part.slice(3);
    else if (!part.startsWith("# ")) {
      const [, name] = /^(?:(?:class|interface|function|type|const|let|var) )?([\w$]+)/.exec(part)!;
      found.set(`${name} of "${entry}"`, part);
    }
  }
  return found;
}

/** What differs between two texts, name by name. */
function differences(before: string, after: string): string[] {
  const old = paragraphs(before), now = paragraphs(after);
  const marked = (sign: string, text: string) => text.replace(/^/gm, `  ${sign} `);
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((name) => {
    const was = old.get(name), is = now.get(name);
    if (was === is) return [];
    if (was === undefined) return [`${name} is new:\n${marked("+", is!)}`];
    if (is === undefined) return [`${name} is gone:\n${marked("-", was)}`];
    const lines = [was.split("\n"), is.split("\n")];
    const only = (a: string[], b: string[]) => a.filter((line) => !b.includes(line));
    const gone = only(lines[0], lines[1]), added = only(lines[1], lines[0]);
    const changes = [...gone.map((l) => marked("-", l)), ...added.map((l) => marked("+", l))];
    return [`${name} changed:\n${changes.join("\n") || "  (the order of its lines)"}`];
  });
}

/** The names that types of the interface take from tables. */
function variants(): [key: string, line: string][] {
  const tables = { formats, METHODS, operators, STRATEGIES };
  return Object.entries(tables).map((
    [name, table],
  ) => [`tables ${name}`, `const ${name}: ${Object.keys(table).join(" | ")}`]);
}

Deno.test("the package exports what tests/snapshots/api.txt says", async () => {
  const text = textOf(new Map([...await publicApi(), ...variants()]));
  if (process.env.UPDATE_SNAPSHOTS) writeFileSync(snapshot, text);
  const found = differences(readFileSync(snapshot, "utf8"), text);
  assert(found.length === 0, `${found.join("\n")}\nWhere that is meant: ${HOW}`);
});

Deno.test("a changed, a new and a lost name are told by name", () => {
  const before = textOf(
    new Map([[". A", "interface A\n  a: number\n  b: string"], [". f", "function f(): void"]]),
  );
  const after = textOf(
    new Map([[". A", "interface A\n  a?: number\n  b: string"], ["./b f", "f, as elsewhere"]]),
  );
  assert(differences(before, before).length === 0);
  const [changed, gone, fresh] = differences(before, after);
  assert(changed === 'A of "." changed:\n  -   a: number\n  +   a?: number', changed);
  assert(gone.startsWith('f of "." is gone:'), gone);
  assert(fresh.startsWith('f of "./b" is new:'), fresh);
});
