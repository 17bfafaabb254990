/** Files have the size of their bits: that of the plan, and little besides. */

import { assert } from "std/assert/assert.js";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildModel } from "../src/emit/build.ts";
import { tensorBytes } from "../src/plan/size.ts";
import { readModel } from "../src/onnx/file.ts";
import { type Model, serializeModel } from "../src/onnx/model.ts";
import type { Override, PlanOptions } from "../src/plan/options.ts";
import { makePlan, type Plan } from "../src/plan/plan.ts";
import { everyLayer, madeUpParts } from "./helpers/layers.ts";

const models = fileURLToPath(new URL("../../shared/models/", import.meta.url));
const shapes = fileURLToPath(new URL("../examples/shapes/shapes.onnx", import.meta.url));
const shared = existsSync(models)
  ? readdirSync(models).filter((name) => name.endsWith(".onnx")).map((name) => join(models, name))
  : [];
if (shared.length === 0) console.log("skipped: sizes of the real models need ../shared");

/** Every width, one layer after another. */
function mixed(names: readonly string[]): Override[] {
  return names.map((pattern, i) => ({ pattern, bits: [2, 3, 4, 6, 8, 5, 7][i % 7] }));
}

/**
 * Bytes of the weights of `made` in their bits; a scale, a bias and the first level of each row;
 * and all other constants.
 */
function sumOfBits(made: Plan): number {
  const weights = new Map(made.layers.map((layer) => [layer.target.weight, layer]));
  let sum = tensorBytes(made.model);
  for (const { target: { groups, rows, depth }, bits, bytesBefore } of weights.values()) {
    sum += groups * rows * (depth * bits / 8 + 4 + Number(bits < 8)) - bytesBefore;
  }
  for (const { target: { op, node, groups, rows } } of made.layers) {
    if (op !== "MatMul" && !made.graph.constant(node.input[2] ?? "")) sum += 4 * groups * rows;
  }
  return sum;
}

/**
 * Bytes of what `model` has besides its tensors: of hundreds of small nodes, more than of the
 * weights.
 */
function graphBytes({ proto, ...model }: Model): number {
  const graph = { ...proto.graph, initializer: [] };
  return serializeModel({ ...model, proto: { ...proto, graph } }).length;
}

for (const path of [shapes, ...shared]) {
  for (const activationBits of ["none", 8] as const) {
    const name = `${path.split("/").at(-1)}, activations ${activationBits}`;
    Deno.test(`a packed file is at most 3 % and 20 kB, or its graph, above its bits: ${name}`, () => {
      const model = readModel(path);
      const layers = makePlan(model).layers.map(({ target }) => target.name);
      const cases: PlanOptions[] = [2, 3, 4, 6].map((bits) => ({ bits }));
      for (const options of [...cases, { overrides: mixed(layers) }]) {
        const made = makePlan(model, { ...options, activationBits, format: "packed" });
        const file =
          serializeModel(buildModel(made, madeUpParts(made, { windows: "turns" }), "packed"))
            .length;
        const sum = sumOfBits(made);
        const which = `${JSON.stringify(options)}: ${file} bytes for ${sum}`;
        const graph = Math.max(20_000, graphBytes(model));
        assert(file - sum <= 0.03 * sum + graph, which);
        assert(Math.abs(made.size.after - sum) <= 0.01 * sum + 200, `${which}: ${made.size.after}`);
      }
    });
  }
}

for (const format of ["qdq", "packed", "matmulnbits"] as const) {
  Deno.test(`a plan tells the bytes of all constants: ${format}`, () => {
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      for (const activationBits of ["none", 8] as const) {
        for (const granularity of [{ kind: "channel" }, { kind: "group", size: 16 }] as const) {
          const made = makePlan(everyLayer(), {
            bits,
            edgeBits: bits,
            activationBits,
            granularity,
            format,
          });
          const { initializer } =
            buildModel(made, madeUpParts(made, { windows: "turns" }), format).proto.graph;
          const bytes = initializer.reduce((sum, { rawData }) => sum + rawData.length, 0);
          // Besides, there are shapes for Reshape, and the grids of activations, 5 bytes each.
          const few = initializer.filter(({ rawData }) => rawData.length <= 40).length;
          const which = `${bits} bits, ${activationBits}, ${granularity.kind}`;
          assert(bytes >= made.size.after - 40 * few, `${which}: ${bytes} of ${made.size.after}`);
          assert(bytes <= made.size.after + 40 * few, `${which}: ${bytes} of ${made.size.after}`);
        }
      }
    }
  });
}
