/** An operator and a format, each added by one object and the line that puts it into its table. */

import { assert } from "std/assert/assert.js";
import { assertEquals } from "std/assert/equals.js";
import { assertThrows } from "std/assert/throws.js";
import { type Format as FormatName, plan, type PlanOptions, quantize } from "../mod.ts";
import { AttuneError } from "../src/errors.ts";
import { helpOf } from "../src/cli/help.ts";
import { quantizeCommand } from "../src/cli/quantize.ts";
import type { Format } from "../src/formats/format.ts";
import { formats } from "../src/formats/formats.ts";
import { makeNode, type Model, stringAttribute } from "../src/onnx/model.ts";
import { bytesOf, DataType, floatTensor, rawTensor } from "../src/onnx/tensor.ts";
import { tensorBytes } from "../src/plan/size.ts";
import { loadBackend } from "../src/runtime/backends.ts";
import type { Sample } from "../src/samples/sample.ts";
import { toTensorOrder } from "../src/weights/matrix.ts";
import type { Operator } from "../src/weights/operator.ts";
import { operators } from "../src/weights/operators.ts";
import { constantWeight } from "../src/weights/operators/constant_weight.ts";
import { inlinePool } from "../src/workers/pool.ts";
import { build, noise } from "./helpers/models.ts";

/**
 * A product of matrices that is no operator of attune's: X·Wᵀ, or X·W where the equation says so.
 */
const einsum: Operator = {
  op: "Einsum",
  match(graph, node) {
    const equation = stringAttribute(node, "equation", "");
    if (!["nk,mk->nm", "nk,km->nm"].includes(equation)) return "attribute not handled";
    const weight = constantWeight(graph, node);
    if (typeof weight !== "object") return weight;
    const axis = equation === "nk,mk->nm" ? 0 : 1, { shape } = weight;
    const rows = shape[axis], depth = shape[1 - axis];
    return { ...weight, axis, groups: 1, rows, depth, geometry: { kind: "rows" } };
  },
  order: ({ axis, rows, depth }) => axis === 0 ? undefined : { dims: [rows, depth], perm: [1, 0] },
  macs: ({ depth }, { output }) => output * depth,
  integer: { integerOutput: false, needsZeroPoints: false, roundsFloatWeights: false },
  int2: false,
};

/**
 * Levels as bytes that a Cast and a Mul turn into weights, for layers with one scale for each row.
 */
const bytewise: Format = {
  name: "bytewise",
  doc: "a byte for each level",
  storage: (layer, options) =>
    layer.granularity.kind === "channel"
      ? { format: "bytewise", bits: 8 }
      : { ...formats.qdq.storage(layer, options), fallback: "bytes have a scale for each row" },
  opset: () => 13,
  bytes: ({ target: { groups, rows, depth } }) => ({ levels: groups * rows * depth, zeros: 0 }),
  put(writer, { target }, { levels, scales }) {
    const { weight, shape, axis } = target, dims = shape.map(() => 1);
    dims[axis] = scales.length;
    const bytes = rawTensor(
      writer.name(`${weight}_bytes`),
      DataType.INT8,
      shape,
      bytesOf(toTensorOrder(target, levels)),
    );
    const step = floatTensor(writer.name(`${weight}_step`), dims, scales);
    const cast = writer.name(`${weight}_cast`);
    writer.remove(weight);
    writer.node("Cast", [writer.put(bytes)], cast, { to: BigInt(DataType.FLOAT) });
    writer.node("Mul", [cast, writer.put(step)], weight);
  },
  floatInput: true,
};

/** Runs `test` while `table` has `value`, and takes that out again. */
async function inTable<T>(
  table: Readonly<Record<string, T>>,
  name: string,
  value: T,
  test: () => void | Promise<void>,
): Promise<void> {
  const entries = table as Record<string, T>;
  entries[name] = value;
  try {
    await test();
  } finally {
    delete entries[name];
  }
}

/** Three layers: a product by `op`, a Gemm with a bias, and `op` again with its weight turned. */
function network(op: "Einsum" | "MatMul"): Model {
  const product = (name: string, input: string, output: string, turned: boolean) =>
    op === "MatMul"
      ? makeNode("MatMul", name, [input, `${name}_w`], [output])
      : makeNode("Einsum", name, [input, `${name}_w`], [output], {
        equation: turned ? "nk,km->nm" : "nk,mk->nm",
      });
  return build({
    opset: 13,
    inputs: { x: ["N", 32] },
    nodes: [
      product("first", "x", "a", false),
      makeNode("Relu", "", ["a"], ["b"]),
      makeNode("Gemm", "middle", ["b", "middle_w", "middle_b"], ["c"], { transB: 1n }),
      makeNode("Relu", "", ["c"], ["d"]),
      product("last", "d", "y", true),
    ],
    initializers: [
      floatTensor("first_w", [32, 32], noise(32 * 32)),
      floatTensor("middle_w", [24, 32], noise(24 * 32, 2)),
      floatTensor("middle_b", [24], noise(24, 3)),
      floatTensor("last_w", [24, 16], noise(24 * 16, 4)),
    ],
    outputs: ["y"],
  });
}

async function* samples(): AsyncGenerator<Sample> {
  for (let i = 0; i < 64; i++) {
    yield { inputs: { x: { dims: [32], data: noise(32, i + 1) } }, source: `${i}` };
  }
}

/** What quantizing `model` by `options` comes to; the file is run on samples that are held out. */
async function quantized(model: Model, options: PlanOptions) {
  using pool = inlinePool(await loadBackend("web"));
  const made = plan(model, options);
  const { model: file, report } = await quantize(made, samples(), pool);
  return { made, file, report, check: report.check! };
}

