/** Rows whose levels begin where their weights lie: what is written is what was simulated. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { quantize } from "../src/quantize/quantize.ts";
import { makeNode } from "../src/onnx/model.ts";
import { floatTensor } from "../src/onnx/tensor.ts";
import { makePlan } from "../src/plan/plan.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";

/** A depthwise and a plain convolution, the weights of both leaning to one side or the other. */
function leaning() {
  const lean = (size: number, perRow: number, seed: number) =>
    noise(size, seed).map((value, i) => value + (Math.floor(i / perRow) % 2 ? 1.2 : -1.2));
  return build({
    opset: 13,
    inputs: { x: ["N", 8, 6, 6] },
    nodes: [
      makeNode("Conv", "depthwise", ["x", "w1"], ["t"], { group: 8n }),
      makeNode("Conv", "mix", ["t", "w2"], ["y"]),
    ],
    initializers: [
      floatTensor("w1", [8, 1, 3, 3], lean(72, 9, 1)),
      floatTensor("w2", [6, 8, 1, 1], lean(48, 8, 2)),
    ],
    outputs: ["y"],
  });
}

async function run(bits: number, backend: "web" | "node", symmetric = false) {
  using pool = inlinePool(await loadBackend(backend));
  async function* samples() {
    for (let i = 0; i < 48; i++) {
      yield { inputs: { x: { dims: [8, 6, 6], data: noise(288, i + 1) } }, source: `noise ${i}` };
    }
  }
  const options = { bits, edgeBits: bits, activationBits: "none", symmetric } as const;
  return await quantize(makePlan(leaning(), options), samples(), pool);
}

for (const backend of ["web", "node"] as const) {
  for (const bits of [2, 3, 4, 5]) {
    Deno.test(`windows of ${bits} bits: the written file is what was simulated, on ${backend}`, async () => {
      const { model, report } = await run(bits, backend);
      assert(report.check!.mseToSimulation < 1e-6, `${report.check!.mseToSimulation}`);
      const zeros = model.proto.graph.initializer.find((t) => t.name.endsWith("_zero_point"))!;
      // Only levels of as many bits as their storage need zero points to fit into it.
      assertEquals(zeros.rawData.some((byte) => byte !== 0), bits === 2 || bits === 4);
      const error = ({ layers }: typeof report) =>
        layers.reduce((sum, l) => sum + l.error.final, 0);
      assert(error(report) < 0.7 * error((await run(bits, backend, true)).report));
    });
  }
}
