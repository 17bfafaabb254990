/** Files of every format, width, granularity and operator, opened by both runtimes. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import ort from "onnxruntime-node";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildModel, dequantize, type Parts } from "../src/emit/build.ts";
import { extract } from "../src/graph/extract.ts";
import { type Model, parseModel, serializeModel } from "../src/onnx/model.ts";
import type { PlanOptions } from "../src/plan/options.ts";
import type { FormatName } from "../src/formats/formats.ts";
import type { Granularity } from "../src/weights/granularity.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import { toTensorOrder } from "../src/weights/matrix.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { OpenOptions, Runtime, Value } from "../src/runtime/session.ts";
import { integerRuntimes } from "./helpers/integer_runtimes.ts";
import { everyLayer, LAYER_NAMES, layerFeeds, madeUpParts } from "./helpers/layers.ts";

const RUNTIMES: readonly Runtime[] = [await loadBackend("web"), await loadBackend("node")];
/** Those whose integer kernels are exact here. */
const INTEGER_RUNTIMES = await integerRuntimes();
const FILES: readonly FormatName[] = ["qdq", "packed", "matmulnbits"];
const GRANULARITIES: readonly Granularity[] = [
  { kind: "tensor" },
  { kind: "channel" },
  { kind: "group", size: 16 },
];

async function run(
  runtime: Runtime,
  model: Model,
  options: OpenOptions = {},
): Promise<Record<string, Value>> {
  const session = await runtime.open(serializeModel(model), options);
  try {
    return await session.run(layerFeeds());
  } finally {
    await session.release();
  }
}

/**
 * The weights that the layers of `file` read, by layer; not of those with an operator of its own.
 */
async function weightsIn(
  runtime: Runtime,
  { layers }: Plan,
  file: Model,
): Promise<Map<string, Value>> {
  const names = layers.flatMap(({ target }): [string, string][] => {
    const node = file.proto.graph.node.find(({ name }) => name === target.name)!;
    return node.opType === target.op ? [[target.name, node.input[target.weightInput]]] : [];
  });
  const outputs = names.map(([, weight]) => weight);
  const weights = await run(runtime, extract(file, { inputs: new Map(), outputs }));
  return new Map(names.map(([layer, weight]) => [layer, weights[weight]]));
}

for (const granularity of GRANULARITIES) {
  for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
    for (const format of FILES) {
      const name = `${format}, ${bits} bits, ${granularity.kind}`;
      const options = { bits, edgeBits: bits, granularity, format };

      Deno.test(`weights only are what was rounded, level by level: ${name}`, async () => {
        const made = makePlan(everyLayer(), { ...options, activationBits: "none" });
        for (const windows of ["usual", "second", "turns"] as const) {
          const parts = madeUpParts(made, { windows });
          const file = buildModel(made, parts, format);
          for (const runtime of RUNTIMES) {
            const weights = await weightsIn(runtime, made, file);
            assertEquals(weights.size, LAYER_NAMES.length - Number(hasNBits(made)));
            for (const layer of made.layers.filter(({ target }) => weights.has(target.name))) {
              const rounding = parts.roundings.get(layer.target.output)!;
              const expected = toTensorOrder(layer.target, dequantize(layer, rounding));
              assertEquals(
                [...weights.get(layer.target.name)!.data],
                [...expected],
                `${layer.target.name} on ${runtime.name}`,
              );
            }
            await assertSimulated(runtime, made, parts, file, 1e-5);
          }
        }
      });

      Deno.test(`integer activations agree with the simulation: ${name}`, async () => {
        const made = makePlan(everyLayer(), { ...options, activationBits: 8 });
        const parts = madeUpParts(made, { windows: "turns" });
        const file = buildModel(made, parts, format);
        // One level of an output, where integer kernels round the other way.
        for (const runtime of INTEGER_RUNTIMES) {
          await assertSimulated(runtime, made, parts, file, 1 / 32);
        }
      });
    }
  }
}

for (const format of ["qdq", "packed"] as const) {
  for (const granularity of GRANULARITIES) {
    Deno.test(`4-bit activations agree with the simulation: ${format}, ${granularity.kind}`, async () => {
      for (const bits of [3, 8]) {
        const options = { bits, edgeBits: bits, granularity, format };
        const made = makePlan(everyLayer(), { ...options, activationBits: 4 });
        const parts = madeUpParts(made, { windows: "turns", activationBits: 4 });
        const file = buildModel(made, parts, format);
        // Half the way between two levels either is right.
        for (const runtime of INTEGER_RUNTIMES) {
          await assertSimulated(runtime, made, parts, file, 1 / 2);
        }
      }
    });
  }
}

