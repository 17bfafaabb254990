import { assertEquals } from "std/assert/equals.js";
import { assert } from "std/assert/assert.js";
import { createProgress } from "../src/cli/progress.ts";
import { table } from "../src/cli/table.ts";
import { printable } from "../src/printable.ts";
import { shorten, widthOf } from "../src/cli/width.ts";

/** A terminal that applies what is written to it, as far as the progress bar needs. */
class Screen {
  readonly lines: string[] = [""];
  writes = 0;
  readonly isTTY: boolean;
  readonly columns: number;

  constructor(options: { isTTY?: boolean; columns?: number } = {}) {
    this.isTTY = options.isTTY ?? true;
    this.columns = options.columns ?? 80;
  }

  write(text: string): void {
    this.writes++;
    // deno-lint-ignore no-control-regex -- the terminal's own commands
    for (const [part] of text.matchAll(/\r|\n|\x1b\[K|[^\r\n\x1b]+/g)) {
      if (part === "\n") this.lines.push("");
      else if (part === "\x1b[K") this.lines[this.lines.length - 1] = "";
      else if (part !== "\r") this.lines[this.lines.length - 1] += part;
    }
  }

  get last(): string {
    return this.lines[this.lines.length - 1];
  }
}

function start(options: { isTTY?: boolean; columns?: number } = {}) {
  const screen = new Screen(options);
  const clock = { seconds: 0 };
  const progress = createProgress(screen, () => 1000 * clock.seconds);
  return { screen, clock, progress };
}

Deno.test("progress shows the stage, its share, the time spent and left, and the detail", () => {
  const { screen, clock, progress } = start();
  progress.update({ stage: "quantize", done: 0, total: 8 });
  assertEquals(screen.last, `quantize  ${"░".repeat(24)}  0 %  0.0 s`);
  clock.seconds = 6;
  progress.update({ stage: "quantize", done: 2, total: 8, detail: "conv3" });
  assertEquals(
    screen.last,
    `quantize  ${"█".repeat(6)}${"░".repeat(18)}  25 %  6.0 s  18 s left  conv3`,
  );
});

Deno.test("progress does not guess the time left from the first moments", () => {
  const { screen, clock, progress } = start();
  progress.update({ stage: "quantize", done: 0, total: 1000 });
  clock.seconds = 0.5;
  progress.update({ stage: "quantize", done: 100, total: 1000 });
  assert(!screen.last.includes("left"), screen.last);
  clock.seconds = 30;
  progress.update({ stage: "quantize", done: 10, total: 1000 });
  assert(!screen.last.includes("left"), screen.last);
  clock.seconds = 60;
  progress.update({ stage: "quantize", done: 20, total: 1000 });
  assert(screen.last.includes("49 min 0 s left"), screen.last);
});

Deno.test("progress without a total counts", () => {
  const { screen, progress } = start();
  progress.update({ stage: "read samples", done: 17, total: 0, detail: "cat/03.webp" });
  assertEquals(screen.last, "read samples  17  0.0 s  cat/03.webp");
});

Deno.test("progress leaves one line per finished stage, with its time", () => {
  const { screen, clock, progress } = start();
  progress.update({ stage: "read samples", done: 1, total: 2 });
  clock.seconds = 4;
  progress.update({ stage: "quantize", done: 1, total: 2 });
  clock.seconds = 79;
  progress.finish();
  assertEquals(screen.lines, ["read samples  4.0 s", "quantize  1 min 15 s", ""]);
  progress.finish();
  assertEquals(screen.lines.length, 3, "nothing is left to finish");
});

Deno.test("progress that is disposed of leaves no half a bar", () => {
  const { screen, progress } = start();
  progress.update({ stage: "quantize", done: 1, total: 2 });
  assert(screen.last !== "");
  progress[Symbol.dispose]();
  assertEquals(screen.lines, [""]);
});

Deno.test("progress draws ten times a second at most", () => {
  const { screen, clock, progress } = start();
  for (let done = 0; done < 1000; done++) {
    clock.seconds = done / 1000;
    progress.update({ stage: "quantize", done, total: 1000 });
  }
  assert(screen.writes >= 9 && screen.writes <= 11, `drawn ${screen.writes} times`);
});

Deno.test("progress is silent where there is no terminal", () => {
  const { screen, progress } = start({ isTTY: false });
  progress.update({ stage: "quantize", done: 1, total: 2 });
  progress.finish();
  assertEquals(screen.writes, 0);
});

Deno.test("progress stays within the terminal, whatever the names", () => {
  for (const columns of [12, 30, 50, 80]) {
    const { screen, clock, progress } = start({ columns });
    progress.update({ stage: "quantize", done: 0, total: 2 });
    clock.seconds = 10;
    progress.update({ stage: "quantize", done: 1, total: 2, detail: "図形/".repeat(40) });
    assert(widthOf(screen.last) < columns, `${columns}: ${screen.last}`);
    assert(columns < 30 || screen.last.startsWith("quantize"), screen.last);
  }
});

Deno.test("progress does not pass on a name's escape sequences", () => {
  const { screen, progress } = start();
  progress.update({ stage: "quantize", done: 0, total: 0, detail: "\x1b]0;owned\x07conv" });
  assertEquals(screen.last, "quantize  0  0.0 s  \\u001b]0;owned\\u0007conv");
});

Deno.test("a table has figures to the right and text to the left", () => {
  assertEquals(
    table(["layer", "op", "size", "error"], [
      ["conv1", "Add", "512 B", "< 0.001 %"],
      ["a longer name", "Conv", "13.9 MB", "12 %"],
      ["none", "Mul", "", "0.5 %"],
    ]),
    [
      "layer          op       size      error",
      "conv1          Add     512 B  < 0.001 %",
      "a longer name  Conv  13.9 MB       12 %",
      "none           Mul                0.5 %",
    ].join("\n"),
  );
});

Deno.test("a table is aligned by columns of the terminal, not by characters", () => {
  const text = table(["name", "bits"], [["日本", "4"], ["e\u0301te\u0301", "8"]]);
  assertEquals(text, "name  bits\n日本     4\ne\u0301te\u0301      8");
});

Deno.test("a table gives up the middle of its longest texts to fit", () => {
  const rows = [["/features/features.3/conv/0/Conv", "Conv", "24 × 144 × 1 × 1", "1.8 kB"]];
  const text = table(["layer", "operator", "weight", "size"], rows, { width: 50 });
  const [, row] = text.split("\n");
  assertEquals(widthOf(row), 50);
  assert(row.startsWith("/feat") && row.includes("…") && row.endsWith("1.8 kB"), row);
  assertEquals(table(["layer"], [["short"]], { width: 3 }), "layer\nshort", "not below 8 columns");
});

Deno.test("columns of figures that do not fit follow below, with the names of their rows", () => {
  const text = table(["layer", "first", "second", "third"], [["conv1", "1", "2", "3"]], {
    width: 22,
  });
  assertEquals(
    text,
    "layer  first  second\nconv1      1       2\n\nlayer  third\nconv1      3",
  );
});

Deno.test("a table without rows is its head", () => {
  assertEquals(table(["layer", "bits"], []), "layer  bits");
});

Deno.test("text is shortened in its middle, between characters as people see them", () => {
  assertEquals(shorten("features.3.conv", 9), "feat…conv");
  assertEquals(shorten("short", 5), "short");
  assertEquals(shorten("anything", 1), "…");
  assertEquals(shorten("anything", 0), "");
  assertEquals(shorten("日本語日本語", 6), "日…語");
  assertEquals(shorten("👩‍👩‍👧‍👦".repeat(4), 5), "👩‍👩‍👧‍👦…👩‍👩‍👧‍👦");
});

Deno.test("control characters are shown, not obeyed", () => {
  assertEquals(
    printable("a\x1b[2Jb\nc\x9bd\u202ee\u2028f é"),
    "a\\u001b[2Jb\\u000ac\\u009bd\\u202ee\\u2028f é",
  );
});
