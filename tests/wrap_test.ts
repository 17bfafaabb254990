import { assertEquals } from "std/assert/equals.js";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tokensOf } from "../scripts/source.ts";
import { sourceFiles, wrapComments } from "../scripts/wrap.ts";
import { root } from "./helpers/command_line.ts";

/** Asserts what becomes of `lines` at 30 columns; and that it stays then. */
function assertWrapped(lines: readonly string[], expected: readonly string[]) {
  const wrapped = wrapComments(lines.join("\n"), 30);
  assertEquals(wrapped.split("\n"), expected);
  assertEquals(wrapComments(wrapped, 30), wrapped, "wrapped once is wrapped");
}

Deno.test("wrapComments: a long paragraph is filled again, one that fits stays", () => {
  assertWrapped([
    "/**",
    " * Short",
    " * lines stay.",
    " *",
    " * This line is too long for thirty columns.",
    " * This is not.",
    " */",
    "export const a = 1;",
  ], [
    "/**",
    " * Short",
    " * lines stay.",
    " *",
    " * This line is too long for",
    " * thirty columns. This is",
    " * not.",
    " */",
    "export const a = 1;",
  ]);
});

Deno.test("wrapComments: a comment of one line gets lines of its own, indented as it was", () => {
  assertWrapped(["  /** One sentence that is too long. */"], [
    "  /**",
    "   * One sentence that is too",
    "   * long.",
    "   */",
  ]);
  assertWrapped(["  // One sentence that is too long.", "  // Then more.", "  f();"], [
    "  // One sentence that is too",
    "  // long. Then more.",
    "  f();",
  ]);
});

Deno.test("wrapComments: code, tables, formulas, headings and directives stay", () => {
  const verbatim = [
    "/**",
    " * ```ts",
    " * const code = isNeverWrapped(at, all);",
    " * ```",
    " * | a table | that is | quite wide |",
    " *     formula = indented + by + four",
    " * # A heading that is rather long",
    " */",
    "// deno-lint-ignore no-explicit-any -- reason",
    'const s = "// text in a string, which is long";',
    "const t = `",
    "// text in a template, which is long",
    "`; // a comment beside code, which is long",
  ];
  assertWrapped(verbatim, verbatim);
});

Deno.test("wrapComments: items and tags keep their places, an item hangs", () => {
  assertWrapped([
    "/**",
    " * The list:",
    " * - `first`: as long as a line is not.",
    " * - second",
    " * @param name of what is said in so many words.",
    " * @returns nothing",
    " */",
  ], [
    "/**",
    " * The list:",
    " * - `first`: as long as a",
    " *   line is not.",
    " * - second",
    " * @param name of what is said",
    " * in so many words.",
    " * @returns nothing",
    " */",
  ]);
});

Deno.test("wrapComments: links and code are not torn, signs do not come to begin a line", () => {
  assertWrapped(
    ["/**", " * The sum is taken of {@link a b} and `x + y`, then aaaaa - bb.", " */"],
    [
      "/**",
      " * The sum is taken of",
      " * {@link a b} and `x + y`,",
      " * then aaaaa - bb.",
      " */",
    ],
  );
  assertWrapped(["// Twenty columns: a bbbbbbbb - cc"], [
    "// Twenty columns: a",
    "// bbbbbbbb - cc",
  ]);
});

Deno.test("wrapComments: only line breaks of comments change, in every file", () => {
  const words = (code: string) =>
    tokensOf(code).flatMap(({ kind, text }) =>
      kind !== "comment"
        ? [text]
        : text.replace(/^\/\*\*?|\*\/$/g, " ").replace(/^\s*(\/\/|\*)/gm, " ").match(/\S+/g) ?? []
    );
  for (const path of sourceFiles()) {
    const code = readFileSync(join(root, path), "utf8");
    for (const columns of [60, 100]) {
      const wrapped = wrapComments(code, columns);
      assertEquals(words(wrapped), words(code), path);
      assertEquals(wrapComments(wrapped, columns), wrapped, path);
    }
  }
});