/** Whether a layer of `made` has an operator of its own. */
function hasNBits({ layers }: Plan): boolean {
  return layers.some(({ storage }) => storage.format === "matmulnbits");
}

/**
 * Asserts that every output of `file` is within `most` of the simulation's, and few are off at all.
 */
async function assertSimulated(
  runtime: Runtime,
  made: Plan,
  parts: Parts,
  file: Model,
  most: number,
): Promise<void> {
  const simulated = await run(runtime, buildModel(made, parts, "float"), { simulate: true });
  const outputs = await run(runtime, file);
  for (const [name, { data }] of Object.entries(simulated)) {
    const expected = data as Float32Array, values = outputs[name].data as Float32Array;
    const off = expected.map((value, i) => Math.abs(value - values[i]));
    const where = `${name} on ${runtime.name}`;
    assert(Math.max(...off) <= most * 1.001, `${where} is off by ${Math.max(...off)}`);
    const some = off.filter((distance) => distance > 1e-4).length;
    assert(some <= off.length / 20, `${where}: ${some} of ${off.length} values are off`);
    assert(new Set(expected).size > 4, `${where} says nothing`);
  }
}

/** The operators that are left of `model` after onnxruntime has optimized it. */
async function optimized(model: Model, level: "basic" | "all"): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "attune-test-")), path = join(folder, "model.onnx");
  try {
    const session = await ort.InferenceSession.create(serializeModel(model), {
      graphOptimizationLevel: level,
      optimizedModelFilePath: path,
      logSeverityLevel: 3,
    });
    await session.release();
    return parseModel(readFileSync(path)).proto.graph.node.map(({ opType }) => opType);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A packed file of the layers `names`. */
function packed(names: readonly string[], options: PlanOptions): Model {
  const made = makePlan(everyLayer(names), { bits: 3, edgeBits: 3, format: "packed", ...options });
  return buildModel(made, madeUpParts(made, { windows: "turns" }), "packed");
}

Deno.test("packed weights beside float activations are folded into float ones at any level", async () => {
  for (const granularity of GRANULARITIES) {
    for (const level of ["basic", "all"] as const) {
      const ops = await optimized(
        packed(LAYER_NAMES, { activationBits: "none", granularity }),
        level,
      );
      const float = await optimized(everyLayer(), level);
      assertEquals(ops.sort(), float.sort(), `${granularity.kind}, ${level}`);
    }
  }
});

Deno.test("packed weights beside integer activations reach the integer kernels", async () => {
  const kernels: Record<string, string> = {
    conv: "QLinearConv",
    grouped: "QLinearConv",
    depthwise: "QLinearConv",
    gemm: "QGemm",
    gemm_transposed: "QGemm",
    right: "MatMulIntegerToFloat",
  };
  for (const kind of ["tensor", "channel"] as const) {
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      for (const [name, kernel] of Object.entries(kernels)) {
        const model = packed([name], { bits, edgeBits: bits, granularity: { kind } });
        const ops = await optimized(model, "all");
        assert(ops.includes(kernel), `${name}, ${kind}, ${bits} bits: ${ops}`);
        const unpacking = ops.filter((op) => /Gather|Cast|Bitwise|Slice|Nbits/i.test(op));
        assertEquals(unpacking, [], `${name}, ${kind}, ${bits} bits`);
      }
      const basic = await optimized(
        packed(Object.keys(kernels), { bits, edgeBits: bits }),
        "basic",
      );
      assertEquals(basic.filter((op) => /Gather|Cast|Bitwise|Slice/.test(op)), [], `${bits} bits`);
    }
  }
});

Deno.test("MatMulNBits is written where it is asked for, and nowhere else", () => {
  const operators = (options: PlanOptions) => {
    const made = makePlan(everyLayer(), options);
    const { node } = buildModel(made, madeUpParts(made), made.options.format).proto.graph;
    return node.filter(({ opType }) => opType === "MatMulNBits").map(({ name }) => name);
  };
  for (const bits of [2, 4, 8]) {
    assertEquals(operators({ bits, edgeBits: bits, format: "matmulnbits" }), ["right"]);
    for (const format of ["qdq", "packed", "float"] as const) {
      assertEquals(operators({ bits, edgeBits: bits, format }), []);
    }
  }
  assertEquals(operators({ bits: 3, edgeBits: 3, format: "matmulnbits" }), []);
  const blocks = { kind: "group", size: 24 } as const;
  assertEquals(operators({ granularity: blocks, format: "matmulnbits" }), []);
});