const opsOf = ({ proto }: Model) => proto.graph.node.map(({ opType }) => opType);

for (
  const [options, op] of [
    [{ format: "qdq" }, "DequantizeLinear"],
    [{ format: "packed", activationBits: "none" }, "unpack1"],
    [{ format: "matmulnbits", activationBits: "none" }, "MatMulNBits"],
    [{ format: "qdq", granularity: { kind: "group", size: 16 } }, "DequantizeLinear"],
    [{ format: "float", activationBits: "none" }, "Einsum"],
  ] satisfies [PlanOptions, string][]
) {
  Deno.test(`an operator is one object in one table: ${JSON.stringify(options)}`, () =>
    inTable(operators, "Einsum", einsum, async () => {
      const { made, file, check } = await quantized(network("Einsum"), { edgeBits: 4, ...options });
      assertEquals(made.layers.map(({ target: { name, op } }) => [name, op]), [
        ["first", "Einsum"],
        ["middle", "Gemm"],
        ["last", "Einsum"],
      ]);
      const ops = opsOf(file);
      assert(ops.filter((each) => each === op).length >= 2, ops.join());
      assert(
        !file.proto.graph.initializer.some(({ name, dataType }) =>
          options.format !== "float" && options.format !== "matmulnbits" &&
          dataType === DataType.FLOAT && /_w$/.test(name)
        ),
      );
      assert(check.mseToFloat < 0.05, `${check.mseToFloat} of the float model's outputs`);
      assert(check.mseToSimulation < 1e-3, `${check.mseToSimulation} of the simulation`);
    }));
}

Deno.test("an operator stays in float without its line, and is one of many with it", async () => {
  const { layers, skipped } = plan(network("Einsum"));
  assertEquals(layers.map(({ target }) => target.name), ["middle"]);
  assertEquals(skipped.map(({ name, reason }) => [name, reason]), [
    ["first", "operator is not quantized"],
    ["last", "operator is not quantized"],
  ]);
  await inTable(operators, "Einsum", einsum, async () => {
    const options: PlanOptions = { bits: 4, edgeBits: 4, activationBits: "none" };
    const [ours, known] = [
      await quantized(network("Einsum"), options),
      await quantized(turnedFirst(network("MatMul")), options),
    ];
    assertEquals(
      ours.report.layers.map(({ error }) => error),
      known.report.layers.map((l) => l.error),
    );
    assertEquals(ours.made.size.after, known.made.size.after);
  });
});

/** `model` with the first weight as a MatMul wants it. */
function turnedFirst(model: Model): Model {
  const { initializer } = model.proto.graph, values = noise(32 * 32);
  const turned = values.map((_, i) => values[i % 32 * 32 + Math.floor(i / 32)]);
  initializer[initializer.findIndex(({ name }) => name === "first_w")] = floatTensor(
    "first_w",
    [32, 32],
    turned,
  );
  return model;
}

Deno.test("a format is one object in one table", () =>
  inTable<Format>(formats, "bytewise", bytewise, async () => {
    const format = "bytewise" as FormatName;
    const { made, file, report, check } = await quantized(network("MatMul"), { format });
    assertEquals(made.layers.map(({ storage }) => storage), [
      ...made.layers.map(() => ({ format: "bytewise", bits: 8 })),
    ]);
    // Whatever takes its input in float leaves nothing on a grid.
    assertEquals(made.activations.ranged, []);
    assertEquals(opsOf(file).filter((op) => op === "Cast" || op === "DequantizeLinear"), [
      ...["Cast", "Cast", "Cast"],
    ]);
    assertEquals(report.layers.map(({ storage, storedBits }) => [storage, storedBits]), [
      ...report.layers.map(() => ["bytewise", 8]),
    ]);
    assertEquals(made.size.after, tensorBytes(file));
    assert(check.mseToFloat < 0.05, `${check.mseToFloat} of the float model's outputs`);
    assert(check.mseToSimulation < 1e-10, `${check.mseToSimulation} of the simulation`);
  }));

Deno.test("a format has another one keep what it cannot", () =>
  inTable<Format>(formats, "bytewise", bytewise, async () => {
    const { made, file, check } = await quantized(network("MatMul"), {
      format: "bytewise" as FormatName,
      granularity: { kind: "group", size: 16 },
    });
    assertEquals(made.layers[0].storage, {
      format: "qdq",
      bits: 8,
      fallback: "bytes have a scale for each row",
    });
    assert(opsOf(file).includes("DequantizeLinear"), opsOf(file).join());
    assert(check.mseToSimulation < 1e-3, `${check.mseToSimulation} of the simulation`);
  }));

Deno.test("options and help read the table of formats", async () => {
  const format = "bytewise" as FormatName;
  const refused = () =>
    assertThrows(() => plan(network("MatMul"), { format }), AttuneError, "packed, matmulnbits");
  refused();
  await inTable<Format>(formats, "bytewise", bytewise, () => {
    assertThrows(
      () => plan(network("MatMul"), { format, nested: [8, 4] }),
      AttuneError,
      "the format bytewise: its files cannot be cut",
    );
  });
  refused();
  const help = helpOf(quantizeCommand).replaceAll(/\n {20,}/g, " ");
  for (const { name, doc } of Object.values(formats)) {
    assert(help.split("\n").some((line) => line.includes(` ${name} `) && line.endsWith(doc)), name);
  }
});
