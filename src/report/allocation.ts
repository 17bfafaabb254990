/**
 * How bits were spread, on the report's page; what each layer got is in the table of layers.
 *
 * @module
 */

import { budgetName } from "../plan/bits.ts";
import type { Allocation } from "../plan/allocation.ts";
import { bytes, percent } from "./format.ts";
import { type Markup, markup } from "./markup.ts";

/** What decided over the widths, and what was expected of that. */
export function bitsByLayer(allocation: Allocation): Markup {
  const { strategy, budget, basis, averageBits, loss, layers } = allocation;
  const free = layers.filter((layer) => layer.free).length;
  const whole = loss === undefined ? "" : `, ${percent(loss)} of output error in all`;
  return markup`<section>
<h2>How bits were spread</h2>
<p class="soft">Bits by ${strategy}${budget ? ` for ${budgetName(budget)}` : ""}, going by
 ${basis === "outputs" ? "outputs on samples" : "the weights alone"}, over ${free} of
 ${layers.length} layers whose width was free: ${averageBits.toFixed(2)} on average, a file of
 about ${bytes(allocation.bytes)}${whole}, as predicted.</p>
</section>`;
}
