/** How blocks share the time that a job may take. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { TimeBudget } from "../src/blocks/time_budget.ts";
import { residual, run } from "./helpers/residual.ts";

Deno.test("TimeBudget: blocks share what is left, by cost and by how far off they are", () => {
  const costs = [1, 1, 2].map((cost) => ({ running: cost, rounding: cost, learning: cost }));
  const budget = new TimeBudget(100, 0, costs);
  // A second for the first block's layers, so three more for the others'; 97 seconds are there.
  const first = budget.deadline(0, 0.1, 1000, { running: 600, rounding: 400 });
  assertEquals(Math.round(first), 1000 + Math.round((97000 - 1000 - 3000) / 4));
  const now = first + 1000;
  // Far more off than the mean: but at most twice the share.
  const second = budget.deadline(1, 100, now, { running: 1200, rounding: 800 });
  const left = 97000 - now - 2000;
  assert(second - now <= left * 2 / 4 + 1 && second - now > left / 3);
  const last = budget.deadline(2, 0.1, second + 2000, { running: 2400, rounding: 1600 });
  assert(Math.abs(last - 97000) < 1, "the last block gets all that is left");
  const endless = new TimeBudget(Infinity, 0, costs);
  assertEquals(endless.deadline(0, 1, 5, { running: 0, rounding: 0 }), Infinity);
});

Deno.test("TimeBudget: layers that are dear to round, and the check, leave less to learn in", () => {
  // A tenth of the first block's time went into rounding, which costs `last` times as much in the
  // other.
  const deadline = (last: number, check = 0) => {
    const costs = [1, last].map((rounding) => ({ running: 1, rounding, learning: 1 }));
    const budget = new TimeBudget(100, 0, costs, check);
    return Math.round(budget.deadline(0, 1, 1000, { running: 900, rounding: 100 }));
  };
  assertEquals(deadline(1), 1000 + (97000 - 1000 - 1000) / 2);
  assertEquals(deadline(91), 1000 + (97000 - 1000 - 10000) / 2);
  assertEquals(deadline(91, 10), 1000 + (97000 - 1000 - 19000) / 2);
  assertEquals(deadline(1000), 1000, "no time to learn");
});

Deno.test("a time budget that is spent leaves layers as they were rounded; one that is not, does not", async () => {
  // Nothing depends on the clock: one budget was over before the job began, the other is endless.
  for (const [timeBudget, ago] of [[100, 1e9], [1e6, 0]]) {
    const { report } = await run(residual(), {
      reconstruction: { kind: "blocks", timeBudget, iterations: 3 },
      heldOut: 8,
      started: performance.now() - ago,
    });
    for (const { iterations, outcome } of report.blocks) {
      assertEquals(iterations, ago > 0 ? 0 : 3);
      assertEquals(outcome === "no time", ago > 0);
    }
    assertEquals(report.warnings.some((text) => /not learned/.test(text)), ago > 0);
  }
});
