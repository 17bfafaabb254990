/**
 * Every operator between tensors on grids: what onnxruntime makes of it, against its float form.
 */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { existsSync } from "node:fs";
import { openSamples, plan, quantize, readModel, startPool } from "../mod.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import { integerRuntimes } from "./helpers/integer_runtimes.ts";
import { KERNEL_CASES } from "./helpers/kernel_cases.ts";
import {
  buildCase,
  compare,
  type Difference,
  type KernelCase,
  operators,
  type Setting,
} from "./helpers/kernels.ts";

const web = await loadBackend("web"), node = await loadBackend("node");
const runtimes = await integerRuntimes();
const SETTINGS: Readonly<Record<string, Setting>> = {
  "8 bits": { bits: 8, activationBits: 8 },
  "8 bits, one grid, values of at least zero": {
    bits: 8,
    activationBits: 8,
    oneGrid: true,
    positive: true,
    options: { granularity: { kind: "tensor" } },
  },
  "4 bits": { bits: 4, activationBits: 4 },
};

/** Whether a tensor is as in the simulation but for values that lie between two levels. */
function isNoise({ onGrid, most, differing, count }: Difference): boolean {
  return onGrid ? most <= 1.01 && differing <= Math.max(2, count / 8) : most <= 1e-4;
}

const named = (part: string) => [...KERNEL_CASES].filter(([name]) => name.startsWith(part));
const first = (part: string): KernelCase => named(part)[0][1];

for (const [setting, options] of Object.entries(SETTINGS)) {
  Deno.test(`integer kernels compute what the float form does: ${setting}`, async () => {
    const wrong: string[] = [];
    for (const [name, test] of KERNEL_CASES) {
      const built = await buildCase(test, options, web);
      for (const runtime of runtimes) {
        const differences = await compare(built, runtime);
        assert(differences.length > 0, `${name}: nothing to compare`);
        for (const difference of differences.filter((found) => !isNoise(found))) {
          wrong.push(`${name} on ${runtime.name}: ${JSON.stringify(difference)}`);
        }
      }
    }
    assertEquals(wrong, []);
  });
}

Deno.test("the cases reach the integer kernels", async () => {
  const kernels: Record<string, string> = {
    "Conv, inside": "QLinearConv",
    "Gemm transB 0, inside": "QGemm",
    "MatMul 2-D by matrix, inside": "QLinearMatMul",
    "MatMul 2-D by matrix, out": "MatMulIntegerToFloat",
    "Add of two": "QLinearAdd",
    "Mul of two": "QLinearMul",
    "Concat axis 1": "QLinearConcat",
    "AveragePool ceil 0 include 1": "QLinearAveragePool",
    "GlobalAveragePool": "QLinearGlobalAveragePool",
    "LeakyRelu": "QLinearLeakyRelu",
    "Sigmoid": "QLinearSigmoid",
    "Where": "QLinearWhere",
  };
  for (const [name, kernel] of Object.entries(kernels)) {
    for (const activationBits of [8, 4] as const) {
      const { file } = await buildCase(first(name), { bits: 8, activationBits }, node);
      const found = await operators(file);
      assert(found.includes(kernel), `${name}, ${activationBits} bits: ${found}`);
    }
  }
});

Deno.test("what has no right integer form stays in float", async () => {
  const cases = [
    ...named("AveragePool ceil 1 include 1"),
    ...named("AveragePool ceil 0 include 0, dilations"),
    ...named("Softmax"),
    ...named("float Conv"),
    ...named("float Gemm"),
  ];
  assert(cases.length > 20);
  for (const [name, test] of cases) {
    const { file } = await buildCase(test, SETTINGS["8 bits"], node);
    const found = await operators(file);
    assert(!found.some((op) => /^Q(Linear|Gemm)/.test(op)), `${name}: ${found}`);
  }
});

const shared = new URL("../../shared/cases/", import.meta.url).pathname;
Deno.test({
  name: "pools and 4-bit activations that broke a runtime are quantized faithfully",
  ignore: !existsSync(shared),
  async fn() {
    for (const [name, bits] of [["avgpool_ceil_cip", 8], ["feature_output_v1", 4]] as const) {
      for (const backend of ["web", "node"] as const) {
        const made = plan(readModel(`${shared}${name}.onnx`), { bits, activationBits: bits });
        const samples = await openSamples(`${shared}${name}.npy`, { inputs: made.graph.inputs });
        using pool = await startPool({ backend, threads: 1 });
        const { report } = await quantize(made, samples.samples(), pool);
        const { mseToFloat, mseToSimulation } = report.check!;
        assert(mseToFloat < (bits === 8 ? 1e-3 : 0.1), `${name} on ${backend}: ${mseToFloat}`);
        assert(mseToSimulation < 1e-3, `${name} on ${backend}: ${mseToSimulation}`);
      }
    }
  },
});
