/**
 * How bits were spread, on the report's page.
 *
 * @module
 */

import { budgetName } from "../plan/bits.ts";
import type { Allocation } from "../plan/allocation.ts";
import { bytes, percent } from "./format.ts";
import { type Markup, markup } from "./markup.ts";
import { sharePlot } from "./plots.ts";

/** The section of what each layer got, and what it pays for that. */
export function bitsByLayer(allocation: Allocation): Markup {
  const { strategy, budget, basis, averageBits, loss, layers } = allocation;
  const most = Math.max(1e-12, ...layers.map((layer) => layer.loss ?? 0));
  const rows = layers.map((layer) =>
    markup`<tr><td class="name">${layer.name}</td><td class="number">${layer.bits}</td>
<td class="soft">${layer.free ? "" : "given"}</td>
<td class="number">${layer.codingLength.toFixed(2)}</td>
<td class="number">${layer.error === undefined ? "–" : percent(layer.error)}</td>
<td class="plot">${sharePlot((layer.loss ?? 0) / most)}</td>
<td class="number">${layer.loss === undefined ? "–" : percent(layer.loss)}</td></tr>
`
  );
  const whole = loss === undefined ? "" : `, ${percent(loss)} of output error in all`;
  return markup`<section>
<h2>What each layer got, and what it pays</h2>
<p class="soft">Bits by ${strategy}${budget ? ` for ${budgetName(budget)}` : ""}, going by
 ${basis === "outputs" ? "outputs on samples" : "the weights alone"}: ${averageBits.toFixed(2)} on
 average where they were free, a file of about ${bytes(allocation.bytes)}${whole}, as predicted.
 Length is a layer’s coding length in bits per weight at the distortion of the whole model; error is
 that of its own outputs, and the last column what it adds to the model’s.</p>
<table><thead><tr><th scope="col">Layer</th><th scope="col" class="number">Bits</th>
<th scope="col"></th><th scope="col" class="number">Length</th><th scope="col" class="number">Error</th>
<th scope="col" class="plot"></th><th scope="col" class="number">Adds</th></tr></thead>
<tbody>
${rows}</tbody></table>
</section>`;
}
