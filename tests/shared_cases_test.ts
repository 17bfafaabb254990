/**
 * Models that broke attune once, where they are at hand: quantized and compared on all of their
 * samples.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { existsSync } from "node:fs";
import { evaluate } from "../src/evaluate/evaluate.ts";
import { Graph } from "../src/graph/graph.ts";
import { readModel } from "../src/onnx/file.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import { makePlan } from "../src/plan/plan.ts";
import { quantize } from "../src/quantize/quantize.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { integerRuntimes } from "./helpers/integer_runtimes.ts";
import { openSamples } from "../src/samples/open.ts";

const CASES = new URL("../../shared/cases/", import.meta.url).pathname;
const WEIGHTS: PlanOptions = { bits: 8, activationBits: "none" };

interface Case {
  /** Layers that are quantized. */
  readonly layers: number;
  readonly plan?: PlanOptions;
  /** What a warning must say. */
  readonly warning?: string;
  /**
   * The error over all samples, at most; left out where outputs differ in length, or where scores
   * that are nearly equal change places in a few samples.
   */
  readonly error?: number;
}

const KNOWN: Readonly<Record<string, Case>> = {
  conv_bias_computed: { layers: 1, error: 1e-3 },
  gemm_bias_MxN_one: { layers: 1, error: 1e-3 },
  gemm_bias_Mx1_one: { layers: 1, error: 1e-3 },
  name_collision_min: { layers: 2, error: 1e-3 },
  avgpool_ceil_cip: { layers: 2, error: 1e-3 },
  topk_queries: { layers: 4, plan: WEIGHTS },
  nonzero_rows: { layers: 3, plan: WEIGHTS, warning: "another length" },
  nms_tail: { layers: 2, warning: "another length" },
  neg_inf_logits: { layers: 2, warning: "infinities", error: 1e-3 },
  matmul_vector: { layers: 2, error: 5e-3 },
};

const RUNTIMES = existsSync(CASES) ? await integerRuntimes() : [];

for (const [name, { layers, plan: options = {}, warning, error }] of Object.entries(KNOWN)) {
  Deno.test({
    name: `a model that broke attune once: ${name}`,
    ignore: !existsSync(CASES),
    async fn() {
      const model = readModel(`${CASES}${name}.onnx`);
      const made = makePlan(model, { bits: 8, ...options });
      const { inputs } = new Graph(model);
      for (const runtime of RUNTIMES) {
        using pool = inlinePool(runtime);
        const samples = await openSamples(`${CASES}${name}.npy`, { inputs });
        const { model: made8, report } = await quantize(made, samples.samples(), pool);
        assertEquals(report.layers.length, layers);
        const { warnings } = report, wanted = warning ?? "";
        assert(warnings.some((each) => each.includes(wanted)) || !warning, `${warnings}`);
        if (error === undefined) continue;
        const { mse } = await evaluate(made8, model, samples.samples(), pool);
        assert(mse <= error, `error ${mse} on ${runtime.name}`);
      }
    },
  });
}
