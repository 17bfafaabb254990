/** What formatter and linter do not check: the length of lines, files and functions. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { functionsOf, longLines, tokensOf } from "../scripts/source.ts";
import { COLUMNS, sourceFiles } from "../scripts/wrap.ts";
import { root } from "./helpers/command_line.ts";

/** Lines that a file may have, and a function anywhere but in the kernel. */
const FILE_LINES = 400, FUNCTION_LINES = 60;

/** The source files that people write, by their path. */
const sources = new Map(
  sourceFiles().map((path) => [path, readFileSync(join(root, path), "utf8")]),
);

Deno.test(`no line of source is longer than ${COLUMNS} columns ("deno task wrap" wraps comments)`, () => {
  assert(sources.size > 300, "sources are seen");
  const long = [...sources].flatMap(([path, code]) =>
    longLines(code, COLUMNS).map((line) => `${path}:${line}`)
  );
  assertEquals(long, []);
});

Deno.test(`no file has more than ${FILE_LINES} lines`, () => {
  const long = [...sources]
    .map(([path, code]) => ({ path, lines: code.trimEnd().split("\n").length }))
    .filter(({ lines }) => lines > FILE_LINES);
  assertEquals(long, []);
});

Deno.test(`no function outside the kernel has more than ${FUNCTION_LINES} lines`, () => {
  const functions = [...sources].filter(([path]) => !path.startsWith("kernel/"))
    .flatMap(([path, code]) => functionsOf(code).map((span) => ({ path, ...span })));
  assert(functions.length > 3000, "functions are seen");
  const long = functions.filter(({ first, last }) => last - first + 1 > FUNCTION_LINES)
    .map(({ path, name, first, last }) => `${path}:${first} ${name}, ${last - first + 1} lines`);
  assertEquals(long, []);
});

Deno.test("pages name files that exist", () => {
  const missing = ["CONTRIBUTING.md", "tests/README.md"].flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    const paths = [...text.matchAll(/`((?:src|tests|scripts|bench|kernel)\/[\w./]+)`/g)];
    assert(paths.length > 0 || page !== "CONTRIBUTING.md");
    // NAME and the like stand for what a contributor adds.
    return paths.map(([, path]) => path)
      .filter((path) => !/[A-Z]{4}/.test(path.replace(/README|RESULTS/, "")))
      .filter((path) => !existsSync(join(root, path))).map((path) => `${page}: ${path}`);
  });
  assertEquals(missing, []);
});

/** The functions of a piece of code as `name first–last`. */
const spans = (...lines: string[]) =>
  functionsOf(lines.join("\n")).map(({ name, first, last }) => `${name} ${first}–${last}`).sort();

Deno.test("functionsOf: declarations and methods, from their names to their closing braces", () => {
  const declared = spans("/** {", " */", "export async function f<T>(", "  a = {},", ") {", "}");
  assertEquals(declared, ["f 3–6"]);
  assertEquals(
    spans(
      "class C {",
      "  constructor(readonly a: number) {",
      "  }",
      "  static async *#walk(): AsyncGenerator<{ a: [number] }> {",
      "  }",
      "  get size(): number {",
      "    return 1;",
      "  }",
      "}",
    ),
    ["#walk 4–5", "constructor 2–3", "size 6–8"],
  );
  assertEquals(spans("function f(a: string): a is 'x' | Map<A, () => void>[] {", "}"), ["f 1–2"]);
  assertEquals(spans("function f(): { a: 1 } | undefined {", "}"), ["f 1–2"]);
  assertEquals(spans("function f(): (a: A) => B {", "  return;", "}", "g();"), ["f 1–3"]);
});

Deno.test("functionsOf: arrow functions, and functions in functions", () => {
  assertEquals(spans("const f = async (a: number): Promise<void> => {", "};"), ["f 1–2"]);
  assertEquals(spans("function f(a: (b: B) => C) {", "}").includes("f 1–2"), true);
  assertEquals(spans("const f = (a) =>", "  g(", "    a,", "  );", "h();"), ["f 1–4"]);
  assertEquals(spans("call({ f: () => [", "  1,", "], g: 2 });"), ["f 1–3"]);
  assertEquals(spans("const a: Record<B, () => C> = {", "  d: 1,", "};"), [" 1–1"]);
  assertEquals(spans("run(() => {", "  function inner() {", "  }", "});"), [" 1–4", "inner 2–3"]);
});

Deno.test("functionsOf: what only looks like a function is none", () => {
  assertEquals(spans("if (a) {", "} else if (b) {", "}", "for (const c of d()) {", "}"), []);
  assertEquals(
    spans("const a = b ? f(c) : { d };", "switch (a) {", "  case f(1): {", "  }", "}"),
    [],
  );
  assertEquals(spans("interface I {", "  f(a: number): void;", "}", "type F = (a: A) => {};"), [
    "F 4–4",
  ]);
});

Deno.test("functionsOf: literals and comments hold no code", () => {
  assertEquals(spans('const a = "f() {";', "// g() {", "/* h() { */"), []);
  assertEquals(spans("const a = /[/{]\\/{(/.test(b) / 2; /}/;", "function f() {", "}"), ["f 2–3"]);
  assertEquals(
    spans("const a = `f() { ${", "  b.map((c) => `}${c}{`)", "} }`;", "function f() {", "}"),
    [" 2–2", "f 4–5"],
  );
});

Deno.test("tokensOf: every character that is no space belongs to one token", () => {
  for (const [path, code] of sources) {
    const text = tokensOf(code).map((token) => token.text).join("");
    // The braces of templates are written as parentheses.
    const plain = (code: string) => code.replace(/\s|[(){}$]/g, "");
    assertEquals(plain(text), plain(code), path);
  }
});

Deno.test("longLines: what cannot be broken does not count, a comment does", () => {
  const long = "x".repeat(COLUMNS);
  assertEquals(longLines(`f("${long}");\ng(\`\n${long}\n\`);\n`, COLUMNS), []);
  assertEquals(longLines(`// https://${long}\nimport { a, b } from "./${long}.ts";`, COLUMNS), []);
  assertEquals(longLines(`\n// ${long}\n/**\n * ${long}\n */`, COLUMNS), [2, 4]);
  assertEquals(longLines(`const ${long} = "a";`, COLUMNS), [1]);
  assertEquals(longLines("×".repeat(COLUMNS), COLUMNS), [], "columns are no bytes");
});
