/**
 * `attune compare`: the reports of two runs side by side.
 *
 * @module
 */

import { AttuneError } from "../errors.ts";
import { checkOutputs, writeFileAtomic } from "../files/output.ts";
import { readRegular } from "../files/regular.ts";
import {
  comparedFigures,
  differingOptions,
  layerPairs,
  renderComparison,
} from "../report/comparison.ts";
import { percent } from "../report/format.ts";
import { readReport } from "../report/read_report.ts";
import type { Report } from "../report/report.ts";
import { type Command, flagsIn } from "./command.ts";
import { table } from "./table.ts";

/** Layers that the console shows: those whose errors have changed most. */
const MOST_LAYERS = 10;

/** The command. */
export const compareCommand: Command = {
  name: "compare",
  summary: "Set the reports of two runs side by side",
  usage: "<a.json> <b.json> [-o PAGE.html]",
  examples: [
    ["What 3 bits cost beside 4", "attune compare four.json three.json -o compared.html"],
  ],
  common: ["output"],
  flags: flagsIn("Output", {
    output: { value: "PATH", help: "write a page with every layer", short: "o" },
  }),
  // deno-lint-ignore require-await -- what it throws is the promise's
  async run(parsed, context) {
    const { positionals } = parsed;
    if (positionals.length !== 2) {
      throw new AttuneError(
        "bad-option",
        `Cannot compare ${positionals.length} reports: give two files that --json or ` +
          `--report FILE.json wrote, as in attune compare ${compareCommand.usage}`,
      );
    }
    const [a, b] = positionals.map((path) => readReport(textOf(path), path));
    const page = parsed.text("output");
    if (page !== undefined) {
      checkOutputs([page], positionals);
      writeFileAtomic(page, [new TextEncoder().encode(renderComparison(a, b))]);
    }
    context.print(describeComparison(a, b));
  },
};

function textOf(path: string): string {
  try {
    return new TextDecoder().decode(readRegular(path));
  } catch (cause) {
    const why = (cause as Error).message;
    throw new AttuneError("bad-data", `Cannot read ${path}: ${why}; give a report`, { cause });
  }
}

/** Two runs in tables. */
function describeComparison(a: Report, b: Report): string {
  const change = (one: Report["layers"][number], other: Report["layers"][number]) =>
    Math.abs(Math.log(Math.max(1e-12, other.error.final) / Math.max(1e-12, one.error.final)));
  const both = layerPairs(a, b).flatMap(({ name, first, second }) =>
    first && second ? [{ name, first, second, change: change(first, second) }] : []
  ).filter(({ change }) => change > 0).sort((x, y) => y.change - x.change);
  const rows = both.slice(0, MOST_LAYERS).map(({ name, first, second }) => [
    name,
    `${first.grid} → ${second.grid}`,
    percent(first.error.final),
    percent(second.error.final),
  ]);
  return [
    table(["", "a", "b"], [...comparedFigures(a, b), ...differingOptions(a, b)]),
    ...(rows.length === 0 ? [] : [
      "",
      "layers whose errors have changed most:",
      table(["layer", "bits", "error a", "error b"], rows),
    ]),
  ].join("\n");
}
