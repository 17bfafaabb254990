/**
 * What stands below the layers on the report's page: tables, blocks, what stays in float, and how
 * the run went.
 *
 * @module
 */

import { bytes, duration, percent } from "./format.ts";
import { type Markup, markup } from "./markup.ts";
import { facts, tableOf } from "./page.ts";
import { sharePlot } from "./plots.ts";
import type { BlockReport, Report, TableReport } from "./report.ts";
import { settingsOf } from "./words.ts";

/** The embedding tables. */
export function embeddings(tables: readonly TableReport[]): Markup | undefined {
  if (tables.length === 0) return undefined;
  const rows = tables.map((table) => [
    table.weight,
    table.shape.join(" × "),
    table.bits,
    table.granularity.replace("group:", "group of "),
    { content: bytes(table.bytesBefore), by: table.bytesBefore },
    { content: bytes(table.bytesAfter), by: table.bytesAfter },
    { content: percent(table.error), by: table.error },
    table.nodes.join(", "),
  ]);
  return markup`<section>
<h2>Embedding tables</h2>
<p class="soft">Squared error of a table’s values, relative to them.</p>
${
    tableOf("Embedding tables", [
      { head: "Table", kind: "name", sorts: "text" },
      { head: "Shape", kind: "soft shape" },
      { head: "Bits", kind: "number", sorts: "number" },
      { head: "Scale per", kind: "soft" },
      { head: "Before", kind: "number", sorts: "number" },
      { head: "After", kind: "number", sorts: "number" },
      { head: "Error", kind: "number", sorts: "number" },
      { head: "Read by", kind: "name soft" },
    ], rows)
  }
</section>`;
}

/** What learning has brought, block by block. */
export function learned(blocks: readonly BlockReport[]): Markup | undefined {
  if (blocks.length === 0) return undefined;
  const rows = blocks.map(({ layers, iterations, error, outcome, note }) => [
    layers.join(", "),
    iterations,
    error ? percent(error.before) : "–",
    error ? percent(error.after) : "–",
    [outcome, note === undefined ? undefined : `: ${note}`],
  ]);
  return markup`<section>
<h2>Blocks</h2>
<p class="soft">Squared error of a block’s outputs on samples that it did not learn from, relative to
 the float model’s, before learning and after it.</p>
${
    tableOf("Blocks", [
      { head: "Layers", kind: "name" },
      { head: "Iterations", kind: "number", sorts: "number" },
      { head: "Before", kind: "number" },
      { head: "After", kind: "number" },
      { head: "Outcome", kind: "soft" },
    ], rows)
  }
</section>`;
}

/** Nodes and weights that keep their floats. */
export function inFloat(skipped: Report["skipped"]): Markup | undefined {
  if (skipped.length === 0) return undefined;
  const rows = skipped.map(({ name, op, reason, weight, bytes: size }) => [
    name,
    op,
    reason,
    weight ?? "",
    { content: size ? bytes(size) : "", by: size ?? 0 },
  ]);
  return markup`<section>
<h2>Left in float</h2>
${
    tableOf("Left in float", [
      { head: "Node", kind: "name", sorts: "text" },
      { head: "Operator", kind: "soft", sorts: "text" },
      { head: "Reason", sorts: "text" },
      { head: "Weight", kind: "name" },
      { head: "Size", kind: "number", sorts: "number" },
    ], rows)
  }
</section>`;
}

/** How the run went: the command that repeats it, its time by stage, and its settings. */
export function run({ stages, options, seed, samples, command }: Report): Markup {
  const longest = Math.max(1e-3, ...stages.map(({ seconds }) => seconds));
  const rows = stages.map(({ name, seconds }) => [
    name,
    sharePlot(seconds / longest),
    duration(seconds),
  ]);
  return markup`${
    command === undefined ? undefined : markup`<section>
<h2>Again</h2>
<p class="soft">The same model, samples, options and seed give the same file:</p>
<pre class="scroll" tabindex="0"><code>${command}</code></pre>
</section>`
  }<div class="run">
${
    stages.length === 0 ? undefined : markup`<section>
<h2>Time</h2>
${
      tableOf("Time", [
        { head: "Stage" },
        { head: "", kind: "plot" },
        { head: "Time", kind: "number error" },
      ], rows)
    }
</section>`
  }
<section>
<h2>Settings</h2>
${
    facts([
      ["seed", seed],
      ["samples", `${samples.calibration} to calibrate, ${samples.heldOut} held out`],
      ...settingsOf(options),
    ], " wide")
  }
</section>
</div>`;
}
