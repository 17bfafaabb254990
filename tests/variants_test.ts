/** A rounding method or an allocation strategy is one file and one line of a table. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertRejects } from "std/assert/rejects.js";
import { assertThrows } from "std/assert/throws.js";
import { chooseBits, measureLayers } from "../src/allocate/choose.ts";
import { parseCommand } from "../src/cli/command.ts";
import { helpOf } from "../src/cli/help.ts";
import { bitsOfLayers } from "../src/cli/inspect_bits.ts";
import { bitsOf } from "../src/cli/options/bits.ts";
import { roundingOf } from "../src/cli/options/rounding.ts";
import { quantizeCommand } from "../src/cli/quantize.ts";
import { AttuneError } from "../src/errors.ts";
import { makeNode, type Model } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { type PlanOptions, resolvePlanOptions } from "../src/plan/options.ts";
import { makePlan as plan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { sweep } from "../src/quantize/sweep.ts";
import { METHODS, type RoundingMethod } from "../src/round/methods.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Sample } from "../src/samples/sample.ts";
import { STRATEGIES, type Strategy } from "../src/strategies/strategies.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";
import { alike } from "./helpers/variants/alike.ts";
import { descent } from "./helpers/variants/descent.ts";

/** Runs `work` while `table` has `line`, too. */
async function withLine<T>(
  table: object,
  line: Record<string, T>,
  work: () => Promise<void>,
): Promise<void> {
  Object.assign(table, line);
  try {
    await work();
  } finally {
    for (const name of Object.keys(line)) delete (table as Record<string, unknown>)[name];
  }
}

/** Four dense layers; those between the first and the last have 24 × 16 and 8 × 24 weights. */
function model(): Model {
  const sizes = [12, 16, 24, 8, 4], layers = [1, 2, 3, 4];
  return build({
    opset: 13,
    inputs: { h0: ["N", 12] },
    nodes: layers.flatMap((i) => [
      makeNode("Gemm", `dense${i}`, [i === 1 ? "h0" : `r${i - 1}`, `w${i}`], [`h${i}`]),
      ...(i < 4 ? [makeNode("Relu", `relu${i}`, [`h${i}`], [`r${i}`])] : []),
    ]),
    initializers: layers.map((i) =>
      floatTensor(`w${i}`, [sizes[i - 1], sizes[i]], noise(sizes[i - 1] * sizes[i], i))
    ),
    outputs: ["h4"],
  });
}

async function* samples(): AsyncGenerator<Sample> {
  for (let i = 0; i < 64; i++) {
    // Inputs that depend on one another: by itself a weight's nearest level is not the best one.
    const [shared] = noise(1, i + 500);
    const data = noise(12, i + 1).map((value) => 0.4 * value + shared);
    yield { inputs: { h0: { dims: [12], data } }, source: `noise ${i}` };
  }
}

const descending = (sweeps?: number) => ({ kind: "descent", sweeps }) as unknown as RoundingMethod;
const parse = (...args: string[]) => parseCommand(quantizeCommand, ["model.onnx", ...args]);
const refused = (work: () => unknown, message: string) => assertThrows(work, AttuneError, message);

Deno.test("a rounding method is a file and a line: it quantizes, is checked, and the help has it", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const job = (rounding: RoundingMethod, options: PlanOptions = {}) =>
    quantize(plan(model(), { bits: 3, edgeBits: 3, ...options }), samples(), pool, { rounding });
  await withLine(METHODS, { descent }, async () => {
    const { report } = await job(descending(6));
    assertEquals(report.method, "descent");
    assertEquals(report.options.rounding, { kind: "descent", sweeps: 6 });
    assertEquals(report.layers.length, 4);
    for (const { name, error } of report.layers) {
      assert(error.final < 0.8 * error.nearest, `${name}: ${error.final} of ${error.nearest}`);
    }
    await assertRejects(() => job(descending(0)), AttuneError, "Cannot use 0 as sweeps");
    for (const levels of [{ grid: "piecewise" }, { nested: [4, 3], bits: undefined }] as const) {
      await assertRejects(
        () => job(descending(), levels),
        AttuneError,
        "Cannot use rounding descent with",
      );
    }
    const help = helpOf(quantizeCommand);
    assert(/^ +descent +nearest levels, moved one at a time/m.test(help), help);
    assert(/^ +--sweeps N +rounds over all weights \[4\]$/m.test(help), help);
    assertEquals(roundingOf(parse("--rounding", "descent", "--sweeps", "3")), descending(3));
    refused(() => roundingOf(parse("--sweeps", "3")), "--sweeps with --rounding attention");
    refused(() => roundingOf(parse("--rounding", "none")), "stochastic, nearest, descent");
  });
  assert(!helpOf(quantizeCommand).includes("descent"));
  await assertRejects(() => job(descending()), AttuneError, "Cannot round by descent");
});

Deno.test("an allocation strategy is a file and a line: it chooses, is compared, and the help has it", async () => {
  using pool = inlinePool(await loadBackend("web"));
  const strategy = "alike" as Strategy;
  const bits = { kind: "budget", budget: { kind: "average", bits: 3.5 }, strategy } as const;
  const open = () => plan(model(), { bits });
  await withLine(STRATEGIES, { alike }, async () => {
    const { allocation } = await chooseBits(open());
    assertEquals([allocation!.strategy, allocation!.basis], ["alike", "weights"]);
    // Of all widths that cost at most 3.5 · 576 bits, 3 and 4 have the least 4^-bits in sum.
    assertEquals(allocation!.layers.map(({ bits }) => bits), [8, 3, 4, 8]);
    const { report } = await quantize(open(), samples(), pool);
    assertEquals(report.allocation!.strategy, strategy);
    assertEquals(report.allocation!.basis, "outputs");
    const options = { averages: [3], strategies: [strategy], uniform: false };
    const { points } = await sweep(open(), samples(), pool, options);
    assertEquals(points.map(({ strategy }) => strategy), [strategy]);
    const listed = bitsOfLayers(plan(model()), await measureLayers(plan(model())));
    assert(listed.every(({ bits }) => "alike" in bits && !("measured" in bits)));
    assert(/^ +alike +4\^-bits, the same for every layer$/m.test(helpOf(quantizeCommand)));
    assertEquals(bitsOf(parse("--average-bits", "3.5", "--allocate", "alike")), {
      ...bits,
      widths: undefined,
    });
  });
  await withLine(STRATEGIES, { alike: { ...alike, needs: "outputs" } }, async () => {
    await assertRejects(() => chooseBits(open()), AttuneError, "alike without samples");
  });
  assert(!helpOf(quantizeCommand).includes("alike"));
  refused(() => resolvePlanOptions({ bits }), 'Cannot use "alike" to spread bits');
});
